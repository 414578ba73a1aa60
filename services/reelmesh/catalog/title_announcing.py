"""Says what titles are, on Kafka, after every change.

An event tells the whole title, so it is made when it is published, not kept with the change. Two that publish the same
title at once could overtake each other; so whoever has published looks again, and publishes anew what is newer. So the
last record of a key is the last revision, which is what a compacted topic keeps.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from reelmesh.catalog.title_model import Change, Held, minute_of
from reelmesh.mesh.clock import Clock, IdSource
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import TitleName

AT_ONCE = 200
"""Changes that are published together."""
WAITING = 100_000
"""Changes that wait in memory for Kafka; what is more is left to the sweep."""
RETRY = timedelta(seconds=1)
"""Between two tries while Kafka or Cassandra is away."""
EVERY = timedelta(seconds=30)
"""Between two looks for changes that a crash left between done and said."""
GRACE = timedelta(minutes=2)
"""A younger note may belong to a call that is still under way; longer than any call's deadline, and a minute."""
LOOK_BACK = timedelta(hours=48)
"""How old a note a starting sweep still looks for."""

log = logging.getLogger(__name__)


class ChangeStore(Protocol):
    """What announcing needs of a database. Every method may raise Unavailable."""

    async def load(self, name: TitleName) -> Held | None:
        """Return a title, also a deleted one; None when there never was one."""

    async def index(self, held: Held) -> None:
        """Write what lists say of a title, or take it out of them; an older revision changes nothing."""

    async def heads(self, names: Sequence[TitleName]) -> Mapping[TitleName, int]:
        """Return the latest revisions of titles."""

    async def forget(self, *changes: Change) -> None:
        """Take notes away."""

    async def intended(self, minute: datetime) -> Sequence[Change]:
        """Return the notes of a minute."""


class TitleEvents(Protocol):
    """Where titles are told."""

    async def publish(self, titles: Iterable[tuple[str, Held]]) -> None:
        """Publish titles, each under the id of its event, and wait until Kafka has them. Raises Unavailable."""


class Announcing:
    """Publishes what changed here, and sweeps up what others left; several may run at once."""

    def __init__(self, store: ChangeStore, events: TitleEvents, clock: Clock, ids: IdSource) -> None:
        self._store = store
        self._events = events
        self._clock = clock
        self._ids = ids
        self._waiting: deque[tuple[Change, Held]] = deque()
        self._came = asyncio.Event()
        self._swept: datetime | None = None

    def announce(self, change: Change, held: Held) -> None:
        """Say, soon, what a title is now; the change's note goes when it was said."""
        if len(self._waiting) < WAITING:
            self._waiting.append((change, held))
            self._came.set()

    async def run(self) -> None:
        """Publish and sweep until cancelled."""
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self._relay())
            parts.create_task(self._sweeping())

    async def _relay(self) -> None:
        while True:
            await self._came.wait()
            batch = [self._waiting[index] for index in range(min(AT_ONCE, len(self._waiting)))]
            try:
                await self._say(batch)
            except Unavailable as error:
                log.warning("%d changes of titles wait: %s", len(self._waiting), error)
                await asyncio.sleep(RETRY.total_seconds())  # it says not when it is back
                continue
            for _ in batch:
                self._waiting.popleft()
            if not self._waiting:
                self._came.clear()

    async def _say(self, batch: Sequence[tuple[Change, Held]]) -> None:
        """Publish titles until each is said as it is now, then forget the notes. Raises Unavailable."""
        tell = {TitleName.parse(held.title.name): held for _, held in batch}
        while tell:
            await self._events.publish((self._ids.new(), held) for held in tell.values())
            heads = await self._store.heads(list(tell))
            behind = [name for name, held in tell.items() if heads.get(name, 0) > held.revision]
            looked = await asyncio.gather(*map(self._store.load, behind))
            tell = {name: held for name, held in zip(behind, looked, strict=True) if held is not None}
        await self._store.forget(*(change for change, _ in batch))

    async def _sweeping(self) -> None:
        while True:
            try:
                await self.sweep()
            except Unavailable as error:
                log.warning("the sweep of titles waits: %s", error)
            await asyncio.sleep(EVERY.total_seconds())  # a call that died has no event

    async def sweep(self) -> None:
        """Look once at every note that is old enough. Raises Unavailable."""
        until = minute_of(self._clock.now() - GRACE)
        minute = self._swept or until - LOOK_BACK
        while minute < until:
            await self._settle(await self._store.intended(minute))
            minute += timedelta(minutes=1)
            self._swept = minute

    async def _settle(self, changes: Sequence[Change]) -> None:
        for start in range(0, len(changes), AT_ONCE):
            some = changes[start : start + AT_ONCE]
            found = await asyncio.gather(*(self._store.load(change.name) for change in some))
            # Those that are not there were never made.
            there = [(change, held) for change, held in zip(some, found, strict=True) if held is not None]
            await asyncio.gather(*(self._store.index(held) for _, held in there))
            await self._say(there)
            await self._store.forget(*some)
