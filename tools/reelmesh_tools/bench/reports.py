"""Reports over many events: what they cost beside a plain count of the raw ones."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Select, column, func, literal, select, table

from reelmesh.analytics.columns import EVENTS, player_name
from reelmesh.analytics.export import Export
from reelmesh.analytics.live import Concurrents
from reelmesh.analytics.metrics import METRICS, sources
from reelmesh.analytics.migrations import Placement, migrate
from reelmesh.analytics.reading import latest
from reelmesh.analytics.reports import Question, Reports
from reelmesh.analytics.retention import Retention
from reelmesh.analytics.rollups import Rollups
from reelmesh.analytics.schema import DIRTY, ROLLUPS
from reelmesh.analytics.sessions import Outcome, Sessions
from reelmesh.analytics.spans import Span
from reelmesh.analytics.v1 import report_pb2 as pb
from reelmesh.mesh.clock import SystemClock
from reelmesh.mesh.names import SessionName, VideoName
from reelmesh.stores.warehouse import Warehouse
from reelmesh_tools.bench import crowd
from reelmesh_tools.bench.errors import BenchError

DAYS = 8
"""Days that the crowd comes in: a week, and the day that is not over."""
TIMES = 25
"""How often each report is asked for, with other parameters each time."""
PLAIN_TIMES = 3
"""The same for the plain counts, which are slow."""
MEMORY = 3 << 30
"""Memory that the warehouse may use."""
_HOUR, _DAY, _WEEK = 3600, 86_400, 7 * 86_400
_VIEWS = [pb.METRIC_VIEWS, pb.METRIC_WATCH_SECONDS, pb.METRIC_STARTS]
_STARTUP = [pb.METRIC_STARTUP_MS_P50, pb.METRIC_STARTUP_MS_P95, pb.METRIC_STARTUP_MS_MEAN]
_FAULTS = [pb.METRIC_FAILURE_RATIO, pb.METRIC_EXIT_BEFORE_START_RATIO]
_SMOOTHNESS = [pb.METRIC_REBUFFER_RATIO, pb.METRIC_REBUFFERS_PER_VIEW]
_PICTURE = [pb.METRIC_AVERAGE_BITRATE_KBPS, pb.METRIC_UPSCALE_RATIO, pb.METRIC_SWITCHES_PER_VIEW]
Say = Callable[[str], None]
Call = Callable[[], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Shape:
    """A report that is asked for, with a span and a filter that are new each time."""

    metrics: Sequence[pb.Metric.ValueType]
    seconds: int
    """Length of its span."""
    group_by: Sequence[pb.Dimension.ValueType] = ()
    granularity: pb.Granularity.ValueType = pb.GRANULARITY_UNSPECIFIED
    filtered: Sequence[pb.Dimension.ValueType] = ()
    order_by: pb.Metric.ValueType = pb.METRIC_UNSPECIFIED


SHAPES: Mapping[str, Shape] = {
    "views, a week": Shape(_VIEWS, _WEEK),
    "views by hour, a week": Shape(_VIEWS, _WEEK, granularity=pb.GRANULARITY_HOUR),
    "views by minute, a day": Shape(_VIEWS, _DAY, granularity=pb.GRANULARITY_MINUTE),
    "views by minute, an hour": Shape(_VIEWS, _HOUR, granularity=pb.GRANULARITY_MINUTE),
    "unique viewers, a week": Shape([pb.METRIC_UNIQUE_VIEWERS], _WEEK),
    "unique viewers by day, a week": Shape([pb.METRIC_UNIQUE_VIEWERS], _WEEK, granularity=pb.GRANULARITY_DAY),
    "startup, a week": Shape(_STARTUP, _WEEK),
    "startup by hour, a day": Shape(_STARTUP, _DAY, granularity=pb.GRANULARITY_HOUR),
    "failures and exits by hour, a week": Shape(_FAULTS, _WEEK, granularity=pb.GRANULARITY_HOUR),
    "rebuffering by minute, a day": Shape(_SMOOTHNESS, _DAY, granularity=pb.GRANULARITY_MINUTE),
    "bitrate, upscaling, switches by rendition, a week": Shape(_PICTURE, _WEEK, [pb.DIMENSION_RENDITION]),
    "score by hour, a week": Shape([pb.METRIC_SCORE], _WEEK, granularity=pb.GRANULARITY_HOUR),
    "every metric, a week": Shape(list(METRICS), _WEEK),
    "every metric by country, a week": Shape(list(METRICS), _WEEK, [pb.DIMENSION_COUNTRY]),
    "score by video, best first, a week": Shape(
        [*_VIEWS, pb.METRIC_SCORE], _WEEK, [pb.DIMENSION_VIDEO], order_by=pb.METRIC_SCORE
    ),
    "startup by device and player version, a week": Shape(
        _STARTUP, _WEEK, [pb.DIMENSION_DEVICE, pb.DIMENSION_PLAYER_VERSION]
    ),
    "rebuffering by CDN and hour, a week": Shape(
        _SMOOTHNESS, _WEEK, [pb.DIMENSION_CDN], granularity=pb.GRANULARITY_HOUR
    ),
    "viewers and score by experiment, a week": Shape(
        [pb.METRIC_UNIQUE_VIEWERS, pb.METRIC_SCORE], _WEEK, [pb.DIMENSION_EXPERIMENT]
    ),
    "every metric of one video by hour, a week": Shape(
        list(METRICS), _WEEK, granularity=pb.GRANULARITY_HOUR, filtered=[pb.DIMENSION_VIDEO]
    ),
    "views by country of some devices, a week": Shape(
        _VIEWS, _WEEK, [pb.DIMENSION_COUNTRY], filtered=[pb.DIMENSION_DEVICE]
    ),
    "score by minute in one country, six hours": Shape(
        [pb.METRIC_SCORE], 6 * _HOUR, granularity=pb.GRANULARITY_MINUTE, filtered=[pb.DIMENSION_COUNTRY]
    ),
}
_VALUES: Mapping[pb.Dimension.ValueType, Sequence[str]] = {
    pb.DIMENSION_COUNTRY: ["US", "DE", "FR", "SE", "CZ"],
    pb.DIMENSION_DEVICE: ["mobile", "tv", "desktop"],
}


def measure(folder: Path, events: int, say: Say) -> dict[str, Any]:
    """Fill a warehouse in `folder`, and time every report over it. Raises BenchError."""
    return asyncio.run(_measure(folder, events, say))


async def _measure(folder: Path, events: int, say: Say) -> dict[str, Any]:
    warehouse = await Warehouse.open("", folder, MEMORY)
    try:
        end = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=5)
        filled = await _fill(warehouse, end, events, say)
        sizes = await _sizes(warehouse)
        if sizes["events"]["rows"] < events:
            raise BenchError(f"only {sizes['events']['rows']} events were made of {events}")
        reports, plain = await _reports(warehouse, end, say)
        return {
            "events": sizes["events"]["rows"],
            "bytes_per_event": round(sizes["events"]["bytes"] / sizes["events"]["rows"], 1),
            "bytes_per_event_everything": round(
                sum(each["bytes"] for each in sizes.values()) / sizes["events"]["rows"], 1
            ),
            "tables": sizes,
            **filled,
            "times": TIMES,
            "reports": reports,
            "slowest_p95_ms": max(each["p95_ms"] for each in reports.values()),
            "plain": plain,
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "load_average": round(os.getloadavg()[0], 2),
        }
    finally:
        await warehouse.close()


async def _fill(warehouse: Warehouse, end: datetime, events: int, say: Say) -> dict[str, float]:
    """Make the crowd by days, and count the roll-ups of each day after it."""
    await migrate(warehouse, Placement())
    rollups = Rollups(warehouse, SystemClock(), lambda: None, lambda: True, 1.0, 90)
    viewings = round(events * 1.01 / crowd.EVENTS_PER_VIEWING / DAYS)
    made = counted = 0.0
    for day in range(DAYS):
        say(f"making day {day + 1} of {DAYS}")
        start = end - (DAYS - day) * timedelta(days=1)
        began = time.monotonic()
        await warehouse.define(crowd.statement(start, viewings))
        made += time.monotonic() - began
        say(f"counting day {day + 1} of {DAYS}")
        began = time.monotonic()
        await warehouse.run(_marks(start))
        await rollups.round()
        counted += time.monotonic() - began
    say("merging")
    began = time.monotonic()
    for rollup in ROLLUPS:  # as ClickHouse does by itself once they rest for ten minutes
        await warehouse.define(f"OPTIMIZE TABLE {rollup} FINAL")
    merged = time.monotonic() - began
    return {
        "make_seconds": round(made, 1),
        "rollup_seconds": round(counted, 1),
        "merge_seconds": round(merged, 1),
    }


def _marks(start: datetime) -> Any:
    """Return the statement that marks the minutes of a day for counting, and an hour for those who still watched."""
    minutes = _DAY // 60 + 3 * 60
    first = int(start.timestamp())
    minute = func.toDateTime(literal(first) + column("number") * 60, "UTC")
    marks = select(
        literal(crowd.ORGANIZATION), minute, func.generateUUIDv4(), func.now64(3, "UTC"), literal(0)
    ).select_from(func.numbers(minutes))
    return DIRTY.insert().from_select([each.name for each in DIRTY.columns], marks)


async def _sizes(warehouse: Warehouse) -> dict[str, dict[str, int]]:
    """Return rows and bytes on disk of each table."""
    parts = table("parts", column("table"), column("rows"), column("bytes_on_disk"), column("active"), schema="system")
    name = parts.c["table"]
    query = (
        select(name, func.sum(parts.c.rows), func.sum(parts.c.bytes_on_disk))
        .where(parts.c.active == 1)
        .group_by(name)
        .order_by(name)
    )
    return {row[0]: {"rows": int(row[1]), "bytes": int(row[2])} for row in await warehouse.rows(query)}


async def _reports(warehouse: Warehouse, end: datetime, say: Say) -> tuple[dict[str, Any], dict[str, Any]]:
    chance = random.Random(1)  # noqa: S311 - the same questions every time
    reports = Reports(warehouse, SystemClock())
    told: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for name, shape in SHAPES.items():
        say(name)
        questions = [_question(shape, end, chance) for _ in range(TIMES)]
        told[name] = await _timed([_page(reports, each) for each in questions])
        plain[name] = await _timed([_plainly(warehouse, each) for each in questions[:PLAIN_TIMES]])
    for name, call in _Others(warehouse, end, chance).calls().items():
        say(name)
        told[name] = await _timed([call] * TIMES)
    return told, plain


class _Others:
    """Reports that are no metrics; each call returns how many rows or bytes it had."""

    def __init__(self, warehouse: Warehouse, end: datetime, chance: random.Random) -> None:
        self._warehouse = warehouse
        self._sessions = Sessions(warehouse)
        self._export = Export(warehouse, Reports(warehouse, SystemClock()))
        self._end = end
        self._chance = chance
        self._seen: list[str] = []

    def calls(self) -> dict[str, Call]:
        """Return the calls by name, in the order in which they are to be made."""
        return {
            "retention of a video, a week": self._retention,
            "sessions, latest hundred": lambda: self._listed([], Outcome.OUTCOME_UNSPECIFIED),
            "sessions of a video and a country that failed": self._failed,
            "one session and its events": self._one,
            "concurrent viewings": self._concurrents,
            "export of every metric by video and day, first part": self._exported,
            "export of an hour's events, first part": self._raw,
        }

    async def _retention(self) -> int:
        video = VideoName(crowd.ORGANIZATION, _video(self._chance))
        return len((await Retention(self._warehouse).curve(video, self._span(_WEEK))).plays)

    async def _listed(self, filters: Sequence[pb.Filter], outcome: Outcome.ValueType) -> int:
        span = self._span(_WEEK)
        found, _ = await self._sessions.page(crowd.ORGANIZATION, span, filters, outcome, "", 100)
        self._seen += [each.session for each in found]
        return len(found)

    async def _failed(self) -> int:
        filters = [_filter(each, self._chance) for each in (pb.DIMENSION_VIDEO, pb.DIMENSION_COUNTRY)]
        return await self._listed(filters, Outcome.OUTCOME_FAILED)

    async def _one(self) -> int:
        viewing = await self._sessions.get(SessionName(crowd.ORGANIZATION, self._chance.choice(self._seen)))
        return len(await self._sessions.events(crowd.ORGANIZATION, viewing))

    async def _concurrents(self) -> int:
        then = _Then(self._end - timedelta(seconds=self._chance.randrange(_WEEK)))
        return sum((await Concurrents(self._warehouse, then).count(crowd.ORGANIZATION)).videos.values())

    async def _exported(self) -> int:
        shape = Shape(list(METRICS), _WEEK, [pb.DIMENSION_VIDEO], granularity=pb.GRANULARITY_DAY)
        async with aclosing(self._export.metrics(_question(shape, self._end, self._chance))) as parts:
            return len(await anext(parts))

    async def _raw(self) -> int:
        async with aclosing(self._export.events(crowd.ORGANIZATION, self._span(_HOUR))) as parts:
            return len(await anext(parts))

    def _span(self, seconds: int) -> Span:
        return _span(self._end, seconds, self._chance)


class _Then:
    """A clock that stands."""

    def __init__(self, time_: datetime) -> None:
        self._time = time_

    def now(self) -> datetime:
        return self._time


def _page(reports: Reports, question: Question) -> Call:
    async def call() -> int:
        rows, _ = await reports.page(question, 0, 1000)
        return len(rows)

    return call


def _plainly(warehouse: Warehouse, question: Question) -> Call:
    async def call() -> int:
        return len(await warehouse.rows(plainly(question)))

    return call


async def _timed(calls: Sequence[Call]) -> dict[str, float]:
    """Time calls one after another, after one that is not counted."""
    await calls[0]()
    spent, rows = [], []
    for call in calls:
        began = time.perf_counter()
        rows.append(await call())
        spent.append((time.perf_counter() - began) * 1000)
    spent.sort()
    return {
        "p50_ms": round(_quantile(spent, 0.5), 1),
        "p95_ms": round(_quantile(spent, 0.95), 1),
        "rows": round(sum(rows) / len(rows)),
    }


def _quantile(ordered: Sequence[float], level: float) -> float:
    return ordered[min(len(ordered) - 1, round(level * (len(ordered) - 1)))]


def _question(shape: Shape, end: datetime, chance: random.Random) -> Question:
    return Question(
        organization=crowd.ORGANIZATION,
        span=_span(end, shape.seconds, chance),
        metrics=shape.metrics,
        group_by=shape.group_by,
        filters=[_filter(each, chance) for each in shape.filtered],
        granularity=shape.granularity,
        order_by=shape.order_by,
    )


def _span(end: datetime, seconds: int, chance: random.Random) -> Span:
    """Return a span of about `seconds` that begins and ends anywhere."""
    last = int(end.timestamp()) - chance.randrange(max(_DAY // 2, DAYS * _DAY - seconds))
    return Span(last - seconds + chance.randrange(seconds // 10), last)


def _filter(dimension: pb.Dimension.ValueType, chance: random.Random) -> pb.Filter:
    if dimension == pb.DIMENSION_VIDEO:
        return pb.Filter(dimension=dimension, values=[_video(chance)])
    values = _VALUES[dimension]
    return pb.Filter(dimension=dimension, values=chance.sample(values, 2), exclude=chance.random() < 0.5)


def _video(chance: random.Random) -> str:
    return f"0198c0de-0000-7000-8000-{int(crowd.VIDEOS * chance.random() ** 3):012x}"


_E = EVENTS.c
_RAW: Mapping[str, Any] = {
    "views": func.sumIf(_E.weight, _E.type == "REQUESTED"),
    "starts": func.sumIf(_E.weight, _E.type == "STARTED"),
    "failures": func.sumIf(_E.weight, _E.type == "FAILED"),
    "exits": func.sumIf(_E.weight, _E.type == "EXITED_BEFORE_START"),
    "startup_ms": func.sumIf(_E.startup_ms * _E.weight, _E.type == "STARTED"),
    "startup": func.quantileBFloat16If(_E.startup_ms, _E.type == "STARTED"),
    "viewers": func.uniqCombined64(_E.viewer),
    "events": func.count(),
    "bitrate_watch": func.sum(_E.bitrate_kbps * _E.watch_ms * _E.weight),
}
_RAW_KEYS: Mapping[pb.Dimension.ValueType, Any] = {
    pb.DIMENSION_VIDEO: _E.video,
    pb.DIMENSION_RENDITION: _E.rendition,
    pb.DIMENSION_CDN: _E.cdn,
    pb.DIMENSION_COUNTRY: _E.country,
    pb.DIMENSION_DEVICE: _E.device,
    pb.DIMENSION_PLAYER_VERSION: player_name(_E.player, _E.player_version),
    pb.DIMENSION_EXPERIMENT: func.arrayJoin(func.emptyArrayToSingle(_E.experiments)),
}
_BUCKETS = {
    pb.GRANULARITY_MINUTE: _E.minute,
    pb.GRANULARITY_HOUR: func.toStartOfHour(_E.minute),
    pb.GRANULARITY_DAY: func.toStartOfDay(_E.minute),
}


def plainly(question: Question) -> Select[Any]:
    """Return a count of the same from the raw events, as one would write it without roll-ups."""
    keys = [_RAW_KEYS[each] for each in question.group_by]
    if question.granularity:
        keys = [_BUCKETS[question.granularity], *keys]
    needed = sources(*(METRICS[metric] for metric in question.metrics))
    sums = [_RAW[name] if name in _RAW else func.sum(_E[name] * _E.weight) for name in needed]
    query = select(*keys, *sums).where(
        _E.organization == question.organization,
        _E.minute >= func.toDateTime(question.span.start, "UTC"),
        _E.minute < func.toDateTime(question.span.end, "UTC"),
    )
    for each in question.filters:
        values = list(each.values)
        condition = _RAW_KEYS[each.dimension].in_(values)
        query = query.where(func.not_(condition) if each.exclude else condition)
    return latest(query.group_by(*keys) if keys else query)
