"""What alerts are judged by, read from the roll-ups: the two latest windows, what is usual, and the worst viewings."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, column, func, or_, select, tuple_

from reelmesh.analytics.alert_rows import Key
from reelmesh.analytics.functions import least_id
from reelmesh.analytics.jumps import Share
from reelmesh.analytics.metrics import DIMENSIONS
from reelmesh.analytics.reading import Reader, latest
from reelmesh.analytics.schema import HOURS, MINUTES, ROLLUPS, SESSIONS
from reelmesh.analytics.v1 import report_pb2 as pb
from reelmesh.mesh.names import SessionName

WINDOW = timedelta(minutes=10)
"""What is looked at."""
SETTLE = timedelta(minutes=1)
"""Minutes younger than this are still filling: players tell their counters every ten seconds or so."""
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WATCHED = (
    pb.DIMENSION_CDN,
    pb.DIMENSION_COUNTRY,
    pb.DIMENSION_DEVICE,
    pb.DIMENSION_PLAYER_VERSION,
    pb.DIMENSION_VIDEO,
)
"""Dimensions whose values are looked at by themselves."""
LEAST_VIEWS = 20
"""Values with fewer views, or windows full of playing, are not even read."""
MEASURES = ("views", "starts", "failures", "watch_ms", "stall_ms")
"""Columns that are read."""
WORST = 10
"""Viewings that an alert names."""
LOOKED_BACK = timedelta(hours=6)
"""Viewings that began earlier are not named."""


@dataclass(frozen=True, slots=True)
class Where:
    """All viewings of an organization, or those with a value."""

    organization: str
    dimension: pb.Dimension.ValueType = pb.DIMENSION_UNSPECIFIED
    value: str = ""

    @property
    def whole(self) -> Where:
        """Return all of the organization."""
        return Where(self.organization)


@dataclass(frozen=True, slots=True)
class Window:
    """Ten minutes; it begins with a minute."""

    start: datetime

    @property
    def end(self) -> datetime:
        """Return when it is over."""
        return self.start + WINDOW

    @classmethod
    def before(cls, now: datetime) -> Window:
        """Return the latest one whose minutes are filled."""
        end = (now - SETTLE).replace(second=0, microsecond=0)
        return cls(end - WINDOW)

    @property
    def previous(self) -> Window:
        """Return the one before, which ends where it begins."""
        return Window(self.start - WINDOW)


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted, a viewing once."""

    views: float = 0.0
    failures: float = 0.0
    watch_ms: float = 0.0
    stall_ms: float = 0.0
    days: int = 0
    """Days that it was counted on; in a baseline only."""

    def share(self, metric: pb.Metric.ValueType, span: timedelta) -> Share:
        """Return a metric as a proportion; a viewing fills at most `span` of time (see jumps)."""
        if metric == pb.METRIC_FAILURE_RATIO:
            return Share(self.failures, self.views)
        milliseconds = span / timedelta(milliseconds=1)
        return Share(self.stall_ms / milliseconds, (self.stall_ms + self.watch_ms) / milliseconds)


NOTHING = Counts()
Looked = Mapping[Where, tuple[Counts, Counts]]
"""Counts of the latest window and of the one before."""


class AlertReader:
    """Reads what alerts are judged by."""

    def __init__(self, reader: Reader, weight: int = 1) -> None:
        """`weight` is how many views one stands for: those that were sampled away are no evidence."""
        self._reader = reader
        self._weight = weight

    async def windows(self, window: Window) -> Looked:
        """Return counts of the two latest windows wherever there were views enough. Raises Unavailable."""
        rollup = ROLLUPS[MINUTES].c
        now = rollup.bucket >= _time(window.start)
        made = [func.sumIf(rollup[name], condition) for condition in (now, ~now) for name in MEASURES]
        of_window = int(WINDOW.total_seconds() * 1000)
        enough = or_(
            func.sumIf(rollup.views, now) >= LEAST_VIEWS * self._weight,
            func.sumIf(rollup.watch_ms + rollup.stall_ms, now) >= LEAST_VIEWS * of_window * self._weight,
        )
        query = (
            select(rollup.organization, _places(), *made)
            .where(rollup.bucket >= _time(window.previous.start), rollup.bucket < _time(window.end))
            .group_by(rollup.organization, column("place"))
            .having(enough)
        )
        found = {}
        for organization, (dimension, value), *numbers in await self._reader.rows(latest(query)):
            counts = self._counts(numbers[: len(MEASURES)]), self._counts(numbers[len(MEASURES) :])
            found[Where(organization, pb.Dimension.ValueType(dimension), value)] = counts
        return found

    async def usual(self, window: Window, days: int, places: Collection[Where]) -> Mapping[Where, Counts]:
        """Return the counts of some places at the window's hours on the days before. Raises Unavailable."""
        if not places:
            return {}
        rollup = ROLLUPS[HOURS].c
        buckets = [_time(hour - day * DAY) for day in range(1, days + 1) for hour in _hours(window)]
        wanted = [(each.organization, func.tuple(int(each.dimension), each.value)) for each in places]
        made = [func.uniqExact(func.toDate(rollup.bucket)), *(func.sum(rollup[name]) for name in MEASURES)]
        query = (
            select(rollup.organization, _places(), *made)
            .where(rollup.organization.in_(sorted({each.organization for each in places})), rollup.bucket.in_(buckets))
            .group_by(rollup.organization, column("place"))
            .having(tuple_(rollup.organization, column("place")).in_([tuple_(*each) for each in wanted]))
        )
        return {
            Where(organization, pb.Dimension.ValueType(dimension), value): replace(self._counts(numbers), days=count)
            for organization, (dimension, value), count, *numbers in await self._reader.rows(latest(query))
        }

    async def worst(self, key: Key, window: Window) -> Sequence[str]:
        """Return the names of some viewings that an alert is about, worst first. Raises Unavailable."""
        viewing = SESSIONS.c
        since = int((window.start - LOOKED_BACK).timestamp() * 1000)
        query = (
            select(viewing.session)
            .where(
                viewing.organization == key.organization,
                viewing.session >= least_id(since),
                viewing.last_time >= _time(window.start),
                viewing.first_time < _time(window.end),
            )
            .limit(WORST)
        )
        if key.metric == pb.METRIC_FAILURE_RATIO:
            query = query.where(viewing.failed > 0).order_by(viewing.watch_ms, viewing.last_time.desc())
        else:
            query = query.where(viewing.stall_ms > 0).order_by(viewing.stall_ms.desc())
        if key.dimension:
            query = query.where(_OF_SESSIONS[key.dimension] == key.value)
        rows = await self._reader.rows(latest(query))
        return [str(SessionName(key.organization, str(uuid.UUID(bytes=session)))) for (session,) in rows]

    def _counts(self, numbers: Sequence[Any]) -> Counts:
        views, starts, failures, watch, stall = (float(number) / self._weight for number in numbers)
        # A view may be asked for before it is known which CDN it comes from: where it started or failed it is a view.
        return Counts(max(views, starts, failures), failures, watch, stall)


_OF_SESSIONS: Mapping[pb.Dimension.ValueType, ColumnElement[Any]] = {
    pb.DIMENSION_CDN: func.finalizeAggregation(SESSIONS.c.cdn),
    pb.DIMENSION_COUNTRY: SESSIONS.c.country,
    pb.DIMENSION_DEVICE: SESSIONS.c.device,
    pb.DIMENSION_PLAYER_VERSION: SESSIONS.c.player_version,
    pb.DIMENSION_VIDEO: SESSIONS.c.video,
}


def _places() -> ColumnElement[Any]:
    """Return where a row counts: in the whole, and in its value of each dimension."""
    values = [func.tuple(func.toUInt8(int(each)), func.toString(DIMENSIONS[each])) for each in WATCHED]
    return func.arrayJoin(func.array(func.tuple(func.toUInt8(0), ""), *values)).label("place")


def _hours(window: Window) -> Sequence[datetime]:
    """Return the hours that a window lies in."""
    last = window.end - timedelta(minutes=1)
    return sorted({each.replace(minute=0) for each in (window.start, last)})


def _time(time: datetime) -> ColumnElement[Any]:
    return func.toDateTime(int(time.timestamp()), "UTC")
