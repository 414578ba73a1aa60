"""What each metric and each dimension is, as an expression over the columns of a roll-up.

The contract's Metric says the same in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import column, func, literal
from sqlalchemy.sql import visitors
from sqlalchemy.sql.expression import ColumnClause, ColumnElement

from reelmesh.analytics.functions import quantiles_merge
from reelmesh.analytics.v1 import report_pb2 as pb

Expression: TypeAlias = ColumnElement[Any]

FAST_STARTUP_MS = 400
"""A view that starts within this waits for nothing that anybody notices."""
STARTUP_HALF_MS = 4000
"""Each such time above it makes a view worth half."""
STALL_WEIGHT = 8
"""Stalls for an eighth of the time leave 1/e of a view's worth."""
UPSCALE_WEIGHT = 0.3
"""What a picture loses that is never shown at its size."""

NAN = func.toFloat64("nan")


def _sum(name: str) -> Expression:
    return func.sum(column(name))


def _ratio(part: Expression, whole: Expression, without: Expression = NAN) -> Expression:
    return func.if_(whole > 0, func.divide(part, whole), without)


_VIEWS, _STARTS, _WATCH, _STALL = _sum("views"), _sum("starts"), _sum("watch_ms"), _sum("stall_ms")
_STARTUP = quantiles_merge(column("startup"))
_STARTUP_MEAN = _ratio(_sum("startup_ms"), _STARTS)
_REBUFFER = _ratio(_STALL, _STALL + _WATCH)
_UPSCALE = _ratio(_sum("upscaled_ms"), _WATCH)
_NOTHING = literal(0.0)


def _score() -> Expression:
    # What was not measured is taken as good: views that all failed have no startup time, and count as nothing anyway.
    lost = func.divide(_sum("failures") + _sum("exits"), _VIEWS)
    startup_ms = _ratio(_sum("startup_ms"), _STARTS, _NOTHING)
    startup = func.exp2(-func.divide(func.greatest(startup_ms - FAST_STARTUP_MS, 0), STARTUP_HALF_MS))
    smoothness = func.exp(-STALL_WEIGHT * _ratio(_STALL, _STALL + _WATCH, _NOTHING))
    picture = 1 - UPSCALE_WEIGHT * _ratio(_sum("upscaled_ms"), _WATCH, _NOTHING)
    score = 100 * func.greatest(1 - lost, 0) * startup * smoothness * picture
    return func.if_(_VIEWS > 0, score, NAN)


METRICS: Mapping[pb.Metric.ValueType, Expression] = {
    pb.METRIC_VIEWS: _VIEWS,
    pb.METRIC_WATCH_SECONDS: func.divide(_WATCH, 1000),
    pb.METRIC_UNIQUE_VIEWERS: func.uniqCombined64Merge(column("viewers")),
    pb.METRIC_STARTUP_MS_P50: func.arrayElement(_STARTUP, 1),
    pb.METRIC_STARTUP_MS_P95: func.arrayElement(_STARTUP, 2),
    pb.METRIC_EXIT_BEFORE_START_RATIO: _ratio(_sum("exits"), _VIEWS),
    pb.METRIC_FAILURE_RATIO: _ratio(_sum("failures"), _VIEWS),
    pb.METRIC_REBUFFER_RATIO: _REBUFFER,
    pb.METRIC_REBUFFERS_PER_VIEW: _ratio(_sum("stalls"), _VIEWS),
    pb.METRIC_AVERAGE_BITRATE_KBPS: _ratio(_sum("bitrate_watch"), _WATCH),
    pb.METRIC_UPSCALE_RATIO: _UPSCALE,
    pb.METRIC_SWITCHES_PER_VIEW: _ratio(_sum("switches"), _VIEWS),
    pb.METRIC_SCORE: _score(),
    pb.METRIC_EVENTS: _sum("events"),
    pb.METRIC_STARTUP_MS_MEAN: _STARTUP_MEAN,
    pb.METRIC_MEDIA_BYTES: _sum("media_bytes"),
    pb.METRIC_STARTS: _STARTS,
    pb.METRIC_STALL_SECONDS: func.divide(_STALL, 1000),
}
"""Aggregates over the rows that a report's row is made of."""

DIMENSIONS: Mapping[pb.Dimension.ValueType, Expression] = {
    pb.DIMENSION_VIDEO: column("video"),
    pb.DIMENSION_RENDITION: column("rendition"),
    pb.DIMENSION_CDN: column("cdn"),
    pb.DIMENSION_COUNTRY: column("country"),
    pb.DIMENSION_DEVICE: column("device"),
    pb.DIMENSION_PLAYER_VERSION: column("player_version"),
    # A row for each arm; one with an empty value for who is in no experiment.
    pb.DIMENSION_EXPERIMENT: func.arrayJoin(func.emptyArrayToSingle(column("experiments"))),
}
"""What a row is grouped by."""


FACET_NAMES: Mapping[pb.Dimension.ValueType, str] = {
    pb.DIMENSION_UNSPECIFIED: "",
    pb.DIMENSION_VIDEO: "video",
    pb.DIMENSION_RENDITION: "rendition",
    pb.DIMENSION_CDN: "cdn",
    pb.DIMENSION_COUNTRY: "country",
    pb.DIMENSION_DEVICE: "device",
    pb.DIMENSION_PLAYER_VERSION: "player_version",
    pb.DIMENSION_EXPERIMENT: "experiment",
}
"""What schema.FACETS calls a dimension; the whole is one of none."""


def facet(group_by: Iterable[pb.Dimension.ValueType], filters: Sequence[pb.Filter]) -> pb.Dimension.ValueType | None:
    """Return the only dimension that a question looks at, none being one too; None where facets cannot answer it."""
    looked_at = {*group_by, *(each.dimension for each in filters)}
    if len(looked_at) > 1:
        return None
    # A viewing in two arms has a row in each: to look for either would count it twice.
    if any(each.dimension == pb.DIMENSION_EXPERIMENT for each in filters):
        return None
    return next(iter(looked_at), pb.DIMENSION_UNSPECIFIED)


def filtered(filter_: pb.Filter, organization: str, dimension: Expression | None = None) -> Expression:
    """Return the condition that a filter puts on rows, whose value stands in `dimension` where that is given.

    Videos are given by name or by id.
    """
    values = list(filter_.values)
    if filter_.dimension == pb.DIMENSION_EXPERIMENT:
        kept: Expression = func.hasAny(column("experiments"), values)
        return func.not_(kept) if filter_.exclude else kept
    if filter_.dimension == pb.DIMENSION_VIDEO:
        prefix = f"organizations/{organization}/videos/"
        values = [value.removeprefix(prefix) for value in values]
    dimension = DIMENSIONS[filter_.dimension] if dimension is None else dimension
    return dimension.not_in(values) if filter_.exclude else dimension.in_(values)


def sources(*expressions: Expression) -> list[str]:
    """Return the columns that expressions read, in order of their names."""
    return sorted(
        {each.name for whole in expressions for each in visitors.iterate(whole) if isinstance(each, ColumnClause)}
    )
