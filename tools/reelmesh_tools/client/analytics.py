"""`reelmesh analytics …`: what viewers experienced."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

import grpc
import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table

from reelmesh.analytics.v1 import analytics_service_pb2 as pb
from reelmesh.analytics.v1 import report_pb2
from reelmesh_tools.client import asking, writing
from reelmesh_tools.client.commands import connected
from reelmesh_tools.client.platform import Platform, problem_of

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
_JsonLines = Annotated[bool, typer.Option("--json", help="Print a JSON object on each line and nothing else.")]
_Since = Annotated[str, typer.Option(help="From then on: 90m, 24h, 7d ago, or a time such as 2026-11-26T12:30.")]
_Until = Annotated[str, typer.Option(help="Before then.")]
_Where = Annotated[
    list[str] | None, typer.Option(help="Only country=DE,FR, or all but device!=tv; may be repeated: all must hold.")
]
_Limit = Annotated[int, typer.Option(min=1, max=100_000, help="Most rows to print.")]
_METRICS = "views,viewers,watch,startup,failures,rebuffering,score"
_Metric = Annotated[
    list[str] | None, typer.Option(help=f"What to tell; may be repeated, or with commas between. [{_METRICS}]")
]
_GroupBy = Annotated[list[str] | None, typer.Option(help="What to tell apart, such as country,device.")]
_By = Annotated[asking.By | None, typer.Option(help="A row for each of these.")]
_Answer = TypeVar("_Answer")
_Part: TypeAlias = pb.ExportEventsResponse | pb.ExportMetricsResponse
_PAGE = 1000
_REPORT_SECONDS = 60.0
_ERASE_SECONDS = 600.0


class What(StrEnum):
    """What can be exported."""

    METRICS = "metrics"
    EVENTS = "events"


class Form(StrEnum):
    """How it can be written."""

    ARROW = "arrow"
    CSV = "csv"


def register(app: typer.Typer) -> None:
    """Add `analytics` to `app`."""
    group = typer.Typer(help="What viewers experienced.", no_args_is_help=True)
    group.command()(report)
    group.command()(retention)
    group.command()(sessions)
    group.command()(session)
    group.command()(live)
    group.command()(tail)
    group.command()(alerts)
    group.command()(export)
    group.command()(audit)
    group.command(name="erase-viewer")(erase_viewer)
    app.add_typer(group, name="analytics")


def report(
    metric: _Metric = None,
    group_by: _GroupBy = None,
    where: _Where = None,
    since: _Since = "24h",
    until: _Until = "now",
    by: _By = None,
    order: Annotated[str | None, typer.Option(help="Metric to order by, greatest first.")] = None,
    ascending: Annotated[bool, typer.Option("--ascending", help="Least first.")] = False,
    limit: _Limit = 100,
    as_json: _Json = False,
) -> None:
    """Report metrics, by time and by what viewings differ in."""
    metrics = asking.metrics_of(metric or [_METRICS])
    dimensions = asking.dimensions_of(group_by or [])
    request = pb.QueryMetricsRequest(
        metrics=metrics,
        group_by=dimensions,
        filters=asking.filters_of(where or []),
        time_range=asking.range_of(since, until),
        granularity=asking.granularity_of(by),
        order_by=asking.metrics_of([order])[0] if order else report_pb2.METRIC_UNSPECIFIED,
        ascending=ascending,
    )
    with connected(as_json=as_json) as platform:
        request.parent = platform.parent
        rows, fresh = _rows(platform, request, limit)
    keys = [*(["start_time"] if by else []), *(asking.name_of(each, asking.DIMENSIONS) for each in dimensions)]
    names = [asking.name_of(each, asking.METRICS) for each in metrics]
    if as_json:
        told = [
            {**dict(zip(keys, _keys(row), strict=True)), **dict(zip(names, map(_number, row.values), strict=True))}
            for row in rows
        ]
        typer.echo(json.dumps({"rows": told, "fresh_time": fresh}, indent=2))
        return
    table = Table(*keys)
    for name in names:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*_keys(row), *map(asking.shown, metrics, row.values))
    Console().print(table)


def retention(
    video: Annotated[str, typer.Argument(help="A video's name or id.")],
    since: _Since = "28d",
    until: _Until = "now",
    as_json: _Json = False,
) -> None:
    """Show how often each second of a video played."""
    with connected(as_json=as_json) as platform:
        request = pb.GetRetentionRequest(video=platform.video_name(video), time_range=asking.range_of(since, until))
        curve = platform.analytics.GetRetention(request, timeout=_REPORT_SECONDS)
    if as_json:
        points = [{"second": each.second, "plays": each.plays, "ratio": _number(each.ratio)} for each in curve.points]
        typer.echo(json.dumps({"starts": curve.starts, "points": points}, indent=2))
        return
    table = Table("second", "plays", "per start", "", title=f"{curve.starts:,} starts")
    step = max(1, len(curve.points) // 40)
    most = max((point.plays for point in curve.points), default=1)
    for point in curve.points[::step]:
        ratio = "" if math.isnan(point.ratio) else f"{point.ratio:.0%}"
        table.add_row(f"{point.second}", f"{point.plays:,}", ratio, "█" * round(40 * point.plays / most))
    Console().print(table)


def sessions(
    where: _Where = None,
    since: _Since = "24h",
    until: _Until = "now",
    outcome: Annotated[asking.Ended | None, typer.Option(help="Only those that ended so.")] = None,
    limit: _Limit = 20,
    as_json: _Json = False,
) -> None:
    """List viewings, latest first."""
    request = pb.ListSessionsRequest(
        time_range=asking.range_of(since, until),
        filters=asking.filters_of(where or []),
        outcome=asking.outcome_of(outcome),
        page_size=min(limit, _PAGE),
    )
    found: list[report_pb2.SessionReport] = []
    with connected(as_json=as_json) as platform:
        request.parent = platform.parent
        while len(found) < limit:
            answer = platform.analytics.ListSessions(request, timeout=_REPORT_SECONDS)
            found += answer.sessions
            request.page_token = answer.next_page_token
            if not request.page_token:
                break
    _print("sessions", found[:limit], _SESSION_COLUMNS, map(_session_row, found[:limit]), as_json=as_json)


def session(
    name: Annotated[str, typer.Argument(help="A playback session's name or id.")], as_json: _Json = False
) -> None:
    """Show one viewing and its events."""
    with connected(as_json=as_json) as platform:
        full = name if "/" in name else f"{platform.parent}/sessions/{name}"
        answer = platform.analytics.GetSession(pb.GetSessionRequest(session=full), timeout=_REPORT_SECONDS)
    if as_json:
        typer.echo(json.dumps(_dict(answer), indent=2))
        return
    facts = Table("what", "value", show_header=False)
    for key, value in _dict(answer.session).items():
        facts.add_row(key, ", ".join(value) if isinstance(value, list) else str(value))
    Console().print(facts)
    events = Table("time", "number", "event", "state", "position", "watched", "stalled", "rendition", "error")
    for each in answer.events:
        events.add_row(*_event_row(each))
    Console().print(events)


def live(
    video: Annotated[str | None, typer.Option(help="Only of this video, by name or id.")] = None,
    updates: Annotated[int, typer.Option(min=0, help="End after so many; 0 goes on until interrupted.")] = 0,
    as_json: _JsonLines = False,
) -> None:
    """Show how many viewings are going on, every few seconds."""
    with connected(as_json=as_json) as platform:
        request = pb.WatchConcurrentsRequest(parent=platform.parent, video=platform.video_name(video) if video else "")
        for count in _stream(platform.analytics.WatchConcurrents(request), updates):
            if as_json:
                typer.echo(json.dumps(_dict(count)))
                continue
            videos = ", ".join(f"{each.video.rpartition('/')[2]}: {each.viewings:,}" for each in count.videos)
            typer.echo(f"{count.time.ToJsonString()}  {count.viewings:,} viewings  {videos}")


def tail(
    session: Annotated[str | None, typer.Option(help="Only of this playback session, by name or id.")] = None,
    events: Annotated[int, typer.Option(min=0, help="End after so many; 0 goes on until interrupted.")] = 0,
    as_json: _JsonLines = False,
) -> None:
    """Show events as they arrive."""
    with connected(as_json=as_json) as platform:
        name = session if not session or "/" in session else f"{platform.parent}/sessions/{session}"
        answers = platform.analytics.TailEvents(pb.TailEventsRequest(parent=platform.parent, session=name or ""))
        for event in _stream(_events(answers), events):
            if as_json:
                typer.echo(json.dumps(_dict(event)))
            else:
                what = [each for each in _event_row(event) if each]
                typer.echo(f"{what[0]}  {event.session.rpartition('/')[2]}  {'  '.join(what[1:])}")


def alerts(
    only_open: Annotated[bool, typer.Option("--open", help="Only those that still go on.")] = False,
    limit: _Limit = 20,
    as_json: _Json = False,
) -> None:
    """List what got much worse than it was, latest first."""
    with connected(as_json=as_json) as platform:
        request = pb.ListAlertsRequest(parent=platform.parent, open=only_open, page_size=min(limit, _PAGE))
        found = list(platform.analytics.ListAlerts(request, timeout=_REPORT_SECONDS).alerts)
    rows = [
        (
            each.start_time.ToJsonString(),
            each.end_time.ToJsonString() if each.HasField("end_time") else "goes on",
            asking.name_of(each.metric, asking.METRICS),
            f"{asking.name_of(each.dimension, asking.DIMENSIONS)} {each.value}" if each.dimension else "everywhere",
            f"{each.evidence.observed:.2%} of {each.evidence.observed_views}",
            f"{each.evidence.baseline:.2%} of {each.evidence.baseline_views}",
            f"{each.evidence.z_score:.1f}",
        )
        for each in found
    ]
    _print("alerts", found, ("began", "ended", "metric", "where", "observed", "usual", "z"), rows, as_json=as_json)


def export(
    what: Annotated[What, typer.Argument(help="What to write.")],
    out: Annotated[Path, typer.Option(dir_okay=False, help="File to write.")],
    form: Annotated[Form, typer.Option("--format", help="How to write it.")] = Form.ARROW,
    metric: _Metric = None,
    group_by: _GroupBy = None,
    where: _Where = None,
    since: _Since = "24h",
    until: _Until = "now",
    by: _By = None,
    as_json: _Json = False,
) -> None:
    """Write a whole report, or raw events, to a file: Arrow (as an IPC stream), or CSV."""
    span = asking.range_of(since, until)
    with connected(as_json=as_json) as platform:
        if what is What.EVENTS:
            parts: Iterable[_Part] = platform.analytics.ExportEvents(
                pb.ExportEventsRequest(parent=platform.parent, time_range=span)
            )
        else:
            query = pb.QueryMetricsRequest(
                parent=platform.parent,
                metrics=asking.metrics_of(metric or [_METRICS]),
                group_by=asking.dimensions_of(group_by or []),
                filters=asking.filters_of(where or []),
                time_range=span,
                granularity=asking.granularity_of(by),
            )
            parts = platform.analytics.ExportMetrics(pb.ExportMetricsRequest(query=query))
        rows = writing.write((part.data for part in parts), out, csv=form is Form.CSV)
    if as_json:
        typer.echo(json.dumps({"file": str(out), "rows": rows, "bytes": out.stat().st_size}, indent=2))
    else:
        typer.echo(f"{rows:,} rows in {out}")


def audit(
    since: Annotated[str | None, typer.Option(help="From that day on; everything when left out.")] = None,
    until: _Until = "now",
    as_json: _Json = False,
) -> None:
    """Count the same figures from the raw events and from every roll-up."""
    with connected(as_json=as_json) as platform:
        request = pb.GetAuditRequest(parent=platform.parent)
        if since is not None:
            request.time_range.CopyFrom(asking.range_of(since, until))
        found = _patiently(lambda: platform.analytics.GetAudit(request, timeout=_REPORT_SECONDS).figures)
    told = {
        each.table: {
            "events_sent": each.events_sent or each.distinct_events,  # those that cannot know it say nothing
            "distinct_events": each.distinct_events,
            "views": each.views,
            "watch_seconds": each.watch_seconds,
            "stall_seconds": each.stall_seconds,
        }
        for each in found
    }
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    table = Table("table", *(name.replace("_", " ") for name in next(iter(told.values()), {})))
    for name, figures in told.items():
        table.add_row(name, *(f"{value:,.3f}".removesuffix(".000") for value in figures.values()))
    Console().print(table)


def erase_viewer(
    viewer: Annotated[str, typer.Argument(help='Whom to forget, such as "users/…".')],
    sure: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: _Json = False,
) -> None:
    """Remove all that was measured of a viewer."""
    if not sure:
        typer.confirm(f"Forget all that was measured of {viewer}?", abort=True)
    with connected(as_json=as_json) as platform:
        request = pb.EraseViewerRequest(parent=platform.parent, viewer=viewer)
        erased = platform.analytics.EraseViewer(request, timeout=_ERASE_SECONDS).events
    typer.echo(json.dumps({"events": erased}, indent=2) if as_json else f"{erased:,} events are gone")


def _patiently(ask: Callable[[], Any]) -> Any:
    """Ask until the roll-ups have caught up, for a minute. Raises grpc.RpcError."""
    deadline = time.monotonic() + _REPORT_SECONDS
    while True:
        try:
            return ask()
        except grpc.RpcError as error:
            if problem_of(error).reason != "ROLLUP_BEHIND" or time.monotonic() > deadline:
                raise
        time.sleep(0.5)  # what the service says to wait


def _stream(answers: Iterable[_Answer], most: int) -> Iterator[_Answer]:
    """Yield answers until there are enough, or somebody interrupts."""
    with contextlib.suppress(KeyboardInterrupt):
        yield from itertools.islice(answers, most or None)


def _events(answers: Iterable[pb.TailEventsResponse]) -> Iterator[pb.EventReport]:
    for answer in answers:
        if answer.missed:
            typer.echo(f"{answer.missed} events came too fast to be shown", err=True)
        yield from answer.events


def _rows(
    platform: Platform, request: pb.QueryMetricsRequest, limit: int
) -> tuple[list[report_pb2.MetricRow], str | None]:
    rows: list[report_pb2.MetricRow] = []
    fresh: str | None = None
    request.page_size = min(limit, _PAGE)
    while len(rows) < limit:
        answer = platform.analytics.QueryMetrics(request, timeout=_REPORT_SECONDS)
        rows += answer.rows
        fresh = answer.fresh_time.ToJsonString() if answer.HasField("fresh_time") else fresh
        request.page_token = answer.next_page_token
        if not request.page_token:
            break
    return rows[:limit], fresh


def _keys(row: report_pb2.MetricRow) -> list[str]:
    start = [row.start_time.ToJsonString()] if row.HasField("start_time") else []
    return [*start, *row.dimensions]


def _number(value: float) -> float | None:
    """Return what JSON can say: it has no NaN."""
    return None if math.isnan(value) else value


_SESSION_COLUMNS = ("session", "began", "watched", "startup", "stalls", "outcome", "video", "where", "on")


def _session_row(each: report_pb2.SessionReport) -> tuple[str, ...]:
    return (
        each.session.rpartition("/")[2],
        each.start_time.ToJsonString(),
        f"{each.watch.ToTimedelta().total_seconds():,.0f} s",
        f"{each.startup.ToMilliseconds()} ms" if each.HasField("startup") else "",
        f"{each.stalls}, {each.stall.ToTimedelta().total_seconds():.1f} s" if each.stalls else "",
        report_pb2.SessionReport.Outcome.Name(each.outcome).removeprefix("OUTCOME_").lower(),
        each.video.rpartition("/")[2],
        each.country,
        each.device,
    )


def _event_row(each: pb.EventReport) -> tuple[str, ...]:
    return (
        each.event_time.ToJsonString(),
        f"{each.sequence}",
        each.type.lower(),
        each.state.lower(),
        f"{each.position_seconds:.1f} s",
        f"{each.watch_seconds:.1f} s",
        f"{each.stall_seconds:.1f} s" if each.stall_seconds else "",
        each.rendition,
        each.error_code,
    )


def _dict(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = MessageToDict(
        message, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
    )
    return found


def _print(
    key: str,
    messages: Sequence[Message],
    columns: Sequence[str],
    rows: Iterator[tuple[str, ...]] | Sequence[tuple[str, ...]],
    *,
    as_json: bool,
) -> None:
    if as_json:
        typer.echo(json.dumps({key: [_dict(each) for each in messages]}, indent=2))
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
