from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import typer

from reelmesh.analytics.v1 import report_pb2 as pb
from reelmesh_tools.client import asking

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("now", NOW),
        ("90m", NOW - timedelta(minutes=90)),
        ("1.5h", NOW - timedelta(minutes=90)),
        ("7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(days=14)),
        ("2026-11-25", datetime(2026, 11, 25, tzinfo=UTC)),
        ("2026-11-25T13:30+01:00", datetime(2026, 11, 25, 12, 30, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_people_write_them(text: str, time: datetime) -> None:
    assert asking.time_of(text, NOW) == time


@pytest.mark.parametrize("text", ["", "yesterday", "-1h", "999999w", "5", "2026-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        asking.time_of(text, NOW)


def test_every_metric_has_a_name_and_some_have_a_short_one() -> None:
    assert asking.metrics_of(["views, score", "viewers"]) == [
        pb.METRIC_VIEWS,
        pb.METRIC_SCORE,
        pb.METRIC_UNIQUE_VIEWERS,
    ]
    assert set(asking.metrics_of(list(asking.METRICS))) == set(pb.Metric.values()) - {0}
    with pytest.raises(typer.BadParameter, match="rebuffering"):
        asking.metrics_of(["joy"])


def test_filters_keep_or_leave_out() -> None:
    assert asking.filters_of(["country=DE,FR", "device!=tv", "experiment=a:b=c"]) == [
        pb.Filter(dimension=pb.DIMENSION_COUNTRY, values=["DE", "FR"]),
        pb.Filter(dimension=pb.DIMENSION_DEVICE, values=["tv"], exclude=True),
        pb.Filter(dimension=pb.DIMENSION_EXPERIMENT, values=["a:b=c"]),
    ]


@pytest.mark.parametrize("text", ["", "country", "colour=red", "=DE"])
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        asking.filters_of([text])


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        (pb.METRIC_VIEWS, 1234.0, "1,234"),
        (pb.METRIC_FAILURE_RATIO, 0.0123, "1.23%"),
        (pb.METRIC_STARTUP_MS_P95, 512.4, "512 ms"),
        (pb.METRIC_WATCH_SECONDS, 61.25, "61.2 s"),
        (pb.METRIC_SCORE, 91.27, "91.3"),
        (pb.METRIC_REBUFFERS_PER_VIEW, 0.5, "0.50"),
        (pb.METRIC_SCORE, float("nan"), ""),
    ],
)
def test_values_are_told_with_their_units(metric: pb.Metric.ValueType, value: float, text: str) -> None:
    assert asking.shown(metric, value) == text
