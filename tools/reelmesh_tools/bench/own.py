"""A platform of its own for a measurement, in a temporary folder, and the processes beside it that do the work."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reelmesh_tools.bench.errors import BenchError
from reelmesh_tools.client.platform import Platform
from reelmesh_tools.stack.client import Stack
from reelmesh_tools.stack.lifecycle import running_stack

MEASURED = ("cassandra", "kafka", "envoy", "control", "telemetry", "analytics")
"""The processes that telemetry and reports need."""


@contextmanager
def stack(processes: Sequence[str] = MEASURED) -> Iterator[tuple[Stack, Platform]]:
    """Hold a stack of `processes` up in a temporary folder, beside any other. Raises StackError."""
    with tempfile.TemporaryDirectory(prefix="reelmesh-bench-") as folder:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        environment = {name: value for name, value in os.environ.items() if name != "REELMESH_HOME"}
        with (
            running_stack(Path(folder), port, processes, environment) as running,
            Platform.of_stack(running.layout, running.plan.gateway_url) as platform,
        ):
            yield running, platform


class Helper:
    """A program of ours in a process of its own: takes one line of JSON, and ends by printing one."""

    def __init__(self, module: str, orders: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._say(json.dumps(orders))

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def ready(self) -> None:
        """Wait until it says that it is ready. Raises BenchError."""
        self._line()

    def begin(self) -> None:
        """Let it begin."""
        self._say("go")

    def result(self) -> dict[str, Any]:
        """Return what it prints when it is done; it stays until its end. Raises BenchError when it failed."""
        found: dict[str, Any] = json.loads(self._line())
        return found

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()

    def _say(self, line: str) -> None:
        if self._process.stdin is None:
            raise BenchError("the process does not listen")
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _line(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise BenchError(f"{' '.join(map(str, self._process.args))} ended with {self._process.wait()}")  # type: ignore[arg-type]
        return line


@contextmanager
def helper(module: str, orders: Mapping[str, Any]) -> Iterator[Helper]:
    """Run a program of ours beside this one, and end it in any case."""
    made = Helper(module, orders)
    try:
        yield made
    finally:
        made.end()
