"""Metrics by time and dimensions, from the roll-ups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, column, func, select, union_all

from reelmesh.analytics.functions import during
from reelmesh.analytics.metrics import DIMENSIONS, FACET_NAMES, METRICS, facet, filtered, sources
from reelmesh.analytics.reading import Reader, latest
from reelmesh.analytics.schema import DAYS, FACETS, HOURS, MINUTES, ROLLUPS
from reelmesh.analytics.spans import LENGTHS, Part, Span, as_one, of_buckets
from reelmesh.analytics.v1 import report_pb2 as pb
from reelmesh.mesh.clock import Clock

_ROLLUPS = {pb.GRANULARITY_MINUTE: MINUTES, pb.GRANULARITY_HOUR: HOURS, pb.GRANULARITY_DAY: DAYS}


@dataclass(frozen=True, slots=True)
class Question:
    """What a report is asked for."""

    organization: str
    span: Span
    metrics: Sequence[pb.Metric.ValueType]
    group_by: Sequence[pb.Dimension.ValueType] = ()
    filters: Sequence[pb.Filter] = ()
    granularity: pb.Granularity.ValueType = pb.GRANULARITY_UNSPECIFIED
    order_by: pb.Metric.ValueType = pb.METRIC_UNSPECIFIED
    """One of `metrics`, or unspecified: by time and dimensions."""
    ascending: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a report."""

    start: datetime | None
    """When its span began; None in a report of the whole time."""
    dimensions: Sequence[str]
    values: Sequence[float]


class Reports:
    """Answers questions about metrics."""

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    async def page(self, question: Question, offset: int, size: int) -> tuple[Sequence[Row], bool]:
        """Return up to `size` rows behind the first `offset`, and whether others follow.

        Raises TimeRangeTooLong, Unavailable.
        """
        query = self.query(question).limit(size + 1).offset(offset)
        rows = [_row(question, each) for each in await self._reader.rows(query)]
        return rows[:size], len(rows) > size

    async def fresh_time(self, organization: str) -> datetime | None:
        """Return a time before which all that arrived is counted: when the latest minute was. Raises Unavailable.

        None where nothing happened within the last hour.
        """
        minutes = ROLLUPS[MINUTES].c
        recent = int(self._clock.now().timestamp()) - LENGTHS[HOURS]
        query = select(func.max(minutes.version)).where(
            minutes.organization == organization, minutes.bucket >= func.toDateTime(recent, "UTC")
        )
        milliseconds = (await self._reader.rows(query))[0][0]
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None

    def query(self, question: Question) -> Select[Any]:
        """Return the query of a whole report: columns `at` (with a granularity), `d0`…, `m0`….

        Raises TimeRangeTooLong.
        """
        by_time = question.granularity in _ROLLUPS
        if by_time:
            parts = of_buckets(question.span, _ROLLUPS[question.granularity])
        else:
            parts = as_one(question.span, self._clock.now())
        measures = [METRICS[metric] for metric in question.metrics]
        read = sources(*measures, column("events"))
        rows = union_all(*(_part(question, part, read) for part in parts or [_nothing(question.span)])).subquery("rows")
        keys: list[ColumnElement[Any]] = [column("at")] if by_time else []
        keys += [column(f"d{place}") for place in range(len(question.group_by))]
        values = [func.toFloat64(measure).label(f"m{place}") for place, measure in enumerate(measures)]
        columns: list[Any] = [*_named(keys, question), *values]
        query = select(*columns).select_from(rows).order_by(*_order(question, keys))
        # Rows that were counted and then emptied hold nothing; a report without keys has one row, whatever is in it.
        if keys:
            query = query.group_by(*keys).having(func.sum(column("events")) > 0)
        return latest(query)


def _part(question: Question, part: Part, read: Sequence[str]) -> Select[Any]:
    one = facet(question.group_by, question.filters)
    value: ColumnElement[Any] | None = None
    if one is None or part.rollup not in FACETS:
        table, conditions = ROLLUPS[part.rollup], list[ColumnElement[bool]]()
    else:
        table, value = FACETS[part.rollup], column("value")
        conditions = [table.c.dimension == FACET_NAMES[one]]
    columns: list[Any] = [column("bucket").label("at")]
    for place, each in enumerate(question.group_by):
        columns.append((DIMENSIONS[each] if value is None else value).label(f"d{place}"))
    columns += [column(name) for name in read]
    conditions += [filtered(each, question.organization, value) for each in question.filters]
    return (
        select(*columns)
        .select_from(table)
        .where(
            table.c.organization == question.organization,
            *during(table.c.bucket, part.span),
            *conditions,
        )
    )


def _nothing(span: Span) -> Part:
    return Part(DAYS, Span(span.start, span.start))


def _named(keys: Sequence[ColumnElement[Any]], question: Question) -> list[ColumnElement[Any]]:
    """Return the keys as readers see them: a video by its resource name."""
    named = list(keys)
    if pb.DIMENSION_VIDEO in question.group_by:
        place = len(keys) - len(question.group_by) + list(question.group_by).index(pb.DIMENSION_VIDEO)
        prefix = f"organizations/{question.organization}/videos/"
        named[place] = func.concat(prefix, keys[place]).label(f"v{place}")
    return named


def _order(question: Question, keys: Sequence[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
    if not question.order_by:
        return list(keys)
    value: ColumnElement[Any] = column(f"m{list(question.metrics).index(question.order_by)}")
    # What is not a number stands last either way.
    return [func.isNaN(value), value.asc() if question.ascending else value.desc(), *keys]


def _row(question: Question, found: Sequence[Any]) -> Row:
    given = list(found)
    start = given.pop(0) if question.granularity else None
    if start is not None and start.tzinfo is None:
        start = start.replace(tzinfo=UTC)
    dimensions = len(question.group_by)
    return Row(start, [str(each) for each in given[:dimensions]], [float(each) for each in given[dimensions:]])
