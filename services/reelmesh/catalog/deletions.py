"""Announces deletions that a crash left between done and said."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from reelmesh.catalog.model import Deletion, Video
from reelmesh.mesh.clock import Clock
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import VideoName

EVERY = timedelta(seconds=30)
"""Between two looks."""
GRACE = timedelta(minutes=1)
"""A younger note belongs to a call that may still be under way; longer than any call's deadline."""
LOOK_BACK_DAYS = 14
"""Days that a sweep which was off for a while makes up for."""

log = logging.getLogger(__name__)


class DeletionStore(Protocol):
    """What the sweep needs of a database. Every method may raise Unavailable."""

    async def load(self, name: VideoName) -> Video | None:
        """Return a video; None when there is none or it has been deleted."""

    async def intended(self, day: datetime) -> Sequence[Deletion]:
        """Return the notes of a day."""

    async def announce(self, deletion: Deletion) -> None:
        """In one logged batch: the event into the outbox, the video out of the list, the note away."""

    async def forget(self, deletion: Deletion) -> None:
        """Take the note away: nothing was deleted."""


class Deletions:
    """The sweep; several may run at once."""

    def __init__(self, store: DeletionStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            try:
                await self.sweep()
            except Unavailable as error:
                log.warning("the sweep waits: %s", error)
            await asyncio.sleep(EVERY.total_seconds())  # a call that died has no event

    async def sweep(self) -> None:
        """Look once at every note. Raises Unavailable."""
        now = self._clock.now()
        for back in range(LOOK_BACK_DAYS + 1):
            for deletion in await self._store.intended(now - timedelta(days=back)):
                if deletion.time > now - GRACE:
                    continue
                if await self._store.load(deletion.name) is None:
                    await self._store.announce(deletion)
                else:
                    await self._store.forget(deletion)
