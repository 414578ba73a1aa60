from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import pyarrow
import pytest
from sqlalchemy import Executable

from reelmesh.analytics import paging
from reelmesh.analytics.errors import TimeRangeInvalid, TimeRangeTooLong
from reelmesh.analytics.metrics import METRICS, filtered, sources
from reelmesh.analytics.reports import Question, Reports
from reelmesh.analytics.retention import summed
from reelmesh.analytics.schema import DAYS, HOURS, MINUTES, ROLLUPS
from reelmesh.analytics.spans import Part, Span, as_one, of_buckets, resolve
from reelmesh.analytics.v1 import analytics_service_pb2, report_pb2
from reelmesh.mesh.errors import PageTokenInvalid
from reelmesh.mesh.names import encode_page_token
from reelmesh.stores.warehouse import compiled

NOW = datetime(2026, 11, 26, 12, 34, 56, 789000, tzinfo=UTC)


def at(text: str) -> int:
    return int(datetime.fromisoformat(f"{text}+00:00").timestamp())


class _Clock:
    def now(self) -> datetime:
        return NOW


class _Nobody:
    async def rows(self, query: Executable) -> list[list[object]]:
        raise AssertionError("nothing is to be read")

    async def arrow(self, query: Executable) -> AsyncGenerator[pyarrow.RecordBatch, None]:
        raise AssertionError("nothing is to be read")
        yield


def test_a_range_that_is_left_out_is_the_last_day() -> None:
    assert resolve(None, None, NOW) == Span(at("2026-11-25T12:34:56"), at("2026-11-26T12:34:57"))
    assert resolve(None, 1000.0, NOW, timedelta(seconds=10)) == Span(990, 1000)


def test_a_range_may_be_empty_but_not_end_before_it_starts() -> None:
    assert resolve(5.5, 5.5, NOW) == Span(5, 6)
    assert resolve(5.0, 5.0, NOW) == Span(5, 5)
    with pytest.raises(TimeRangeInvalid):
        resolve(5.1, 5.0, NOW)


def test_times_beyond_what_the_warehouse_knows_are_its_ends() -> None:
    span = resolve(-1e12, 1e15, NOW)
    assert span.start == 0
    assert NOW.timestamp() < span.end < 1 << 32


def test_buckets_are_rounded_outwards() -> None:
    span = Span(at("2026-11-25T12:34:56"), at("2026-11-26T00:00:01"))
    assert of_buckets(span, MINUTES) == [Part(MINUTES, Span(at("2026-11-25T12:34:00"), at("2026-11-26T00:01:00")))]
    assert of_buckets(span, HOURS) == [Part(HOURS, Span(at("2026-11-25T12:00:00"), at("2026-11-26T01:00:00")))]
    assert of_buckets(span, DAYS) == [Part(DAYS, Span(at("2026-11-25T00:00:00"), at("2026-11-27T00:00:00")))]


def test_a_report_tells_only_so_many_spans_apart() -> None:
    assert of_buckets(Span(0, 100_000 * 60), MINUTES)
    with pytest.raises(TimeRangeTooLong):
        of_buckets(Span(0, 100_000 * 60 + 1), MINUTES)


def test_a_long_report_reads_days_and_only_its_edges_in_hours_and_minutes() -> None:
    span = Span(at("2026-11-20T22:58:30"), at("2026-11-26T02:01:30"))
    assert as_one(span, NOW) == [
        Part(MINUTES, Span(at("2026-11-20T22:58:00"), at("2026-11-20T23:00:00"))),
        Part(HOURS, Span(at("2026-11-20T23:00:00"), at("2026-11-21T00:00:00"))),
        Part(DAYS, Span(at("2026-11-21T00:00:00"), at("2026-11-26T00:00:00"))),
        Part(HOURS, Span(at("2026-11-26T00:00:00"), at("2026-11-26T02:00:00"))),
        Part(MINUTES, Span(at("2026-11-26T02:00:00"), at("2026-11-26T02:02:00"))),
    ]


def test_a_short_report_reads_minutes() -> None:
    span = Span(at("2026-11-26T11:59:10"), at("2026-11-26T12:00:50"))
    assert as_one(span, NOW) == [Part(MINUTES, Span(at("2026-11-26T11:59:00"), at("2026-11-26T12:01:00")))]
    assert as_one(Span(span.start, span.start), NOW) == [
        Part(MINUTES, Span(at("2026-11-26T11:59:00"), at("2026-11-26T12:00:00")))
    ]
    assert as_one(Span(at("2026-11-26T12:00:00"), at("2026-11-26T12:00:00")), NOW) == []


def test_the_edges_of_what_is_long_ago_are_those_of_the_rollups_that_are_kept() -> None:
    span = Span(at("2026-10-01T10:30:00"), at("2026-10-01T12:30:00"))
    assert as_one(span, NOW) == [Part(HOURS, Span(at("2026-10-01T10:00:00"), at("2026-10-01T13:00:00")))]
    span = Span(at("2024-10-01T10:30:00"), at("2024-10-01T12:30:00"))
    assert as_one(span, NOW) == [Part(DAYS, Span(at("2024-10-01T00:00:00"), at("2024-10-02T00:00:00")))]


@pytest.mark.parametrize("start", range(at("2026-11-24T22:57:00"), at("2026-11-26T00:00:00"), 1777))
def test_parts_cover_a_span_once(start: int) -> None:
    end = start + 7919 * 11
    parts = as_one(Span(start, end), NOW)
    assert parts[0].span.start == start // 60 * 60
    assert parts[-1].span.end == -(-end // 60) * 60
    assert all(one.span.end == two.span.start for one, two in itertools.pairwise(parts))


def test_every_metric_is_made_of_columns_that_there_are() -> None:
    assert set(METRICS) == set(report_pb2.Metric.values()) - {0}
    for metric in METRICS.values():
        for rollup in ROLLUPS.values():
            assert set(sources(metric)) <= set(rollup.c.keys())


def test_values_never_come_into_the_text_of_a_query() -> None:
    nasty = "D'E\\%s) OR 1=1 --"
    question = Question(
        organization=nasty,
        span=Span(0, 86_400),
        metrics=[report_pb2.METRIC_VIEWS],
        group_by=[report_pb2.DIMENSION_VIDEO],
        filters=[
            report_pb2.Filter(dimension=report_pb2.DIMENSION_COUNTRY, values=[nasty]),
            report_pb2.Filter(dimension=report_pb2.DIMENSION_EXPERIMENT, values=[nasty], exclude=True),
        ],
    )
    text, values = compiled(Reports(_Nobody(), _Clock()).query(question))
    assert nasty not in text
    assert "OR 1=1" not in text
    assert nasty in values.values()


def test_a_video_is_filtered_by_its_name_or_its_id() -> None:
    given = ["organizations/acme/videos/v1", "v2", "organizations/other/videos/v3"]
    condition = filtered(report_pb2.Filter(dimension=report_pb2.DIMENSION_VIDEO, values=given), "acme")
    assert set(compiled(condition)[1].values()) == {"v1", "v2", "organizations/other/videos/v3"}


def test_page_tokens_are_good_for_the_question_that_they_came_from() -> None:
    request = analytics_service_pb2.QueryMetricsRequest(
        parent="organizations/acme", metrics=[report_pb2.METRIC_VIEWS], page_size=10
    )
    asked = paging.fingerprint(request)
    token = paging.encode(paging.Page(Span(60, 120), "10"), asked)
    request.page_token, request.page_size = token, 99
    assert paging.decode(token, paging.fingerprint(request), Span(1, 2)) == paging.Page(Span(60, 120), "10")
    request.metrics.append(report_pb2.METRIC_SCORE)
    with pytest.raises(PageTokenInvalid):
        paging.decode(token, paging.fingerprint(request), Span(1, 2))


@pytest.mark.parametrize("page", ["", "x", "1/2", "a/b/c/d", "0/-1/5/7", "0/5/1/7", "0/1/99999999999/7", "0/1/2/"])
def test_other_tokens_are_refused(page: str) -> None:
    with pytest.raises(PageTokenInvalid):
        paging.decode(encode_page_token(page) or "_", "0", Span(1, 2))


@pytest.mark.parametrize(
    ("edges", "plays"),
    [
        ([], []),
        ([(0, 2), (3, -2)], [2, 2, 2]),
        ([(2, 1), (3, 1), (4, -1), (6, -1)], [0, 0, 1, 2, 1, 1]),
        ([(0, 1), (2, -1), (5, 3), (6, -3)], [1, 1, 0, 0, 0, 3]),
        ([(1, 1)], [0, 1]),
    ],
)
def test_edges_sum_up_to_every_second_that_played(edges: list[tuple[int, int]], plays: list[int]) -> None:
    assert summed(edges) == plays
