"""How many viewings are going on: counted once for all who watch an organization, and pushed to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import func, select, tuple_

from reelmesh.analytics.columns import EVENTS
from reelmesh.analytics.reading import Reader
from reelmesh.mesh.clock import Clock

COUNT_SECONDS = 5.0
"""From one count to the next."""
ALIVE = timedelta(seconds=45)
"""A viewing whose last event is older is not going on: players tell their counters more often."""
AHEAD = timedelta(minutes=5)
"""How far ahead a player's clock may be: telemetry takes no event of one that is further."""
ENDS = ("ENDED", "FAILED", "EXITED_BEFORE_START")
"""Events after which nothing comes."""


@dataclass(frozen=True, slots=True)
class Count:
    """Viewings at one time."""

    time: datetime
    videos: Mapping[str, int]
    """Viewings by video id, most first; none without any."""


@dataclass(slots=True)
class _Counting:
    """The counts of one organization, while anybody watches them."""

    following: asyncio.Future[Count]
    latest: Count | None = None
    watchers: int = 0
    task: asyncio.Task[None] | None = field(default=None)


class Concurrents:
    """Counts viewings, for organizations that are watched."""

    def __init__(self, reader: Reader, clock: Clock, interval: float = COUNT_SECONDS) -> None:
        self._reader = reader
        self._clock = clock
        self._interval = interval
        self._countings: dict[str, _Counting] = {}

    async def watch(self, organization: str) -> AsyncGenerator[Count, None]:
        """Yield the latest count, and each that follows. Raises Unavailable."""
        counting = self._begin(organization)
        try:
            following = counting.following
            if counting.latest is not None:
                yield counting.latest
            while True:
                count = await asyncio.shield(following)
                following = counting.following
                yield count
        finally:
            counting.watchers -= 1
            if not counting.watchers and counting.task is not None:
                counting.task.cancel()
                self._end(organization, counting)

    async def count(self, organization: str) -> Count:
        """Count the viewings whose last event is young enough and not their end. Raises Unavailable."""
        now = self._clock.now()
        since, until = (int((now + age).timestamp() * 1000) for age in (-ALIVE, AHEAD))
        events = EVENTS.c
        # An event that is stored twice changes nothing here, so no FINAL.
        viewings = (
            select(
                func.any(events.video).label("video"),
                func.max(events.weight).label("weight"),
                func.argMax(events.type, tuple_(events.event_time, events.sequence)).label("last"),
            )
            .where(
                events.organization == organization,
                events.minute >= func.toStartOfMinute(func.fromUnixTimestamp64Milli(since, "UTC")),
                events.minute <= func.toStartOfMinute(func.fromUnixTimestamp64Milli(until, "UTC")),
                events.event_time >= func.fromUnixTimestamp64Milli(since, "UTC"),
                events.event_time < func.fromUnixTimestamp64Milli(until, "UTC"),
            )
            .group_by(events.session)
            .subquery("viewings")
        )
        number = func.sum(viewings.c.weight)
        query = (
            select(viewings.c.video, number)
            .where(func.toString(viewings.c.last).not_in(ENDS))
            .group_by(viewings.c.video)
            .order_by(number.desc(), viewings.c.video)
        )
        return Count(now, {video: int(viewings) for video, viewings in await self._reader.rows(query)})

    def _begin(self, organization: str) -> _Counting:
        counting = self._countings.get(organization)
        if counting is None:
            counting = _Counting(asyncio.get_running_loop().create_future())
            counting.task = asyncio.create_task(self._run(organization, counting))
            self._countings[organization] = counting
        counting.watchers += 1
        return counting

    def _end(self, organization: str, counting: _Counting) -> None:
        if self._countings.get(organization) is counting:
            del self._countings[organization]

    async def _run(self, organization: str, counting: _Counting) -> None:
        while True:
            try:
                count = await self.count(organization)
            except Exception as error:  # it is raised where somebody waits
                self._end(organization, counting)
                counting.following.set_exception(error)
                counting.following.exception()  # seen, should all have left
                return
            told, counting.following = counting.following, asyncio.get_running_loop().create_future()
            counting.latest = count
            told.set_result(count)
            await asyncio.sleep(self._interval)
