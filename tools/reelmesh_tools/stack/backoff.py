"""How long to wait before a crashed process starts again."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """Doubling waits for a process that keeps crashing; forgotten once it has lived for a while."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        first: float = 0.25,
        ceiling: float = 15.0,
        forgiven_after: float = 30.0,
    ) -> None:
        """Take a monotonic `clock` and the waits, all in seconds."""
        self._clock = clock
        self._first = first
        self._ceiling = ceiling
        self._forgiven_after = forgiven_after
        self._next = first
        self._started_at = clock()

    def started(self) -> None:
        """Note that the process has been started now."""
        self._started_at = self._clock()

    def crashed(self) -> float:
        """Note that the process has ended by itself; return the seconds to wait before the next start."""
        if self._clock() - self._started_at >= self._forgiven_after:
            self._next = self._first
        delay = self._next
        self._next = min(self._next * 2, self._ceiling)
        return delay
