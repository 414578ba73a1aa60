"""Looks for what nobody answered, and for what a crash left unsaid: Cassandra, not the queue, is the truth."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from reelmesh.mesh.clock import Clock
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import JobName
from reelmesh.transcode.control import Control

LOOK_BACK_DAYS = 7
"""No job takes longer."""

log = logging.getLogger(__name__)


class OpenJobs(Protocol):
    """What this needs of a database."""

    async def open(self, day: datetime) -> Sequence[JobName]:
        """Return the jobs made on `day` that may still have something to do."""


class Overdue:
    """The looker; several may run at once."""

    def __init__(self, control: Control, jobs: OpenJobs, clock: Clock, every: timedelta) -> None:
        self._control = control
        self._jobs = jobs
        self._clock = clock
        self._every = every

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except Unavailable as error:
                log.warning("the look for overdue tasks waits: %s", error)
            await asyncio.sleep(self._every.total_seconds())  # being late is a matter of the clock, not of an event

    async def look(self) -> None:
        """Look once at every open job. Raises Unavailable."""
        today = self._clock.now()
        for back in range(LOOK_BACK_DAYS + 1):
            for name in await self._jobs.open(today - timedelta(days=back)):
                await self._control.look(name)
