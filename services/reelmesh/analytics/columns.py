"""Tables that follow the contracts: a field of a record is a column, and a new field is a new one at the next start.

A *stream* is one kind of record on Kafka. ClickHouse reads its records as they are into a table that keeps nothing
(`arrivals`); views on that write the rows of the table that does. All of it is made from the descriptors of protobuf,
so that nothing here has to be changed with a contract.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clickhouse_connect.cc_sqlalchemy.datatypes import sqltypes as types
from clickhouse_connect.cc_sqlalchemy.ddl import tableengine as engines
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from sqlalchemy import Column, ColumnElement, MetaData, Select, Table, case, cast, func, literal_column, select
from sqlalchemy.types import TypeEngine

from reelmesh.analytics.functions import lambda_of
from reelmesh.analytics.schema import ID, RECEIPTS, SESSIONS, TEXT, TIME
from reelmesh.analytics.v1.experiment_pb2 import ExposureRecord
from reelmesh.drm.v1.license_decision_pb2 import LicenseDecision
from reelmesh.telemetry.v1.event_pb2 import EventType
from reelmesh.telemetry.v1.record_pb2 import DeliveryRecord, TelemetryRecord

RAW = MetaData()
"""Tables of raw records, and those that take them in."""

WORDS = frozenset(
    {
        "organization",
        "network",
        "country",
        "device",
        "operating_system",
        "browser",
        "player",
        "player_version",
        "experiments",
        "rendition",
        "cdn",
        "error_code",
        "reason",
        "object_type",
        "experiment",
        "arm",
    }
)
"""Texts of which there are few."""
PARTITION, FIRST = "kafka_partition", "kafka_first"
"""Columns that the sink adds to each arrival: its partition, and the offset that its batch begins with."""
PARTITION_FIELD, FIRST_FIELD = 1001, 1002
"""Their numbers, which no contract uses."""
LAST_MS = 4_102_444_800_000
"""2100: what is later has a wrong clock, and is not worth a partition."""
JOINED = "event_"
"""How the columns of the repeated part are called in a view, so that they are told from those around them."""

_TIMESTAMP = "google.protobuf.Timestamp"
_INTEGERS = {
    FieldDescriptor.TYPE_INT64: ("int64", types.Int64),
    FieldDescriptor.TYPE_INT32: ("int32", types.Int32),
    FieldDescriptor.TYPE_UINT64: ("uint64", types.UInt64),
    FieldDescriptor.TYPE_UINT32: ("uint32", types.UInt32),
    FieldDescriptor.TYPE_DOUBLE: ("double", types.Float64),
    FieldDescriptor.TYPE_FLOAT: ("float", types.Float32),
    FieldDescriptor.TYPE_BOOL: ("bool", types.Bool),
}


@dataclass(frozen=True, slots=True)
class Stream:
    """A kind of record, and the table that its rows go to."""

    table: str
    """Name of the table."""
    message: Descriptor
    """The record."""
    rows: str = ""
    """Repeated field whose elements become rows; empty where a record is one row."""
    left_out: frozenset[str] = frozenset()
    """Fields that are not kept: who watched is not to be read here."""

    @property
    def arrivals(self) -> str:
        """Name of the table that takes the records."""
        return f"{self.table}_arrivals"

    @property
    def trial(self) -> str:
        """Name of the table that records are read into to see whether they can be."""
        return f"{self.table}_trial"

    @property
    def view(self) -> str:
        """Name of the view that makes rows of arrivals."""
        return f"{self.table}_view"

    def around(self) -> list[FieldDescriptor]:
        """Return the fields that a row has from its record."""
        return [field for field in self.message.fields if field.name != self.rows and field.name not in self.left_out]

    def within(self) -> list[FieldDescriptor]:
        """Return the fields that a row has of its own."""
        if not self.rows:
            return []
        element = self.message.fields_by_name[self.rows].message_type
        return list(element.fields) if element is not None else []


def streams(
    telemetry: Descriptor = TelemetryRecord.DESCRIPTOR,
    delivery: Descriptor = DeliveryRecord.DESCRIPTOR,
    decision: Descriptor = LicenseDecision.DESCRIPTOR,
    exposure: Descriptor = ExposureRecord.DESCRIPTOR,
) -> dict[str, Stream]:
    """Return the streams by the name of their table."""
    found = (
        Stream("events", telemetry, "events"),
        Stream("deliveries", delivery, "deliveries"),
        Stream("licenses", decision, left_out=frozenset({"viewer", "client_address"})),
        Stream("exposures", exposure),
    )
    return {stream.table: stream for stream in found}


def format_schema(stream: Stream) -> str:
    """Return a .proto, by itself, that reads the stream's records: names, numbers and types, and nothing else.

    Enumerations are read as numbers, so that a value that is newer than this code does not make a record unreadable.
    """
    body = _message(stream.message, stream)
    tail = f"int32 {PARTITION} = {PARTITION_FIELD}; int64 {FIRST} = {FIRST_FIELD};"
    return f'syntax = "proto3"; {body[:-1]}{tail} }}'


def _message(message: Descriptor, stream: Stream) -> str:
    nested, lines = "", ""
    for field in message.fields:
        if field.name in stream.left_out:
            continue
        if field.message_type is not None and f"message {field.message_type.name} " not in nested:
            nested += _message(field.message_type, stream) + " "
        repeated = "repeated " if field.is_repeated else ""
        lines += f"{repeated}{_wire_type(field)} {field.name} = {field.number}; "
    return f"message {message.name} {{ {nested}{lines}}}"


def _wire_type(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        return field.message_type.name
    if field.type == FieldDescriptor.TYPE_ENUM:
        return "int32"
    if field.type in _INTEGERS:
        return _INTEGERS[field.type][0]
    return "bytes" if field.type == FieldDescriptor.TYPE_BYTES else "string"


def arrival_columns(stream: Stream) -> Iterator[tuple[str, TypeEngine[Any]]]:
    """Yield the columns that records are read into."""
    for field in stream.around():
        if field.message_type is not None:
            _demand_timestamp(field)
            yield f"{field.name}.seconds", types.Int64()
            yield f"{field.name}.nanos", types.Int32()
        else:
            yield field.name, _arrival_type(field)
    for field in stream.within():
        yield f"{stream.rows}.{field.name}", types.Array(_arrival_type(field))
    yield PARTITION, types.Int32()
    yield FIRST, types.Int64()


def _demand_timestamp(field: FieldDescriptor) -> None:
    if field.is_repeated or field.message_type is None or field.message_type.full_name != _TIMESTAMP:
        raise TypeError(f"{field.full_name}: only timestamps can be messages within a record")


def _arrival_type(field: FieldDescriptor) -> Any:
    """Return the type that a field is read into."""
    if field.type == FieldDescriptor.TYPE_ENUM:
        kind: Any = types.Int32()
    elif field.type in _INTEGERS:
        kind = _INTEGERS[field.type][1]()
    elif field.type == FieldDescriptor.TYPE_BYTES:
        kind = ID  # every id is 16 bytes, and there are no other bytes in a record
    elif field.type == FieldDescriptor.TYPE_STRING:
        kind = types.String()
    else:
        raise TypeError(f"{field.full_name}: no column for it")
    return types.Array(kind) if field.is_repeated else kind


def row_columns(stream: Stream) -> Iterator[tuple[str, TypeEngine[Any], ColumnElement[Any]]]:
    """Yield the columns of the table that keeps a stream's rows, and how each is made of an arrival.

    Times that are counted in milliseconds (`event_time_ms`) become times (`event_time`); enumerations lose the prefix
    of their values.
    """
    for field in stream.around():
        yield _row_column(field, literal_column(f"{stream.arrivals}.{field.name}"), stream.arrivals)
    for field in stream.within():
        yield _row_column(field, literal_column(JOINED + field.name), stream.arrivals)
    yield from _made_columns(stream)


def _row_column(
    field: FieldDescriptor, given: ColumnElement[Any], arrivals: str
) -> tuple[str, TypeEngine[Any], ColumnElement[Any]]:
    if field.message_type is not None:
        at = f"`{field.name}.seconds` * 1000 + intDiv({arrivals}.`{field.name}.nanos`, 1000000)"
        return field.name, TIME, _time(literal_column(f"({arrivals}.{at})"))
    if re.fullmatch(r"(.*_)?time_ms", field.name):
        return field.name.removesuffix("_ms"), TIME, _time(given)
    if field.enum_type is not None:
        kind = enum_type(field.enum_type)
        numbers = [value.number for value in field.enum_type.values]
        known: ColumnElement[Any] = case((given.in_(numbers), given), else_=literal_column("0"))
        return field.name, kind, cast(known, kind)
    kind = _arrival_type(field)
    if field.name in WORDS:
        kind = types.Array(TEXT) if field.is_repeated else TEXT
    return field.name, kind, given


def _time(milliseconds: ColumnElement[Any]) -> ColumnElement[Any]:
    within = func.least(func.greatest(milliseconds, 0), LAST_MS)
    return func.fromUnixTimestamp64Milli(func.toInt64(within), "UTC")


def enum_type(enum: EnumDescriptor) -> Any:
    """Return the values of an enumeration, without the prefix that they all have."""
    prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", enum.name).upper() + "_"
    names = [value.name.removeprefix(prefix) for value in enum.values]
    return types.Enum8(keys=names, values=[value.number for value in enum.values])


def _made_columns(stream: Stream) -> list[tuple[str, TypeEngine[Any], ColumnElement[Any]]]:
    """Return the columns that no field has."""
    if stream.table == "events":
        return [("minute", types.DateTime("UTC"), func.toStartOfMinute(_time(literal_column("event_event_time_ms"))))]
    if stream.table == "licenses":
        # Names are "organizations/{organization}/sessions/{session}".
        parts = func.splitByChar("/", literal_column("licenses_arrivals.session"))
        session = func.UUIDToNum(func.toUUIDOrZero(func.arrayElement(parts, 4)))
        return [("organization", TEXT, func.arrayElement(parts, 2)), ("session_id", ID, session)]
    return []


_ENGINES: Mapping[str, tuple[tuple[str, ...], str | None]] = {
    "events": (("organization", "minute", "session", "event_id"), "toYYYYMMDD(event_time)"),
    "deliveries": (("organization", "request_time", "delivery_id"), "toYYYYMMDD(request_time)"),
    "licenses": (("organization", "session_id", "id"), "toYYYYMM(time)"),
    # In one partition: an exposure that is told again tells another time.
    "exposures": (("organization", "experiment", "session"), None),
}


def row_table(stream: Stream, metadata: MetaData) -> Table:
    """Return the table that keeps a stream's rows; a row that comes again replaces itself. Read it FINAL."""
    order, partition = _ENGINES[stream.table]
    columns = [Column(name, kind) for name, kind, _ in row_columns(stream)]
    return Table(
        stream.table, metadata, *columns, engines.ReplacingMergeTree(order_by=list(order), partition_by=partition)
    )


def arrivals_table(stream: Stream, metadata: MetaData) -> Table:
    """Return the table that takes a stream's records and keeps nothing."""
    return _nothing(stream.arrivals, stream, metadata)


def trial_table(stream: Stream, metadata: MetaData) -> Table:
    """Return the same without views on it."""
    return _nothing(stream.trial, stream, metadata)


def _nothing(name: str, stream: Stream, metadata: MetaData) -> Table:
    columns = [Column(name, kind) for name, kind in arrival_columns(stream)]
    return Table(name, metadata, *columns, engines.Null())


def rows_query(stream: Stream, arrivals: Table) -> Select[Any]:
    """Return what makes rows of arrivals."""
    made = [expression.label(name) for name, _, expression in row_columns(stream)]
    return _joined(select(*made), stream, arrivals)


def _joined(query: Select[Any], stream: Stream, arrivals: Table) -> Select[Any]:
    query = query.select_from(arrivals)
    if not stream.rows:
        return query
    columns = [arrivals.c[f"{stream.rows}.{field.name}"] for field in stream.within()]
    names = [JOINED + field.name for field in stream.within()]
    joined: Select[Any] = query.array_join(*columns, alias=names)  # type: ignore[attr-defined]
    return joined


def _event(name: str) -> ColumnElement[Any]:
    return literal_column(JOINED + name)


def _around(name: str) -> ColumnElement[Any]:
    return literal_column(f"events_arrivals.{name}")


def player_name(player: ColumnElement[Any], version: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a player and its version as reports tell them: "name version"."""
    return func.trim(func.concat(player, " ", version))


def sessions_query(stream: Stream, arrivals: Table) -> Select[Any]:
    """Return what folds arrivals of events into `sessions`: record by record, as the arrays that they came in."""
    numbers = dict(EventType.items())

    def values(name: str) -> ColumnElement[Any]:
        return arrivals.c[f"{stream.rows}.{name}"]

    def happened(*names: str) -> ColumnElement[Any]:
        kinds = func.array(*(numbers[f"EVENT_TYPE_{name}"] for name in names))
        return func.max(func.toUInt8(func.hasAny(values("type"), kinds)))

    def largest(name: str) -> ColumnElement[Any]:
        return func.maxArray(values(name))

    times = func.arrayMap(lambda_of("time", _time(literal_column("time"))), values("event_time_ms"))

    def latest(name: str) -> ColumnElement[Any]:
        some = literal_column("text") != ""
        texts = func.arrayFilter(lambda_of("text", some), values(name))
        return func.argMaxStateArray(texts, func.arrayFilter(lambda_of(("time", "text"), some), times, values(name)))

    viewer = _around("viewer")
    known = func.lower(func.hex(viewer))
    folded: dict[str, ColumnElement[Any]] = {
        "organization": _around("organization"),
        "session": _around("session"),
        "video": func.any(_around("video")),
        "viewer": func.max(case((viewer == func.toFixedString("", 16), ""), else_=known)),
        "first_time": _time(func.minArray(values("event_time_ms"))),
        "last_time": _time(largest("event_time_ms")),
        "events": func.groupBitmapStateArray(
            func.arrayMap(lambda_of("sequence", func.toUInt32(literal_column("sequence"))), values("sequence"))
        ),
        "requested": happened("REQUESTED"),
        "started": happened("STARTED"),
        "failed": happened("FAILED"),
        "exited": happened("EXITED_BEFORE_START"),
        "ended": happened("ENDED"),
        "startup_ms": largest("startup_ms"),
        "watch_ms": largest("watch_total_ms"),
        "stall_ms": largest("stall_total_ms"),
        "stalls": largest("stalls_total"),
        "switches": largest("switches_total"),
        "dropped_frames": largest("dropped_frames_total"),
        "media_bytes": largest("media_bytes_total"),
        "upscaled_ms": largest("upscaled_total_ms"),
        "weight": func.max(_around("weight")),
        "rendition": latest("rendition"),
        "cdn": latest("cdn"),
        "error_code": latest("error_code"),
        "country": func.max(_around("country")),
        "device": func.max(_around("device")),
        "operating_system": func.max(_around("operating_system")),
        "browser": func.max(_around("browser")),
        "player_version": func.max(player_name(_around("player"), _around("player_version"))),
        "experiments": func.max(_around("experiments")),
    }
    made = [folded[column.name].label(column.name) for column in SESSIONS.columns]
    some = select(*made).select_from(arrivals).where(func.notEmpty(values("event_id")))
    return some.group_by(_around("organization"), _around("session"))


def receipts_query(stream: Stream, arrivals: Table) -> Select[Any]:
    """Return what counts arrivals of events into `receipts`."""
    minute = func.toStartOfMinute(_time(_event("event_time_ms")))
    keys: dict[str, ColumnElement[Any]] = {
        "partition": _around(PARTITION),
        "first": _around(FIRST),
        "organization": _around("organization"),
        "minute": minute,
    }
    made: dict[str, ColumnElement[Any]] = {**keys, "events": func.count()}
    columns = [made[column.name].label(column.name) for column in RECEIPTS.columns]
    return _joined(select(*columns), stream, arrivals).group_by(*keys.values())


STREAMS = streams()
"""The streams as the contracts have them."""
EVENTS = row_table(STREAMS["events"], RAW)
"""Events, each as often as it came until the rows are merged: read it FINAL."""
DELIVERIES = row_table(STREAMS["deliveries"], RAW)
"""Requests for media; read it FINAL."""
LICENSES = row_table(STREAMS["licenses"], RAW)
"""Decisions about licenses, without who asked; read it FINAL. `session_id` is the id of the playback session."""
EXPOSURES = row_table(STREAMS["exposures"], RAW)
"""Viewings that are in an arm of an experiment; read it FINAL."""
