"""Usage: minutes stored, encoded and delivered. Every fact is a row of its own, so telling it twice counts once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from reelmesh.billing.errors import SpanTooLong
from reelmesh.events.v1.media_event_pb2 import MediaEvent
from reelmesh.mesh.clock import Clock
from reelmesh.mesh.names import SessionName, VideoName

DEFAULT_SPAN = timedelta(days=30)
LONGEST_SPAN = timedelta(days=92)


@dataclass(frozen=True, slots=True)
class Day:
    """What was used on one day."""

    start: datetime
    encoded: timedelta
    delivered: timedelta


class UsageStore(Protocol):
    """What usage needs of a database; usage_store.py is the one on Cassandra. Every method may raise Unavailable."""

    async def planned(self, video: VideoName, job: str, length: timedelta) -> None:
        """Remember how long what a job makes is."""

    async def encoded(self, video: VideoName, job: str, day: datetime) -> None:
        """Count a job that ended well on a day; its video is stored from then on, unless it is gone."""

    async def gone(self, video: VideoName) -> None:
        """Count a video as stored no more, whatever is told of it later."""

    async def watched(self, session: SessionName, day: datetime, total: timedelta) -> None:
        """Count the total that a session begun on a day was watched; a larger one that was counted stays."""

    async def stored(self, organization: str) -> timedelta:
        """Return the length of all videos that are stored."""

    async def days(self, organization: str, days: Sequence[datetime]) -> Mapping[datetime, Day]:
        """Return what was used on those of some days on which something was."""


class Usage:
    """Usage of all organizations."""

    def __init__(self, store: UsageStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def apply(self, event: MediaEvent) -> None:
        """Take note of what happened to a video. Raises ValueError for an event of none."""
        video = VideoName.parse(event.video)
        match event.WhichOneof("event"):
            case "job_planned":
                planned = event.job_planned
                await self._store.planned(video, planned.job, planned.duration.ToTimedelta())
            case "job_succeeded":
                await self._store.encoded(video, event.job_succeeded.job, day_of(event.time.ToDatetime()))
            case "video_deleted":
                await self._store.gone(video)

    async def watched(self, session: SessionName, create_time: datetime, total: timedelta) -> None:
        """Take note of how long a session has been watched up to now."""
        await self._store.watched(session, day_of(create_time), total)

    async def list(
        self, organization: str, start: datetime | None, end: datetime | None
    ) -> tuple[Sequence[Day], timedelta]:
        """Return the days between two on which something was used, and the length of what is stored now.

        Raises SpanTooLong.
        """
        last = day_of(end or self._clock.now())
        first = day_of(start) if start else last - DEFAULT_SPAN
        if last - first > LONGEST_SPAN:
            raise SpanTooLong("ask for at most 92 days at once")
        wanted = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        found = await self._store.days(organization, wanted)
        return [found[day] for day in wanted if day in found], await self._store.stored(organization)


def day_of(time: datetime) -> datetime:
    """Return the beginning of a time's day (UTC), without a zone: as Cassandra's dates are."""
    return datetime(time.year, time.month, time.day)  # noqa: DTZ001 - a day, not a moment
