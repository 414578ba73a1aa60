"""How `reelmesh up` shows what happens: bars and a table for a person, lines for a log, nothing for a script."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from reelmesh_tools.stack.state import Health, ProcessState

_COLORS = {
    Health.STARTING: "yellow",
    Health.HEALTHY: "green",
    Health.UNHEALTHY: "red",
    Health.STOPPED: "bright_black",
}


class Reporter(Protocol):
    """What is told while a stack comes up."""

    def fetching(self, files: int, size: int) -> AbstractContextManager[Callable[[int], None]]:
        """Cover a fetch of `size` bytes; the body calls what it is given, from any thread, with bytes received."""
        ...

    def starting(self, names: Sequence[str]) -> AbstractContextManager[Callable[[Sequence[ProcessState]], None]]:
        """Cover the start of the processes; the body calls what it is given with their states as they change."""
        ...


class Silent:
    """For scripts and tests."""

    @contextlib.contextmanager
    def fetching(self, files: int, size: int) -> Iterator[Callable[[int], None]]:
        """Say nothing."""
        yield lambda _received: None

    @contextlib.contextmanager
    def starting(self, names: Sequence[str]) -> Iterator[Callable[[Sequence[ProcessState]], None]]:
        """Say nothing."""
        yield lambda _states: None


class Lines:
    """For logs: one line for each thing that has happened."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        """Take what writes a line, and a clock in seconds."""
        self._write = write
        self._clock = clock

    @contextlib.contextmanager
    def fetching(self, files: int, size: int) -> Iterator[Callable[[int], None]]:
        """Write a line at the start, at each quarter and at the end."""
        self._write(f"fetching {files} jars, {size / 1e6:.0f} MB")
        guard = threading.Lock()
        received_bytes = 0

        def received(count: int) -> None:
            nonlocal received_bytes
            with guard:
                before, received_bytes = received_bytes, received_bytes + count
                if size and before * 4 // size != received_bytes * 4 // size:
                    self._write(f"fetched {received_bytes / 1e6:.0f} of {size / 1e6:.0f} MB")

        yield received

    @contextlib.contextmanager
    def starting(self, names: Sequence[str]) -> Iterator[Callable[[Sequence[ProcessState]], None]]:
        """Write a line whenever the health of a process changes."""
        began = self._clock()
        known: dict[str, Health] = {}
        self._write(f"starting {', '.join(names)}")

        def seen(states: Sequence[ProcessState]) -> None:
            for process in states:
                if process.health is not known.get(process.name, Health.STARTING):
                    note = f": {process.detail}" if process.detail else ""
                    self._write(f"{process.name} is {process.health} after {self._clock() - began:.1f} s{note}")
                known[process.name] = process.health

        yield seen


class Bars:
    """For a person at a terminal."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the terminal, and a clock in seconds."""
        self._console = console
        self._clock = clock

    @contextlib.contextmanager
    def fetching(self, files: int, size: int) -> Iterator[Callable[[int], None]]:
        """Show one bar for all the files together."""
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=self._console) as progress:
            task = progress.add_task(f"fetching {files} jars", total=size)
            yield lambda count: progress.advance(task, count)

    @contextlib.contextmanager
    def starting(self, names: Sequence[str]) -> Iterator[Callable[[Sequence[ProcessState]], None]]:
        """Show one line per process, with the seconds that it took to become healthy."""
        began = self._clock()
        took: dict[str, float] = {}

        def seen(states: Sequence[ProcessState]) -> None:
            for process in states:
                if process.health is Health.HEALTHY:
                    took.setdefault(process.name, self._clock() - began)
            live.update(_progress_table(names, states, took, self._clock() - began))

        with Live(console=self._console, refresh_per_second=10) as live:
            yield seen


def status_table(states: Sequence[ProcessState]) -> Table:
    """Return the table that `reelmesh status` prints."""
    table = Table(box=None, pad_edge=False)
    table.add_column("process")
    table.add_column("health")
    for title in ("pid", "memory", "restarts"):
        table.add_column(title, justify="right")
    table.add_column("")
    for process in states:
        table.add_row(
            process.name,
            _colored(process.health),
            str(process.pid or "-"),
            f"{process.rss_bytes / 2**20:.0f} MiB" if process.rss_bytes else "-",
            str(process.restarts),
            Text(process.detail),
        )
    return table


def _progress_table(
    names: Sequence[str], states: Sequence[ProcessState], took: dict[str, float], elapsed: float
) -> Table:
    known = {process.name: process for process in states}
    table = Table(box=None, pad_edge=False, show_header=False)
    for name in names:
        process = known.get(name, ProcessState(name, Health.STARTING))
        table.add_row(name, _colored(process.health), f"{took.get(name, elapsed):.1f} s", Text(process.detail))
    return table


def _colored(health: Health) -> Text:
    return Text(str(health), style=_COLORS[health])
