"""What a process of the stack costs while something is measured: memory and processor time."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import psutil  # type: ignore[import-untyped, unused-ignore]

from reelmesh_tools.stack.client import Stack, StackError

SAMPLE_SECONDS = 0.02
"""From one look at the memory to the next. A part of an upload lives for longer than this."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process cost."""

    rss_before: int
    """Resident bytes before."""
    rss_peak: int
    """Most resident bytes seen."""
    cpu_seconds: float
    """User and system time."""


class Meter:
    """Watches processes by name from `with` to its end; `costs` says afterwards what they cost.

    Raises psutil.NoSuchProcess when one of them ends meanwhile.
    """

    def __init__(self, pids: Mapping[str, int], sample_seconds: float = SAMPLE_SECONDS) -> None:
        """`sample_seconds` is from one look at the memory to the next; each takes time from what is measured."""
        self._processes: dict[str, Any] = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._before: dict[str, tuple[int, float]] = {}
        self._peak: dict[str, int] = {}
        self._sample_seconds = sample_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.costs: dict[str, Cost] = {}

    def __enter__(self) -> Self:
        for name, process in self._processes.items():
            rss = int(process.memory_info().rss)
            self._before[name] = rss, _cpu_seconds(process)
            self._peak[name] = rss
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if error is not None:
            return
        self._look()
        for name, process in self._processes.items():
            rss, cpu = self._before[name]
            self.costs[name] = Cost(rss, self._peak[name], round(_cpu_seconds(process) - cpu, 2))

    def _sample(self) -> None:
        while not self._stop.wait(self._sample_seconds):
            try:
                self._look()
            except psutil.Error:
                return  # whoever reads the costs gets the same error

    def _look(self) -> None:
        for name, process in self._processes.items():
            self._peak[name] = max(self._peak[name], int(process.memory_info().rss))


def pids_of(stack: Stack, *names: str) -> dict[str, int]:
    """Return the pid of each process of a running stack. Raises StackError when one of them does not run."""
    found = {}
    for name in names:
        pid = stack.process(name).pid
        if pid is None:
            raise StackError(f"{name} does not run: see `reelmesh status`")
        found[name] = pid
    return found


def _cpu_seconds(process: Any) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
