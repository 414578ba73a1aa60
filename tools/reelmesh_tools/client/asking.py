"""What people type to ask for reports, as the contract says it: times, metrics, dimensions, filters."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeVar

import typer

from reelmesh.analytics.v1 import report_pb2 as pb

_Value = TypeVar("_Value")
_UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_UNITS["w"] = 7 * _UNITS["d"]
METRICS: Mapping[str, pb.Metric.ValueType] = {
    name.removeprefix("METRIC_").lower(): value for name, value in pb.Metric.items() if value
}
"""Metrics by the name that reports give them."""
_SHORT: Mapping[str, pb.Metric.ValueType] = {
    "watch": pb.METRIC_WATCH_SECONDS,
    "viewers": pb.METRIC_UNIQUE_VIEWERS,
    "startup": pb.METRIC_STARTUP_MS_P50,
    "exits": pb.METRIC_EXIT_BEFORE_START_RATIO,
    "failures": pb.METRIC_FAILURE_RATIO,
    "rebuffering": pb.METRIC_REBUFFER_RATIO,
    "rebuffers": pb.METRIC_REBUFFERS_PER_VIEW,
    "bitrate": pb.METRIC_AVERAGE_BITRATE_KBPS,
    "upscaling": pb.METRIC_UPSCALE_RATIO,
    "switches": pb.METRIC_SWITCHES_PER_VIEW,
    "stall": pb.METRIC_STALL_SECONDS,
    "bytes": pb.METRIC_MEDIA_BYTES,
}
DIMENSIONS: Mapping[str, pb.Dimension.ValueType] = {
    name.removeprefix("DIMENSION_").lower(): value for name, value in pb.Dimension.items() if value
}
"""Dimensions by name."""


class By(StrEnum):
    """Spans of time that a report tells apart."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


class Ended(StrEnum):
    """How viewings end."""

    OPEN = "open"
    ENDED = "ended"
    FAILED = "failed"
    EXITED = "exited"


_OUTCOMES = {
    Ended.OPEN: pb.SessionReport.OUTCOME_OPEN,
    Ended.ENDED: pb.SessionReport.OUTCOME_ENDED,
    Ended.FAILED: pb.SessionReport.OUTCOME_FAILED,
    Ended.EXITED: pb.SessionReport.OUTCOME_EXITED_BEFORE_START,
}


def time_of(text: str, now: datetime) -> datetime:
    """Return the time that "now", "90m" (ago), "7d", "2026-11-26" or "2026-11-26T12:30+01:00" mean.

    It is UTC where it is not said. Raises typer.BadParameter.
    """
    if text == "now":
        return now
    ago = re.fullmatch(r"(\d{1,6}(?:\.\d+)?)([smhdw])", text)
    try:
        if ago:
            return now - float(ago[1]) * _UNITS[ago[2]]
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{text} is no time; write now, 90m, 24h, 7d or 2026-11-26T12:30") from error


def range_of(since: str, until: str) -> pb.TimeRange:
    """Return the span from one time to another. Raises typer.BadParameter."""
    now = datetime.now(UTC)
    span = pb.TimeRange()
    span.start_time.FromDatetime(time_of(since, now))
    span.end_time.FromDatetime(time_of(until, now))
    return span


def metrics_of(texts: Sequence[str]) -> list[pb.Metric.ValueType]:
    """Return metrics by their names, several of them with commas between. Raises typer.BadParameter."""
    known = {**METRICS, **_SHORT}
    return [_one_of(known, name, "metric") for name in _split(texts)]


def dimensions_of(texts: Sequence[str]) -> list[pb.Dimension.ValueType]:
    """Return dimensions by their names, several of them with commas between. Raises typer.BadParameter."""
    return [_one_of(DIMENSIONS, name, "dimension") for name in _split(texts)]


def filters_of(texts: Sequence[str]) -> list[pb.Filter]:
    """Return the filters that "country=DE,FR" (one of them) and "device!=tv" (not this one) mean.

    Raises typer.BadParameter.
    """
    found = []
    for text in texts:
        name, sign, values = re.fullmatch(r"(\w*)(!?=|)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
        if not sign:
            raise typer.BadParameter(f"{text} is no filter; write country=DE,FR or device!=tv")
        dimension = _one_of(DIMENSIONS, name, "dimension")
        found.append(pb.Filter(dimension=dimension, values=values.split(","), exclude=sign == "!="))
    return found


def granularity_of(by: By | None) -> pb.Granularity.ValueType:
    """Return the contract's name of a span."""
    return pb.GRANULARITY_UNSPECIFIED if by is None else pb.Granularity.Value(f"GRANULARITY_{by.name}")


def outcome_of(ended: Ended | None) -> pb.SessionReport.Outcome.ValueType:
    """Return the contract's name of an end."""
    return pb.SessionReport.OUTCOME_UNSPECIFIED if ended is None else _OUTCOMES[ended]


def name_of(value: pb.Metric.ValueType | pb.Dimension.ValueType, names: Mapping[str, int]) -> str:
    """Return the name that reports give a metric or a dimension."""
    return next(name for name, each in names.items() if each == value)


def shown(metric: pb.Metric.ValueType, value: float) -> str:
    """Write a value for people: a part as percent, a time with its unit; nothing for what is not a number."""
    name = name_of(metric, METRICS)
    if value != value:  # noqa: PLR0124 - so is a NaN told
        return ""
    if name.endswith("_ratio"):
        return f"{value:.2%}"
    if "_ms_" in name:
        return f"{value:,.0f} ms"
    if name.endswith("_seconds"):
        return f"{value:,.1f} s"
    if name == "media_bytes":
        return f"{value / 1e6:,.1f} MB"
    if name.endswith("_kbps"):
        return f"{value:,.0f} kbit/s"
    return f"{value:,.2f}" if name.endswith("per_view") else f"{value:,.1f}" if name == "score" else f"{value:,.0f}"


def _split(texts: Sequence[str]) -> list[str]:
    return [name.strip() for text in texts for name in text.split(",")]


def _one_of(known: Mapping[str, _Value], name: str, what: str) -> _Value:
    if name.lower() not in known:
        raise typer.BadParameter(f"there is no {what} {name!r}; there are {', '.join(known)}")
    return known[name.lower()]
