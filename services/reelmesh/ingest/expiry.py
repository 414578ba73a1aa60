"""Sweeps uploads that nobody went on with, and completes those that a crash left between checked and announced."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta

from reelmesh.ingest.errors import UploadUnknown
from reelmesh.ingest.model import State
from reelmesh.ingest.uploads import Uploads, UploadStore
from reelmesh.mesh.clock import Clock
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import UploadName

LOOK_BACK_DAYS = 14
"""Days that a sweeper which was off for a while makes up for."""

log = logging.getLogger(__name__)


class Expiry:
    """The sweeper; several may run at once."""

    def __init__(self, uploads: Uploads, store: UploadStore, clock: Clock, every: timedelta) -> None:
        self._uploads = uploads
        self._store = store
        self._clock = clock
        self._every = every

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            try:
                await self.sweep()
            except Unavailable as error:
                log.warning("the sweep waits: %s", error)
            await asyncio.sleep(self._every.total_seconds())  # expiry is a matter of the clock, not of an event

    async def sweep(self) -> None:
        """Look once at every upload whose day has come. Raises Unavailable."""
        today = self._clock.now()
        for back in range(LOOK_BACK_DAYS + 1):
            day = today - timedelta(days=back)
            for name in await self._store.due(day):
                await self._look(name, day)

    async def _look(self, name: UploadName, day: datetime) -> None:
        try:
            upload = await self._store.load(name)
        except UploadUnknown:
            await self._store.look_again(name, day, None)
            return
        now = self._clock.now()
        if upload.state is State.ACTIVE:
            if upload.expire_time > now:
                if upload.expire_time.date() != day.date():
                    await self._store.look_again(name, day, upload.expire_time)
                return
            upload = await self._store.settle(upload, State.EXPIRED)
            log.info("%s expired with %d bytes", name, upload.persisted_size)
        if upload.state is State.FINISHING:
            upload = await self._uploads.complete(upload)
        if upload.state in {State.EXPIRED, State.CANCELLED, State.FAILED}:
            await self._uploads.remove_bytes(name)
        if upload.state is not State.ACTIVE:
            await self._store.look_again(name, day, None)
