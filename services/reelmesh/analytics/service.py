"""AnalyticsService: proto in, one domain call, proto out."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from reelmesh.analytics import paging
from reelmesh.analytics.audit import Audit
from reelmesh.analytics.erasure import Erasure
from reelmesh.analytics.export import Export
from reelmesh.analytics.history import History
from reelmesh.analytics.live import Concurrents, Count
from reelmesh.analytics.reports import Question, Reports, Row
from reelmesh.analytics.retention import Retention
from reelmesh.analytics.sessions import Event, Sessions, Viewing
from reelmesh.analytics.spans import Span, resolve
from reelmesh.analytics.tail import Arrived, Tail
from reelmesh.analytics.v1 import analytics_service_pb2 as pb
from reelmesh.analytics.v1 import report_pb2
from reelmesh.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceServicer
from reelmesh.mesh.clock import Clock
from reelmesh.mesh.errors import InvalidArgument, PageTokenInvalid
from reelmesh.mesh.names import (
    ResourceName,
    SessionName,
    VideoName,
    decode_page_token,
    encode_page_token,
    organization_of,
)
from reelmesh.telemetry.v1.event_pb2 import EventType, PlayerState

Context = grpc.aio.ServicerContext[Any, Any]
ROWS = 1000
"""Rows of a page, where a request does not say."""
LISTED = 100
"""Viewings or alerts of a page, where a request does not say."""
TOP = 10
"""Videos that are told with the number of viewings."""
RETENTION_SPAN = timedelta(days=28)


@dataclass(frozen=True, slots=True)
class Readers:
    """What the service asks."""

    reports: Reports
    sessions: Sessions
    retention: Retention
    history: History
    export: Export
    concurrents: Concurrents
    tail: Tail


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What looks after the tables."""

    audit: Audit
    erasure: Erasure
    fresh_time: Callable[[], datetime | None]
    """Returns a time before which all that arrived is counted; None where another process counts."""


class AnalyticsService(AnalyticsServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, readers: Readers, upkeep: Upkeep, clock: Clock) -> None:
        self._readers = readers
        self._upkeep = upkeep
        self._clock = clock

    async def QueryMetrics(self, request: pb.QueryMetricsRequest, context: Context) -> pb.QueryMetricsResponse:
        """Report metrics."""
        asked = paging.fingerprint(request)
        page = paging.decode(request.page_token, asked, self._span(request.time_range))
        offset, size = _offset(page.after), request.page_size or ROWS
        rows, more = await self._readers.reports.page(_question(request, page.span), offset, size)
        answer = pb.QueryMetricsResponse(rows=map(_row_to_proto, rows))
        if more:
            answer.next_page_token = paging.encode(paging.Page(page.span, str(offset + size)), asked)
        fresh = self._upkeep.fresh_time() or await self._readers.reports.fresh_time(organization_of(request.parent))
        if fresh is not None:
            answer.fresh_time.FromDatetime(fresh)
        return answer

    async def GetRetention(self, request: pb.GetRetentionRequest, context: Context) -> pb.GetRetentionResponse:
        """Report how much of a video is watched."""
        span = self._span(request.time_range, RETENTION_SPAN)
        curve = await self._readers.retention.curve(VideoName.parse(request.video), span)
        starts = curve.starts or float("nan")
        points = [
            report_pb2.RetentionPoint(second=second, plays=plays, ratio=plays / starts)
            for second, plays in enumerate(curve.plays)
        ]
        return pb.GetRetentionResponse(points=points, starts=curve.starts)

    async def ListSessions(self, request: pb.ListSessionsRequest, context: Context) -> pb.ListSessionsResponse:
        """List viewings."""
        asked = paging.fingerprint(request)
        page = paging.decode(request.page_token, asked, self._span(request.time_range))
        organization = organization_of(request.parent)
        found, further = await self._readers.sessions.page(
            organization, page.span, request.filters, request.outcome, page.after, request.page_size or LISTED
        )
        token = paging.encode(paging.Page(page.span, further), asked) if further else ""
        return pb.ListSessionsResponse(
            sessions=[session_to_proto(each, organization) for each in found], next_page_token=token
        )

    async def GetSession(self, request: pb.GetSessionRequest, context: Context) -> pb.GetSessionResponse:
        """Return a viewing."""
        name = SessionName.parse(request.session)
        viewing = await self._readers.sessions.get(name)
        events = await self._readers.sessions.events(name.organization, viewing)
        return pb.GetSessionResponse(
            session=session_to_proto(viewing, name.organization),
            events=[_event_to_proto(each, request.session, viewing, name.organization) for each in events],
        )

    async def ExportMetrics(
        self, request: pb.ExportMetricsRequest, context: Context
    ) -> AsyncIterator[pb.ExportMetricsResponse]:
        """Stream a report."""
        question = _question(request.query, self._span(request.query.time_range))
        async with aclosing(self._readers.export.metrics(question)) as parts:
            async for part in parts:
                yield pb.ExportMetricsResponse(data=part)

    async def ExportEvents(
        self, request: pb.ExportEventsRequest, context: Context
    ) -> AsyncIterator[pb.ExportEventsResponse]:
        """Stream raw events."""
        organization, span = organization_of(request.parent), self._span(request.time_range)
        async with aclosing(self._readers.export.events(organization, span)) as parts:
            async for part in parts:
                yield pb.ExportEventsResponse(data=part)

    async def WatchConcurrents(
        self, request: pb.WatchConcurrentsRequest, context: Context
    ) -> AsyncIterator[pb.WatchConcurrentsResponse]:
        """Tell how many viewings are going on."""
        organization = organization_of(request.parent)
        video = _id_within(VideoName, request.video, organization)
        async with aclosing(self._readers.concurrents.watch(organization)) as counts:
            async for count in counts:
                yield _count_to_proto(count, organization, video)

    async def TailEvents(self, request: pb.TailEventsRequest, context: Context) -> AsyncIterator[pb.TailEventsResponse]:
        """Tell events as they arrive."""
        organization = organization_of(request.parent)
        session = _id_within(SessionName, request.session, organization)
        async with aclosing(self._readers.tail.follow(organization, session)) as batches:
            async for arrived, missed in batches:
                yield pb.TailEventsResponse(events=map(_arrived_to_proto, arrived), missed=missed)

    async def ListAlerts(self, request: pb.ListAlertsRequest, context: Context) -> pb.ListAlertsResponse:
        """List alerts."""
        found, further = await self._readers.history.page(
            organization_of(request.parent),
            decode_page_token(request.page_token),
            request.page_size or LISTED,
            only_open=request.open,
        )
        return pb.ListAlertsResponse(alerts=found, next_page_token=encode_page_token(further))

    async def EraseViewer(self, request: pb.EraseViewerRequest, context: Context) -> pb.EraseViewerResponse:
        """Forget a viewer."""
        organization = organization_of(request.parent)
        return pb.EraseViewerResponse(events=await self._upkeep.erasure.erase_viewer(organization, request.viewer))

    async def EraseOrganization(
        self, request: pb.EraseOrganizationRequest, context: Context
    ) -> pb.EraseOrganizationResponse:
        """Forget an organization's viewers."""
        events = await self._upkeep.erasure.erase_organization(organization_of(request.parent))
        return pb.EraseOrganizationResponse(events=events)

    async def GetAudit(self, request: pb.GetAuditRequest, context: Context) -> pb.GetAuditResponse:
        """Count the same from each table."""
        span = self._span(request.time_range) if request.HasField("time_range") else None
        figures = await self._upkeep.audit.figures(organization_of(request.parent), span)
        return pb.GetAuditResponse(figures=[report_pb2.AuditFigures(**asdict(each)) for each in figures])

    def _span(self, given: report_pb2.TimeRange, length: timedelta = timedelta(days=1)) -> Span:
        start = _seconds(given.start_time) if given.HasField("start_time") else None
        end = _seconds(given.end_time) if given.HasField("end_time") else None
        return resolve(start, end, self._clock.now(), length)


def _question(request: pb.QueryMetricsRequest, span: Span) -> Question:
    if request.order_by and request.order_by not in request.metrics:
        raise InvalidArgument(
            "order_by is not among metrics", violations=[("order_by", "must be one of the metrics that are asked for")]
        )
    return Question(
        organization=organization_of(request.parent),
        span=span,
        metrics=request.metrics,
        group_by=request.group_by,
        filters=request.filters,
        granularity=request.granularity,
        order_by=request.order_by,
        ascending=request.ascending,
    )


def _seconds(time: Timestamp) -> float:
    return float(time.seconds + time.nanos / 1e9)


def _id_within(kind: type[ResourceName], name: str, organization: str) -> str:
    """Return the id in an optional name, which must be of the organization that the caller has rights in."""
    if not name:
        return ""
    parsed = kind.parse(name)
    if parsed.organization != organization:
        raise InvalidArgument("parent and what is asked for are of different organizations")
    return parsed.id


def _offset(after: str) -> int:
    if not after:
        return 0
    if not after.isascii() or not after.isdecimal():
        raise PageTokenInvalid("page_token was not made by this list")
    return int(after)


def _row_to_proto(row: Row) -> report_pb2.MetricRow:
    message = report_pb2.MetricRow(dimensions=row.dimensions, values=row.values)
    if row.start is not None:
        message.start_time.FromDatetime(row.start)
    return message


def session_to_proto(viewing: Viewing, organization: str) -> report_pb2.SessionReport:
    """Write a viewing as the contract does."""
    message = report_pb2.SessionReport(
        session=str(SessionName(organization, viewing.session)),
        video=str(VideoName(organization, viewing.video)),
        viewer=viewing.viewer,
        stalls=viewing.stalls,
        switches=viewing.switches,
        dropped_frames=viewing.dropped_frames,
        media_bytes=viewing.media_bytes,
        events=viewing.events,
        missing_events=viewing.missing,
        outcome=viewing.outcome,
        error_code=viewing.error_code,
        rendition=viewing.rendition,
        country=viewing.country,
        device=viewing.device,
        operating_system=viewing.operating_system,
        browser=viewing.browser,
        player_version=viewing.player_version,
        cdn=viewing.cdn,
        experiments=viewing.experiments,
        licenses_granted=viewing.licenses.granted,
        licenses_refused=viewing.licenses.refused,
    )
    message.start_time.FromDatetime(viewing.first_time)
    message.end_time.FromDatetime(viewing.last_time)
    if viewing.started:
        message.startup.FromMilliseconds(viewing.startup_ms)
    message.watch.FromMilliseconds(viewing.watch_ms)
    message.stall.FromMilliseconds(viewing.stall_ms)
    return message


def _event_to_proto(event: Event, session: str, viewing: Viewing, organization: str) -> pb.EventReport:
    message = pb.EventReport(
        session=session,
        video=str(VideoName(organization, viewing.video)),
        sequence=event.sequence,
        type=event.type,
        state=event.state,
        position_seconds=event.position_ms / 1000,
        watch_seconds=event.watch_ms / 1000,
        stall_seconds=event.stall_ms / 1000,
        rendition=event.rendition,
        country=event.country,
        device=event.device,
        error_code=event.error_code,
    )
    message.event_time.FromDatetime(event.event_time)
    message.receive_time.FromDatetime(event.received_time)
    return message


def _arrived_to_proto(arrived: Arrived) -> pb.EventReport:
    record, event = arrived.record, arrived.event
    message = pb.EventReport(
        session=str(SessionName(record.organization, str(uuid.UUID(bytes=record.session)))),
        video=str(VideoName(record.organization, record.video)),
        sequence=event.sequence,
        type=_word(EventType, event.type, "EVENT_TYPE_"),
        state=_word(PlayerState, event.state, "PLAYER_STATE_"),
        position_seconds=event.position_ms / 1000,
        watch_seconds=event.watch_ms / 1000,
        stall_seconds=event.stall_ms / 1000,
        rendition=event.rendition,
        country=record.country,
        device=record.device,
        error_code=event.error_code,
    )
    message.event_time.FromMilliseconds(event.event_time_ms)
    message.receive_time.FromMilliseconds(record.received_time_ms)
    return message


def _word(enum: Any, value: int, prefix: str) -> str:
    """Return the word of a value; its number, where this code is older than the value."""
    return str(enum.Name(value)).removeprefix(prefix) if value in enum.values() else f"{value}"


def _count_to_proto(count: Count, organization: str, video: str) -> pb.WatchConcurrentsResponse:
    videos = {video: count.videos.get(video, 0)} if video else count.videos
    message = pb.WatchConcurrentsResponse(viewings=sum(videos.values()))
    for id_, viewings in itertools.islice(videos.items(), TOP):
        message.videos.add(video=str(VideoName(organization, id_)), viewings=viewings)
    message.time.FromDatetime(count.time)
    return message
