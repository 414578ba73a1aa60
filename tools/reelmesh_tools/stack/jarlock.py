"""Lock files of the JVM servers: every jar by Maven coordinate, size and SHA-256."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reelmesh_tools.stack.files import write_whole


class LockError(Exception):
    """A lock file cannot be read, or a jar is not the one that was locked."""


@dataclass(frozen=True)
class Jar:
    """One locked jar."""

    group: str
    artifact: str
    classifier: str
    """Empty for the main jar of the artifact."""
    version: str
    size: int
    """In bytes."""
    sha256: str
    """Lower-case hexadecimal."""

    @property
    def coordinate(self) -> str:
        """group:artifact:jar[:classifier]:version."""
        middle = f":{self.classifier}" if self.classifier else ""
        return f"{self.group}:{self.artifact}:jar{middle}:{self.version}"

    @property
    def relative_path(self) -> Path:
        """Where a Maven repository keeps it."""
        suffix = f"-{self.classifier}" if self.classifier else ""
        folder = Path(*self.group.split("."), self.artifact, self.version)
        return folder / f"{self.artifact}-{self.version}{suffix}.jar"


@dataclass(frozen=True)
class Lock:
    """The jars of one server."""

    endpoint: str
    """The coordinates from which the others were resolved, joined by `+`."""
    jars: tuple[Jar, ...]
    """In class path order."""


def repository_folder(environment: Mapping[str, str]) -> Path:
    """Return the local Maven repository: M2_REPO, or ~/.m2/repository."""
    own = environment.get("M2_REPO")
    return Path(own) if own else Path.home() / ".m2" / "repository"


def read(path: Path) -> Lock:
    """Read a lock file; raises LockError naming the line that is wrong."""
    endpoint, jars = "", []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            match line.split():
                case ["endpoint", endpoint]:
                    pass
                case [coordinate, size, digest]:
                    jars.append(_jar(coordinate, int(size), digest))
                case _:
                    raise ValueError  # noqa: TRY301 - the same message as for a bad number
        except ValueError:
            message = f"{path}:{number}: expected a coordinate, a size and sha256:…"
            raise LockError(message) from None
    if not endpoint or not jars:
        message = f"{path} locks nothing"
        raise LockError(message)
    return Lock(endpoint, tuple(jars))


def read_endpoint(path: Path) -> str:
    """Return only the endpoint of a lock file, which may have no jars yet; raises LockError."""
    for line in _lines(path):
        match line.split():
            case ["endpoint", endpoint]:
                return endpoint
    message = f"{path} has no line `endpoint COORDINATE`"
    raise LockError(message)


def write(lock: Lock, path: Path) -> None:
    """Write a lock file, whole."""
    lines = [
        "# Made by `reelmesh stack lock`. To change a version, edit the endpoint and make it again.",
        f"endpoint {lock.endpoint}",
        *(f"{jar.coordinate} {jar.size} sha256:{jar.sha256}" for jar in lock.jars),
    ]
    write_whole(path, "\n".join(lines) + "\n")


def missing(lock: Lock, folder: Path) -> list[Jar]:
    """Return the jars of which `folder`, a Maven repository, holds no copy or one with other contents."""
    return [jar for jar in lock.jars if not is_intact(jar, folder / jar.relative_path)]


def is_intact(jar: Jar, path: Path) -> bool:
    """Say whether the file at `path` is the locked jar, byte for byte."""
    try:
        return path.stat().st_size == jar.size and digest_of(path) == jar.sha256
    except OSError:
        return False


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def class_path(lock: Lock, folder: Path) -> str:
    """Return the jars in `folder` as a Java class path, in the lock's order."""
    return os.pathsep.join(str(folder / jar.relative_path) for jar in lock.jars)


def _jar(coordinate: str, size: int, digest: str) -> Jar:
    kind, _, value = digest.partition(":")
    if kind != "sha256" or len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise ValueError
    match coordinate.split(":"):
        case [group, artifact, "jar", version]:
            return Jar(group, artifact, "", version, size, value)
        case [group, artifact, "jar", classifier, version]:
            return Jar(group, artifact, classifier, version, size, value)
        case _:
            raise ValueError


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        message = f"no lock of jars at {path}"
        raise LockError(message) from error
