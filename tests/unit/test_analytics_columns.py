"""Tables made from descriptors: their columns, the schema that records are read with, and their DDL."""

from __future__ import annotations

import re

import pytest
from google.protobuf.descriptor import FieldDescriptor
from warehouse_fakes import Recorder

from reelmesh.analytics.columns import STREAMS, Stream, arrival_columns, enum_type, format_schema, row_columns
from reelmesh.analytics.migrations import Placement, migrate
from reelmesh.analytics.schema import WAREHOUSE
from reelmesh.telemetry.v1.event_pb2 import EventType
from reelmesh.telemetry.v1.record_pb2 import TelemetryRecord

CLUSTER = Placement("main", "tiered", cold_days=7, events_days=90)


async def told(placement: Placement) -> dict[str, str]:
    """Return the statements that make tables and views, by their name."""
    recorder = Recorder()
    await migrate(recorder, placement)
    found = {}
    for statement in recorder.statements:
        made = re.match(r"CREATE (?:TABLE|MATERIALIZED VIEW) IF NOT EXISTS (\w+)", statement)
        if made:
            found[made[1]] = statement
    return found


@pytest.mark.parametrize("name", list(STREAMS))
def test_every_field_is_read_and_becomes_a_column_but_those_left_out(name: str) -> None:
    stream = STREAMS[name]
    schema, rows = format_schema(stream), {column for column, _, _ in row_columns(stream)}
    read = {column.partition(".")[0] for column, _ in arrival_columns(stream)}
    for field in stream.message.fields:
        kept = field.name not in stream.left_out
        assert (f" {field.name} = {field.number};" in schema) is kept
        assert (field.name in read) is kept
    for field in [*stream.around(), *stream.within()]:
        assert {field.name, field.name.removesuffix("_ms")} & rows, field.full_name


def test_who_asked_for_a_license_is_not_kept() -> None:
    assert not {"viewer", "client_address"} & {column for column, _, _ in row_columns(STREAMS["licenses"])}


def test_the_schema_of_a_format_is_whole_and_reads_enumerations_as_numbers() -> None:
    schema = format_schema(STREAMS["events"])
    assert schema.startswith('syntax = "proto3"; message TelemetryRecord { ')
    assert schema.endswith("int32 kafka_partition = 1001; int64 kafka_first = 1002; }")
    assert schema.count("{") == schema.count("}")
    assert "import" not in schema
    kind = STREAMS["events"].message.fields_by_name["events"].message_type
    assert kind is not None
    assert f"int32 type = {kind.fields_by_name['type'].number};" in schema
    assert f"repeated {kind.name} events" in schema


def test_an_enumeration_loses_its_prefix_and_keeps_its_numbers() -> None:
    made = enum_type(EventType.DESCRIPTOR).name
    assert "EVENT_TYPE" not in made
    for name, number in EventType.items():
        assert re.search(rf"'{name.removeprefix('EVENT_TYPE_')}' ?= ?{number}\b", made)


def test_a_message_within_a_record_that_is_no_time_has_no_column() -> None:
    stream = Stream("events", TelemetryRecord.DESCRIPTOR)  # the events are not said to become rows
    assert TelemetryRecord.DESCRIPTOR.fields_by_name["events"].type == FieldDescriptor.TYPE_MESSAGE
    with pytest.raises(TypeError, match="events: only timestamps"):
        list(arrival_columns(stream))


async def test_one_server_has_plain_tables_with_a_memory_of_batches() -> None:
    statements = await told(Placement())
    for name, statement in statements.items():
        assert "ON CLUSTER" not in statement, name
        assert "Replicated" not in statement, name
        assert "storage_policy" not in statement, name
    for name in ("events", "deliveries", "licenses", "exposures", "sessions", "receipts"):
        assert "non_replicated_deduplication_window = 10000" in statements[name]
    assert "INTERVAL 90 DAY" in statements["events"]
    assert "VOLUME" not in statements["events"]


async def test_a_cluster_has_every_table_and_view_replicated() -> None:
    statements = await told(CLUSTER)
    expected = {*WAREHOUSE.tables, "sessions_view", "receipts_view"}
    for stream in STREAMS.values():
        expected |= {stream.table, stream.arrivals, stream.trial, stream.view}
    assert set(statements) == expected
    for name, statement in statements.items():
        assert " ON CLUSTER `main`" in statement, name
        if statement.startswith("CREATE TABLE") and not name.endswith(("_arrivals", "_trial")):
            assert re.search(r"Engine Replicated\w*MergeTree", statement), name
    for name in ("events", "sessions", "receipts"):
        assert " replicated_deduplication_window = 10000" in statements[name]
        assert "replicated_deduplication_window_seconds = 604800" in statements[name]


async def test_raw_rows_move_to_the_cold_volume_and_go() -> None:
    statements = await told(CLUSTER)
    for name, time in (("events", "event_time"), ("deliveries", "request_time")):
        assert (
            f" TTL toDateTime({time}) + INTERVAL 90 DAY, toDateTime({time}) + INTERVAL 7 DAY TO VOLUME 'cold'"
            in statements[name]
        )
        assert "storage_policy = 'tiered'" in statements[name]
        assert "ttl_only_drop_parts = 1" in statements[name]
    for name in ("licenses", "exposures"):  # small, and kept for longer
        assert " TTL toDateTime(time) + INTERVAL 400 DAY SETTINGS" in statements[name]
        assert "storage_policy" not in statements[name]


@pytest.mark.parametrize("name", ["a b", "x'; DROP TABLE events", "`"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a cluster"):
        Placement(cluster=name)
