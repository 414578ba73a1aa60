"""Whole answers as Arrow IPC streams, in parts, with little in memory at a time."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pyarrow
from clickhouse_connect.cc_sqlalchemy.datatypes import sqltypes as types
from sqlalchemy import Column, ColumnElement, Select, func, select

from reelmesh.analytics.columns import EVENTS
from reelmesh.analytics.errors import TimeRangeTooLong
from reelmesh.analytics.reading import Reader, latest
from reelmesh.analytics.reports import Question, Reports
from reelmesh.analytics.spans import Span
from reelmesh.analytics.v1 import report_pb2 as pb

PART = 1 << 20
"""Bytes of a part, at most."""
ROWS = 4096
"""Rows that are written at once."""
LONGEST = timedelta(days=31)
"""Span that one export of events covers."""
_DERIVED = frozenset({"minute"})


class Export:
    """Reads whole answers."""

    def __init__(self, reader: Reader, reports: Reports) -> None:
        self._reader = reader
        self._reports = reports

    async def metrics(self, question: Question) -> AsyncGenerator[bytes, None]:
        """Yield a report: columns start_time (with a granularity), the dimensions, the metrics.

        Raises TimeRangeTooLong, Unavailable.
        """
        query = self._reports.query(question)
        async with aclosing(_parts(self._reader.arrow(query), _schema_of(question))) as parts:
            async for part in parts:
                yield part

    async def events(self, organization: str, span: Span) -> AsyncGenerator[bytes, None]:
        """Yield events that happened in a span, each once, in no order. Raises TimeRangeTooLong, Unavailable."""
        if span.end - span.start > LONGEST.total_seconds():
            raise TimeRangeTooLong(f"an export of events covers {LONGEST.days} days at most", days=LONGEST.days)
        async with aclosing(_parts(self._reader.arrow(_events_query(organization, span)), _EVENTS)) as parts:
            async for part in parts:
                yield part


def _schema_of(question: Question) -> pyarrow.Schema:
    fields = []
    if question.granularity:
        fields.append(pyarrow.field("start_time", pyarrow.timestamp("s", tz="UTC")))
    fields += [
        pyarrow.field(pb.Dimension.Name(each).removeprefix("DIMENSION_").lower(), pyarrow.string())
        for each in question.group_by
    ]
    fields += [
        pyarrow.field(pb.Metric.Name(each).removeprefix("METRIC_").lower(), pyarrow.float64())
        for each in question.metrics
    ]
    return pyarrow.schema(fields)


def _kind_of(column: Column[Any]) -> pyarrow.DataType:
    """Return a column's type as Arrow has it."""
    kind = column.type
    if isinstance(kind, types.Array):
        return pyarrow.list_(pyarrow.string())  # of words, the only lists there are
    if isinstance(kind, types.DateTime64):
        return pyarrow.timestamp("ms", tz="UTC")
    if isinstance(kind, types.FixedString):
        return pyarrow.binary(16)
    plain = {
        types.UInt8: pyarrow.uint8(),
        types.UInt32: pyarrow.uint32(),
        types.UInt64: pyarrow.uint64(),
        types.Int32: pyarrow.int32(),
        types.Int64: pyarrow.int64(),
        types.Float32: pyarrow.float32(),
        types.Float64: pyarrow.float64(),
        types.Bool: pyarrow.bool_(),
    }
    return plain.get(type(kind), pyarrow.string())


_EVENTS = pyarrow.schema(
    pyarrow.field(column.name, _kind_of(column)) for column in EVENTS.columns if column.name not in _DERIVED
)
"""What an export of events has."""


def _shaped(batch: pyarrow.RecordBatch, schema: pyarrow.Schema) -> pyarrow.RecordBatch:
    """Give a batch its names and types; ClickHouse writes times of whole seconds as numbers."""
    columns = [_as(column, field.type) for column, field in zip(batch.columns, schema, strict=True)]
    return pyarrow.RecordBatch.from_arrays(columns, schema=schema)


def _as(column: pyarrow.Array, kind: pyarrow.DataType) -> pyarrow.Array:
    if pyarrow.types.is_timestamp(kind) and not pyarrow.types.is_timestamp(column.type):
        return column.cast(pyarrow.int64()).cast(kind)
    return column.cast(kind)


def _events_query(organization: str, span: Span) -> Select[Any]:
    events = EVENTS.c
    start, end = (func.toDateTime64(time, 3, "UTC") for time in (span.start, span.end))
    columns: list[Any] = [_plain(column) for column in EVENTS.columns if column.name not in _DERIVED]
    query = select(*columns).where(
        events.organization == organization,
        events.minute >= func.toStartOfMinute(start),
        events.minute <= end,
        events.event_time >= start,
        events.event_time < end,
    )
    return latest(query)


def _plain(column: Column[Any]) -> ColumnElement[Any]:
    """Return a column as Arrow is to have it: the word of an enumeration, not its number."""
    if isinstance(column.type, types.Enum8 | types.Enum16):
        return func.toString(column).label(column.name)
    return column


async def _parts(
    batches: AsyncGenerator[pyarrow.RecordBatch, None], schema: pyarrow.Schema
) -> AsyncGenerator[bytes, None]:
    """Write batches as one stream."""
    sink = io.BytesIO()
    writer = pyarrow.ipc.new_stream(sink, schema)
    async with aclosing(batches):
        async for batch in batches:
            shaped = _shaped(batch, schema)
            for start in range(0, shaped.num_rows, ROWS):
                writer.write_batch(shaped.slice(start, ROWS))
                for part in _taken(sink, PART):
                    yield part
    writer.close()
    for part in _taken(sink, 1):
        yield part


def _taken(sink: io.BytesIO, least: int) -> Iterator[bytes]:
    """Take out what was written, once there are `least` bytes."""
    if sink.tell() < least:
        return
    written = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    for start in range(0, len(written), PART):
        yield written[start : start + PART]
