"""AnalyticsService on chDB: pages, refusals, and what is told of whom."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pyarrow
import pytest
from analytics_world import VIDEOS, Audience, arrive, audience, counted, happened
from google.protobuf.json_format import MessageToDict
from sqlalchemy import func, literal, select

from reelmesh.analytics.audit import Audit
from reelmesh.analytics.erasure import Erasure
from reelmesh.analytics.errors import SessionUnknown
from reelmesh.analytics.export import Export
from reelmesh.analytics.history import History
from reelmesh.analytics.live import Concurrents
from reelmesh.analytics.reports import Reports
from reelmesh.analytics.retention import Retention
from reelmesh.analytics.schema import ALERTS
from reelmesh.analytics.service import AnalyticsService, Readers, Upkeep
from reelmesh.analytics.sessions import Sessions
from reelmesh.analytics.tail import Tail
from reelmesh.analytics.v1 import analytics_service_pb2 as pb
from reelmesh.analytics.v1 import report_pb2
from reelmesh.analytics.v1.alert_pb2 import Alert
from reelmesh.mesh.errors import InvalidArgument, PageTokenInvalid
from reelmesh.stores.warehouse import Warehouse
from reelmesh.telemetry.v1 import event_pb2 as events

ACME = "organizations/service"
NOW = datetime(2026, 11, 25, 15, 30, tzinfo=UTC)
START = NOW - timedelta(hours=6)
NOBODY: Any = None
"""The context of a call, which no rpc looks at."""


class _Clock:
    def now(self) -> datetime:
        return NOW


@pytest.fixture(scope="module")
def people(warehouse: Warehouse) -> Audience:
    made = audience("service", 150, START, 5 * 3600, seed=11)

    async def come() -> None:
        await arrive(warehouse, made.records)
        await counted(warehouse, _Clock())

    asyncio.run(come())
    return made


class _Source:
    """Gives one batch of records."""

    def __init__(self, *records: tuple[str, bytes]) -> None:
        self._records = records

    async def __call__(self) -> AsyncGenerator[Sequence[tuple[str, bytes]], None]:
        yield []
        yield self._records
        await asyncio.Event().wait()


def serve(warehouse: Warehouse, source: _Source | None = None) -> AnalyticsService:
    reports = Reports(warehouse, _Clock())
    readers = Readers(
        reports=reports,
        sessions=Sessions(warehouse),
        retention=Retention(warehouse),
        history=History(warehouse),
        export=Export(warehouse, reports),
        concurrents=Concurrents(warehouse, _Clock()),
        tail=Tail(source or _Source()),
    )
    upkeep = Upkeep(cast("Audit", None), cast("Erasure", None), lambda: NOW)
    return AnalyticsService(readers, upkeep, _Clock())


async def test_pages_of_a_report_stay_on_the_span_of_the_first(warehouse: Warehouse, people: Audience) -> None:
    service = serve(warehouse)
    request = pb.QueryMetricsRequest(
        parent=ACME,
        metrics=[report_pb2.METRIC_VIEWS],
        group_by=[report_pb2.DIMENSION_VIDEO, report_pb2.DIMENSION_DEVICE],
        page_size=5,
    )
    rows: list[report_pb2.MetricRow] = []
    while True:
        answer = await service.QueryMetrics(request, NOBODY)
        rows += answer.rows
        assert len(answer.rows) <= 5
        assert answer.fresh_time.ToDatetime(UTC) == NOW
        request.page_token = answer.next_page_token
        if not request.page_token:
            break
    assert len(rows) == len(VIDEOS) * 3
    assert {row.dimensions[0] for row in rows} == {f"{ACME}/videos/{video}" for video in VIDEOS}
    assert sum(row.values[0] for row in rows) == happened(people.facts(), events.EVENT_TYPE_REQUESTED)
    assert not any(row.HasField("start_time") for row in rows)


async def test_a_token_of_another_question_is_refused(warehouse: Warehouse, people: Audience) -> None:
    service = serve(warehouse)
    request = pb.QueryMetricsRequest(
        parent=ACME, metrics=[report_pb2.METRIC_VIEWS], group_by=[report_pb2.DIMENSION_VIDEO], page_size=1
    )
    request.page_token = (await service.QueryMetrics(request, NOBODY)).next_page_token
    request.group_by[0] = report_pb2.DIMENSION_DEVICE
    with pytest.raises(PageTokenInvalid):
        await service.QueryMetrics(request, NOBODY)
    with pytest.raises(PageTokenInvalid):
        await service.ListSessions(pb.ListSessionsRequest(parent=ACME, page_token=request.page_token), NOBODY)
    for token in ("x", "AAAA", request.page_token[:-3]):
        request.page_token = token
        with pytest.raises(PageTokenInvalid):
            await service.QueryMetrics(request, NOBODY)


async def test_a_report_is_ordered_by_what_it_tells_only(warehouse: Warehouse) -> None:
    request = pb.QueryMetricsRequest(parent=ACME, metrics=[report_pb2.METRIC_VIEWS], order_by=report_pb2.METRIC_SCORE)
    with pytest.raises(InvalidArgument) as refused:
        await serve(warehouse).QueryMetrics(request, NOBODY)
    assert refused.value.violations[0][0] == "order_by"


async def test_viewings_are_listed_by_pages_and_told_in_full(warehouse: Warehouse, people: Audience) -> None:
    service = serve(warehouse)
    request = pb.ListSessionsRequest(parent=ACME, page_size=40)
    names: list[str] = []
    while True:
        answer = await service.ListSessions(request, NOBODY)
        names += [each.session for each in answer.sessions]
        request.page_token = answer.next_page_token
        if not request.page_token:
            break
    viewings = people.viewings()
    assert names == [f"{ACME}/sessions/{session}" for session in sorted(viewings, reverse=True)]
    one = await service.GetSession(pb.GetSessionRequest(session=names[0]), NOBODY)
    facts = viewings[names[0].rpartition("/")[2]]
    assert [event.sequence for event in one.events] == [fact.event.sequence for fact in facts]
    assert one.session.watch.ToMilliseconds() == max(fact.event.watch_total_ms for fact in facts)
    assert one.events[0].type == "REQUESTED"
    with pytest.raises(SessionUnknown):
        await service.GetSession(pb.GetSessionRequest(session=f"{ACME}/sessions/{uuid.UUID(int=0)}"), NOBODY)


async def test_retention_is_told_per_start(warehouse: Warehouse, people: Audience) -> None:
    video = f"{ACME}/videos/{VIDEOS[0]}"
    answer = await serve(warehouse).GetRetention(pb.GetRetentionRequest(video=video), NOBODY)
    starts = [fact for fact in people.facts() if fact.record.video == VIDEOS[0]]
    assert answer.starts == happened(starts, events.EVENT_TYPE_STARTED)
    assert [point.second for point in answer.points] == list(range(len(answer.points)))
    assert answer.points[0].ratio == answer.points[0].plays / answer.starts


async def test_concurrents_are_of_the_organization_that_is_asked_for(warehouse: Warehouse, people: Audience) -> None:
    service = serve(warehouse)
    request = pb.WatchConcurrentsRequest(parent=ACME, video=f"organizations/other/videos/{VIDEOS[0]}")
    with pytest.raises(InvalidArgument):
        await anext(service.WatchConcurrents(request, NOBODY))
    request.video = ""
    everything = await anext(service.WatchConcurrents(request, NOBODY))
    assert everything.viewings == sum(each.viewings for each in everything.videos)
    request.video = f"{ACME}/videos/{VIDEOS[0]}"
    one = await anext(service.WatchConcurrents(request, NOBODY))
    told = {each.video: each.viewings for each in everything.videos}
    assert [(each.video, each.viewings) for each in one.videos] == [(request.video, told.get(request.video, 0))]


async def test_the_tail_tells_events_as_lists_do(warehouse: Warehouse, people: Audience) -> None:
    session, facts = next(iter(people.viewings().items()))
    record = facts[0].record
    service = serve(warehouse, _Source((session, record.SerializeToString())))
    tail = service.TailEvents(pb.TailEventsRequest(parent=ACME), NOBODY)
    assert not (await anext(tail)).events
    told = (await anext(tail)).events
    listed = (await service.GetSession(pb.GetSessionRequest(session=f"{ACME}/sessions/{session}"), NOBODY)).events
    arrived = {each.sequence: MessageToDict(each) for each in told}
    assert [arrived[each.sequence] for each in listed] == [MessageToDict(each) for each in listed]


async def test_alerts_are_listed_latest_first_by_pages(warehouse: Warehouse) -> None:
    def written(number: int) -> Any:
        alert = Alert(name=f"{ACME}/alerts/{number}", value="\xe9 % '")
        alert.start_time.FromDatetime(NOW - timedelta(minutes=number // 2))
        values = {
            "organization": literal("service"),
            "alert": func.toFixedString(func.unhex(f"{number:032x}"), 16),
            "start_time": func.fromUnixTimestamp64Milli(alert.start_time.ToMilliseconds(), "UTC"),
            "end_time": func.fromUnixTimestamp64Milli(0 if number % 3 else 1_700_000_000_000, "UTC"),
            "body": func.unhex(alert.SerializeToString().hex()),
            "version": literal(time.time_ns()),
        }
        row = select(*(values[column.name] for column in ALERTS.columns))
        return ALERTS.insert().from_select([column.name for column in ALERTS.columns], row)

    for number in (*range(10), *range(10)):  # each twice: the later one holds
        await warehouse.run(written(number))
    service = serve(warehouse)
    request = pb.ListAlertsRequest(parent=ACME, page_size=3)
    names: list[str] = []
    while True:
        answer = await service.ListAlerts(request, NOBODY)
        names += [each.name.rpartition("/")[2] for each in answer.alerts]
        assert all(each.value == "\xe9 % '" for each in answer.alerts)
        request.page_token = answer.next_page_token
        if not request.page_token:
            break
    assert names == ["1", "0", "3", "2", "5", "4", "7", "6", "9", "8"]
    still = await service.ListAlerts(pb.ListAlertsRequest(parent=ACME, open=True), NOBODY)
    assert {int(each.name.rpartition("/")[2]) % 3 for each in still.alerts} == {1, 2}
    request.page_token = names[0]  # no token
    with pytest.raises(PageTokenInvalid):
        await service.ListAlerts(request, NOBODY)


async def test_exports_join_to_whole_streams(warehouse: Warehouse, people: Audience) -> None:
    service = serve(warehouse)
    query = pb.QueryMetricsRequest(
        parent=ACME, metrics=[report_pb2.METRIC_EVENTS], granularity=report_pb2.GRANULARITY_MINUTE
    )
    parts = [each.data async for each in service.ExportMetrics(pb.ExportMetricsRequest(query=query), NOBODY)]
    table = pyarrow.ipc.open_stream(b"".join(parts)).read_all()
    assert sum(table["events"].to_pylist()) == len(people.facts())
    parts = [each.data async for each in service.ExportEvents(pb.ExportEventsRequest(parent=ACME), NOBODY)]
    assert pyarrow.ipc.open_stream(b"".join(parts)).read_all().num_rows == len(people.facts())
