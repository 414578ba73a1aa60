"""Every metric on chDB, through the real roll-ups, against plain counting of an audience that is known."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow
import pytest
from analytics_world import ODD, VIDEOS, Audience, Fact, arrive, audience, counted, happened, total

from reelmesh.analytics.export import PART, Export
from reelmesh.analytics.metrics import METRICS
from reelmesh.analytics.reports import Question, Reports
from reelmesh.analytics.retention import Retention
from reelmesh.analytics.spans import Span
from reelmesh.analytics.v1 import report_pb2 as pb
from reelmesh.mesh.names import VideoName
from reelmesh.stores.warehouse import Warehouse
from reelmesh.telemetry.v1 import event_pb2 as events

START = datetime(2026, 11, 22, 21, 47, 13, tzinfo=UTC)
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SECONDS = 2 * 86_400
ALL = list(METRICS)
QUANTILES = {pb.METRIC_STARTUP_MS_P50: 0.5, pb.METRIC_STARTUP_MS_P95: 0.95}


class _Clock:
    def __init__(self, time: datetime = NOW) -> None:
        self._time = time

    def now(self) -> datetime:
        return self._time


def second(text: str) -> int:
    return int(datetime.fromisoformat(f"{text}+00:00").timestamp())


EVERYTHING = Span(second("2026-11-22T00:00:00"), second("2026-11-26T00:00:00"))


@pytest.fixture(scope="module")
def people(warehouse: Warehouse) -> Audience:
    made = audience("metrics", 400, START, SECONDS, seed=3)

    async def come() -> None:
        await arrive(warehouse, made.records)
        await arrive(warehouse, audience("strangers", 30, START, SECONDS).records)
        await counted(warehouse, _Clock())
        # Late ones, and some that come again: the same minutes are counted anew.
        late = audience("metrics", 100, START, SECONDS, seed=4)
        made.records += late.records
        await arrive(warehouse, late.records + made.records[:100])
        await counted(warehouse, _Clock(NOW + timedelta(hours=1)))

    asyncio.run(come())
    return made


@pytest.fixture
def reports(warehouse: Warehouse) -> Reports:
    return Reports(warehouse, _Clock())


def ratio(part: float, whole: float, without: float = math.nan) -> float:
    return part / whole if whole else without


def plain(metric: pb.Metric.ValueType, facts: Sequence[Fact]) -> float:
    """Count a metric as its definition says."""
    views = happened(facts, events.EVENT_TYPE_REQUESTED)
    starts = happened(facts, events.EVENT_TYPE_STARTED)
    failures = happened(facts, events.EVENT_TYPE_FAILED)
    exits = happened(facts, events.EVENT_TYPE_EXITED_BEFORE_START)
    watch, stall = (total(facts, lambda e: e.watch_ms), total(facts, lambda e: e.stall_ms))
    startup = total(facts, lambda e: e.startup_ms if e.type == events.EVENT_TYPE_STARTED else 0)
    upscaled = total(facts, lambda e: e.upscaled_ms)

    def score() -> float:
        slow = 0.5 ** (max(0.0, ratio(startup, starts, 0) - 400) / 4000)
        smooth = math.exp(-8 * ratio(stall, stall + watch, 0))
        picture = 1 - 0.3 * ratio(upscaled, watch, 0)
        return 100 * max(0.0, 1 - (failures + exits) / views) * slow * smooth * picture if views else math.nan

    values: dict[pb.Metric.ValueType, Callable[[], float]] = {
        pb.METRIC_VIEWS: lambda: views,
        pb.METRIC_WATCH_SECONDS: lambda: watch / 1000,
        pb.METRIC_UNIQUE_VIEWERS: lambda: len({fact.record.viewer for fact in facts} - {b""}),
        pb.METRIC_EXIT_BEFORE_START_RATIO: lambda: ratio(exits, views),
        pb.METRIC_FAILURE_RATIO: lambda: ratio(failures, views),
        pb.METRIC_REBUFFER_RATIO: lambda: ratio(stall, stall + watch),
        pb.METRIC_REBUFFERS_PER_VIEW: lambda: ratio(total(facts, lambda e: e.stalls), views),
        pb.METRIC_AVERAGE_BITRATE_KBPS: lambda: ratio(total(facts, lambda e: e.bitrate_kbps * e.watch_ms), watch),
        pb.METRIC_UPSCALE_RATIO: lambda: ratio(upscaled, watch),
        pb.METRIC_SWITCHES_PER_VIEW: lambda: ratio(total(facts, lambda e: e.switches), views),
        pb.METRIC_SCORE: score,
        pb.METRIC_EVENTS: lambda: len(facts),
        pb.METRIC_STARTUP_MS_MEAN: lambda: ratio(startup, starts),
        pb.METRIC_MEDIA_BYTES: lambda: total(facts, lambda e: e.media_bytes),
        pb.METRIC_STARTS: lambda: starts,
        pb.METRIC_STALL_SECONDS: lambda: stall / 1000,
    }
    return values[metric]()


def matches(metric: pb.Metric.ValueType, value: float, facts: Sequence[Fact]) -> None:
    """Hold a value against what it should be; a quantile lies between its neighbors, within 0.8 % of bfloat16."""
    if metric not in QUANTILES:
        assert value == pytest.approx(plain(metric, facts), rel=1e-9, nan_ok=True), pb.Metric.Name(metric)
        return
    started = (fact for fact in facts if fact.event.type == events.EVENT_TYPE_STARTED)
    starts = sorted(fact.event.startup_ms for fact in started for _ in range(fact.weight))
    if not starts:
        assert math.isnan(value)
        return
    place = QUANTILES[metric] * (len(starts) - 1)
    least, most = starts[max(0, math.floor(place) - 1)], starts[min(len(starts) - 1, math.ceil(place) + 1)]
    assert least * 0.992 <= value <= most * 1.008, (pb.Metric.Name(metric), least, value, most)


def within(facts: Iterable[Fact], span: Span) -> list[Fact]:
    return [fact for fact in facts if span.start <= fact.time.timestamp() < span.end]


KEYS: dict[pb.Dimension.ValueType, Callable[[Fact], list[str]]] = {
    pb.DIMENSION_VIDEO: lambda fact: [f"organizations/metrics/videos/{fact.record.video}"],
    pb.DIMENSION_RENDITION: lambda fact: [fact.event.rendition],
    pb.DIMENSION_CDN: lambda fact: [fact.event.cdn],
    pb.DIMENSION_COUNTRY: lambda fact: [fact.record.country],
    pb.DIMENSION_DEVICE: lambda fact: [fact.record.device],
    pb.DIMENSION_PLAYER_VERSION: lambda fact: [fact.player],
    pb.DIMENSION_EXPERIMENT: lambda fact: list(fact.record.experiments) or [""],
}


@pytest.mark.parametrize(
    "span",
    [
        EVERYTHING,
        Span(second("2026-11-22T23:58:00"), second("2026-11-24T20:31:00")),
        Span(second("2026-11-23T10:07:00"), second("2026-11-23T19:52:00")),
        Span(second("2026-11-23T10:07:00"), second("2026-11-23T10:41:00")),
    ],
)
async def test_every_metric_of_a_whole_span_is_what_the_events_say(
    reports: Reports, people: Audience, span: Span
) -> None:
    rows, more = await reports.page(Question("metrics", span, ALL), 0, 10)
    assert (len(rows), more, rows[0].start, rows[0].dimensions) == (1, False, None, [])
    facts = within(people.facts(), span)
    assert facts
    for metric, value in zip(ALL, rows[0].values, strict=True):
        matches(metric, value, facts)


async def test_a_span_is_rounded_outwards_to_minutes(reports: Reports, people: Audience) -> None:
    span = Span(second("2026-11-23T10:07:59"), second("2026-11-23T10:40:01"))
    rows, _ = await reports.page(Question("metrics", span, [pb.METRIC_EVENTS]), 0, 10)
    whole = Span(second("2026-11-23T10:07:00"), second("2026-11-23T10:41:00"))
    assert rows[0].values == [len(within(people.facts(), whole))]


@pytest.mark.parametrize("dimension", list(KEYS))
async def test_every_metric_by_every_dimension(
    reports: Reports, people: Audience, dimension: pb.Dimension.ValueType
) -> None:
    rows, _ = await reports.page(Question("metrics", EVERYTHING, ALL, [dimension]), 0, 1000)
    groups: dict[str, list[Fact]] = defaultdict(list)
    for fact in people.facts():
        for key in KEYS[dimension](fact):
            groups[key].append(fact)
    assert [row.dimensions for row in rows] == [[key] for key in sorted(groups, key=str.encode)]
    for row in rows:
        for metric, value in zip(ALL, row.values, strict=True):
            matches(metric, value, groups[row.dimensions[0]])


@pytest.mark.parametrize(
    ("granularity", "seconds"),
    [(pb.GRANULARITY_MINUTE, 60), (pb.GRANULARITY_HOUR, 3600), (pb.GRANULARITY_DAY, 86_400)],
)
async def test_every_metric_by_time_and_device(
    reports: Reports, people: Audience, granularity: pb.Granularity.ValueType, seconds: int
) -> None:
    span = Span(second("2026-11-23T05:10:30"), second("2026-11-24T03:20:10"))
    question = Question("metrics", span, ALL, [pb.DIMENSION_DEVICE], granularity=granularity)
    rows, _ = await reports.page(question, 0, 10_000)
    rounded = Span(span.start // seconds * seconds, -(-span.end // seconds) * seconds)
    groups: dict[tuple[int, str], list[Fact]] = defaultdict(list)
    for fact in within(people.facts(), rounded):
        groups[int(fact.time.timestamp()) // seconds * seconds, fact.record.device].append(fact)
    assert [(int(row.start.timestamp()), row.dimensions[0]) for row in rows if row.start] == sorted(groups)
    for row, key in zip(rows, sorted(groups), strict=True):
        for metric, value in zip(ALL, row.values, strict=True):
            matches(metric, value, groups[key])


FILTERS: list[tuple[list[pb.Filter], Callable[[Fact], bool]]] = [
    (
        [pb.Filter(dimension=pb.DIMENSION_COUNTRY, values=["DE", "FR"])],
        lambda fact: fact.record.country in ("DE", "FR"),
    ),
    ([pb.Filter(dimension=pb.DIMENSION_CDN, values=[ODD])], lambda fact: fact.event.cdn == ODD),
    ([pb.Filter(dimension=pb.DIMENSION_CDN, values=[ODD], exclude=True)], lambda fact: fact.event.cdn != ODD),
    (
        [pb.Filter(dimension=pb.DIMENSION_PLAYER_VERSION, values=[f"web {ODD}"])],
        lambda fact: fact.record.player_version == ODD,
    ),
    (
        [pb.Filter(dimension=pb.DIMENSION_EXPERIMENT, values=[f"odd:{ODD}", "buffer:long"])],
        lambda fact: bool(fact.record.experiments),
    ),
    (
        [pb.Filter(dimension=pb.DIMENSION_EXPERIMENT, values=["buffer:short"], exclude=True)],
        lambda fact: "buffer:short" not in fact.record.experiments,
    ),
    (
        [
            pb.Filter(dimension=pb.DIMENSION_VIDEO, values=[f"organizations/metrics/videos/{VIDEOS[1]}"]),
            pb.Filter(dimension=pb.DIMENSION_DEVICE, values=["tv"], exclude=True),
        ],
        lambda fact: fact.record.video == VIDEOS[1] and fact.record.device != "tv",
    ),
    ([pb.Filter(dimension=pb.DIMENSION_VIDEO, values=["organizations/strangers/videos/x"])], lambda fact: False),
]


@pytest.mark.parametrize(("filters", "kept"), FILTERS)
async def test_filters_leave_out_what_they_say(
    reports: Reports, people: Audience, filters: list[pb.Filter], kept: Callable[[Fact], bool]
) -> None:
    rows, _ = await reports.page(Question("metrics", EVERYTHING, ALL, filters=filters), 0, 10)
    facts = [fact for fact in people.facts() if kept(fact)]
    for metric, value in zip(ALL, rows[0].values, strict=True):
        matches(metric, value, facts)


async def test_an_empty_span_has_one_row_of_nothing_or_none(reports: Reports, people: Audience) -> None:
    long_ago = Span(second("2026-11-01T00:00:00"), second("2026-11-02T00:00:00"))
    for span in (long_ago, Span(EVERYTHING.start, EVERYTHING.start)):
        rows, _ = await reports.page(Question("metrics", span, ALL), 0, 10)
        for metric, value in zip(ALL, rows[0].values, strict=True):
            matches(metric, value, [])
        assert await reports.page(Question("metrics", span, ALL, [pb.DIMENSION_COUNTRY]), 0, 10) == ([], False)
    assert await reports.page(Question("nobody", EVERYTHING, ALL, granularity=pb.GRANULARITY_HOUR), 0, 10) == (
        [],
        False,
    )


@pytest.mark.parametrize("ascending", [False, True])
async def test_rows_are_ordered_by_a_metric_and_what_is_no_number_comes_last(
    reports: Reports, people: Audience, ascending: bool
) -> None:
    # Views have no rendition, so that those that have one have no score.
    question = Question(
        "metrics",
        EVERYTHING,
        [pb.METRIC_WATCH_SECONDS, pb.METRIC_SCORE],
        [pb.DIMENSION_RENDITION, pb.DIMENSION_COUNTRY],
        order_by=pb.METRIC_SCORE,
        ascending=ascending,
    )
    rows, _ = await reports.page(question, 0, 1000)
    scores = [row.values[1] for row in rows]
    numbers = [score for score in scores if not math.isnan(score)]
    assert numbers == sorted(numbers, reverse=not ascending)
    assert 0 < len(numbers) < len(scores)
    assert all(math.isnan(score) for score in scores[len(numbers) :])


async def test_pages_are_the_whole(reports: Reports, people: Audience) -> None:
    question = Question(
        "metrics", EVERYTHING, [pb.METRIC_EVENTS], [pb.DIMENSION_COUNTRY], granularity=pb.GRANULARITY_HOUR
    )
    whole, more = await reports.page(question, 0, 10_000)
    assert not more
    paged: list[Any] = []
    more = True
    while more:
        rows, more = await reports.page(question, len(paged), 7)
        assert len(rows) == 7 or not more
        paged += rows
    assert paged == whole


async def test_a_retention_curve_has_the_plays_of_each_second(warehouse: Warehouse, people: Audience) -> None:
    video = VIDEOS[2]
    curve = await Retention(warehouse).curve(VideoName("metrics", video), EVERYTHING)
    facts = [fact for fact in people.facts() if fact.record.video == video]
    plays: dict[int, int] = defaultdict(int)
    for fact in facts:
        if fact.event.watch_ms:
            for each in range(fact.event.watched_from_ms // 1000, fact.event.position_ms // 1000):
                plays[each] += fact.weight
    assert list(curve.plays) == [plays[each] for each in range(max(plays) + 1)]
    assert curve.starts == happened(facts, events.EVENT_TYPE_STARTED)
    nothing = await Retention(warehouse).curve(VideoName("metrics", "none"), EVERYTHING)
    assert (nothing.plays, nothing.starts) == ([], 0)


async def test_an_export_is_the_whole_report(warehouse: Warehouse, reports: Reports, people: Audience) -> None:
    question = Question(
        "metrics",
        EVERYTHING,
        [pb.METRIC_VIEWS, pb.METRIC_SCORE],
        [pb.DIMENSION_VIDEO, pb.DIMENSION_EXPERIMENT],
        granularity=pb.GRANULARITY_HOUR,
    )
    parts = [part async for part in Export(warehouse, reports).metrics(question)]
    assert all(len(part) <= PART for part in parts)
    table = pyarrow.ipc.open_stream(b"".join(parts)).read_all()
    assert table.column_names == ["start_time", "video", "experiment", "views", "score"]
    rows, _ = await reports.page(question, 0, 10_000)
    exported = [(row["start_time"], [row["video"], row["experiment"]], row["views"]) for row in table.to_pylist()]
    assert exported == [(row.start, list(row.dimensions), row.values[0]) for row in rows]


async def test_reports_say_how_fresh_they_are(warehouse: Warehouse, people: Audience) -> None:
    assert await Reports(warehouse, _Clock()).fresh_time("nobody") is None
