"""Tells those who watch a job in this process that it has changed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator

Wait = Callable[[float], Awaitable[None]]
"""Waits for a change, at most as many seconds as given."""


class Watchers:
    """Watchers by what they watch."""

    def __init__(self) -> None:
        self._events: dict[str, set[asyncio.Event]] = {}

    @contextlib.contextmanager
    def watching(self, key: str) -> Iterator[Wait]:
        """Watch `key`: no change after entering is missed by the wait that this gives."""
        event = asyncio.Event()
        self._events.setdefault(key, set()).add(event)

        async def wait(seconds: float) -> None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), seconds)

        try:
            yield wait
        finally:
            self._events[key].discard(event)
            if not self._events[key]:
                del self._events[key]

    def changed(self, key: str) -> None:
        """Wake those who watch `key`."""
        for event in self._events.get(key, ()):
            event.set()
