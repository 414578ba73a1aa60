"""Popular videos: a word on each threshold of views that a video passes.

It is looked at after rounds of the roll-ups, and only at videos whose days were counted anew since the last look, by
the version of their rows. A process that starts looks at all once. What was told is remembered after it was told: a
crash between tells it again, under the same id.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from sqlalchemy import func, select, tuple_

from reelmesh.analytics.reading import Reader, latest
from reelmesh.analytics.schema import DAYS, MINUTES, ROLLUPS
from reelmesh.analytics.v1.popularity_pb2 import PopularityEvent
from reelmesh.mesh.clock import Clock
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.lru import Lru
from reelmesh.mesh.names import VideoName

VIDEOS = 100_000
"""Videos whose thresholds are kept in mind."""
CHUNK = 1000
"""Videos that are counted with one query."""
OVERLAP_MS = 60_000
"""Looks go back so far before the latest version seen: another process that counted may have another clock."""
LATE_DAYS = 3
"""Days in which counts change: events come up to a day late."""
REST_SECONDS = 5.0
"""Rest between looks at least…"""
SHARE = 19.0
"""…and so many times as long as the last one took."""
_IDS = uuid.UUID("b3c1f4a2-6d1e-5c0f-9a57-0d7a4be0f6c1")

log = logging.getLogger(__name__)


class PassedStore(Protocol):
    """What is remembered; popularity_store.py has the one on Cassandra. All may raise Unavailable."""

    async def passed(self, video: VideoName) -> frozenset[int]:
        """Return the thresholds that a video was told to have passed."""

    async def remember(self, video: VideoName, thresholds: Collection[int], time: datetime) -> None:
        """Remember that a video was told to have passed thresholds."""


class Popularity:
    """Tells which videos are watched much."""

    def __init__(
        self,
        reader: Reader,
        store: PassedStore,
        tell: Callable[[Sequence[PopularityEvent]], Awaitable[None]],
        clock: Clock,
        thresholds: Collection[int],
        turned: Callable[[], Awaitable[None]],
        leads: Callable[[], bool],
    ) -> None:
        """`turned` waits for the end of a round of the roll-ups, `leads` says whether this process is to look."""
        self._reader = reader
        self._store = store
        self._tell = tell
        self._clock = clock
        self._thresholds = sorted(thresholds)
        self._turned = turned
        self._leads = leads
        self._seen = 0
        self._passed: Lru[VideoName, frozenset[int]] = Lru(VIDEOS, lambda passed: 1)

    async def run(self) -> None:
        """Look after rounds until cancelled."""
        while True:
            await self._turned()
            began = time.monotonic()
            try:
                if self._leads():
                    await self.look()
                else:
                    self._seen = 0  # it may be long until the next look
            except Unavailable as error:
                log.warning("popularity waits: %s", error)
            # A round ends every few seconds, and nobody is in such a hurry.
            await asyncio.sleep(max(REST_SECONDS, (time.monotonic() - began) * SHARE))

    async def look(self) -> Sequence[PopularityEvent]:
        """Look once, and return what was told. Raises Unavailable; then the next look begins where this one did."""
        changed, seen = await self._changed()
        told: list[PopularityEvent] = []
        for start in range(0, len(changed), CHUNK):
            for video, views in (await self._views(changed[start : start + CHUNK])).items():
                told += await self._judge(video, views)
        self._seen = seen
        return told

    async def _changed(self) -> tuple[Sequence[VideoName], int]:
        """Return the videos whose days were counted anew, and the latest version of all that was read."""
        rollup = ROLLUPS[DAYS].c
        query = select(rollup.organization, rollup.video, func.max(rollup.version)).where(
            rollup.version > max(self._seen - OVERLAP_MS, 0)
        )
        if self._seen:
            day = int(self._clock.now().timestamp()) - LATE_DAYS * 86_400
            query = query.where(rollup.bucket >= func.toDateTime(day, "UTC"))
        rows = await self._reader.rows(query.group_by(rollup.organization, rollup.video))
        # Sorted, so that a chunk's videos lie together in the table.
        return sorted((VideoName(row[0], row[1]) for row in rows), key=str), max(
            (row[2] for row in rows), default=self._seen
        )

    async def _views(self, videos: Sequence[VideoName]) -> Mapping[VideoName, int]:
        """Return the views of those that have enough for the first threshold that any may pass."""
        first = self._thresholds[0] if self._thresholds else 1
        rollup = ROLLUPS[DAYS].c
        query = (
            select(rollup.organization, rollup.video, func.sum(rollup.views))
            .where(tuple_(rollup.organization, rollup.video).in_([(each.organization, each.id) for each in videos]))
            .group_by(rollup.organization, rollup.video)
            .having(func.sum(rollup.views) >= first)
        )
        return {VideoName(row[0], row[1]): int(row[2]) for row in await self._reader.rows(latest(query))}

    async def _judge(self, video: VideoName, views: int) -> Sequence[PopularityEvent]:
        reached = [each for each in self._thresholds if each <= views]
        passed = self._passed.get(video)
        if passed is None:
            passed = await self._store.passed(video)
        due = [each for each in reached if each not in passed]
        if due:
            now = self._clock.now()
            hour_views = await self._hour_views(video, now)
            events = [event_of(video, each, views, hour_views, now) for each in due]
            await self._tell(events)
            await self._store.remember(video, due, now)
            log.info("%s has %d views", video, views)
        else:
            events = []
        self._passed.put(video, passed.union(due))
        return events

    async def _hour_views(self, video: VideoName, now: datetime) -> int:
        rollup = ROLLUPS[MINUTES].c
        query = select(func.sum(rollup.views)).where(
            rollup.organization == video.organization,
            rollup.video == video.id,
            rollup.bucket >= func.toDateTime(int(now.timestamp()) - 3600, "UTC"),
        )
        return int((await self._reader.rows(latest(query)))[0][0])


def event_of(video: VideoName, threshold: int, views: int, hour_views: int, now: datetime) -> PopularityEvent:
    """Return the word on a video that has passed a threshold; its id is the same whenever it is told."""
    event = PopularityEvent(
        id=str(uuid.uuid5(_IDS, f"{video} {threshold}")),
        video=str(video),
        threshold=threshold,
        views=views,
        hour_views=hour_views,
    )
    event.time.FromDatetime(now)
    return event
