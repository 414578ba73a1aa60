"""The warehouse follows the contracts with data in it, on chDB; ClickHouse can read what a cluster is told."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from sqlalchemy import func, literal, select, text
from telemetry_records import Viewing, batch
from warehouse_fakes import Recorder

from reelmesh.analytics.columns import streams
from reelmesh.analytics.migrations import STEPS, Placement, Step, migrate
from reelmesh.analytics.sink import Sink
from reelmesh.analytics.store import WarehouseInserter
from reelmesh.mesh.clock import SystemClock, TimeOrderedIds
from reelmesh.stores.events import TELEMETRY
from reelmesh.stores.warehouse import Warehouse
from reelmesh.telemetry.v1.record_pb2 import TelemetryRecord

EVERYTHING = text(
    # Of other tables rows are merged meanwhile.
    "SELECT name, create_table_query, if(name = 'migrations', total_rows, 0) FROM system.tables "
    "WHERE database = currentDatabase() ORDER BY name"
)


def with_a_field_more() -> Descriptor:
    """Return TelemetryRecord as a later version may have it: its events tell a `mood`."""
    pool = DescriptorPool()
    event = TelemetryRecord.DESCRIPTOR.fields_by_name["events"].message_type
    assert event is not None
    added: set[str] = set()

    def add(file: FileDescriptor) -> None:
        if file.name in added:
            return
        added.add(file.name)
        for each in file.dependencies:
            add(each)
        copied = FileDescriptorProto()
        file.CopyToProto(copied)
        for message in copied.message_type:
            if f"{copied.package}.{message.name}" == event.full_name:
                message.field.add(
                    name="mood",
                    number=900,
                    type=FieldDescriptorProto.TYPE_INT64,
                    label=FieldDescriptorProto.LABEL_OPTIONAL,
                )
        pool.AddSerializedFile(copied.SerializeToString())

    add(TelemetryRecord.DESCRIPTOR.file)
    return pool.FindMessageTypeByName(TelemetryRecord.DESCRIPTOR.full_name)


async def unburied(*_: object) -> None:
    pytest.fail("every record can be read")


async def take(warehouse: Warehouse, organization: str, later: bool, mood: int | None = None) -> None:
    """Take a viewing as a process of this version, or of a later one."""
    known = streams(with_a_field_more()) if later else streams()
    sink = Sink(
        WarehouseInserter(warehouse),
        {TELEMETRY: (known["events"], TelemetryRecord)},
        unburied,
        TimeOrderedIds(SystemClock()),
    )
    record = TelemetryRecord.FromString(Viewing(int(time.time() * 1000) - 60_000, organization).record())
    if mood is not None:
        unknown = bytes([0xA0, 0x38, mood])  # field 900, a varint: kept by who does not know it
        for event in record.events:
            event.MergeFromString(unknown)
    await sink.take([batch(TELEMETRY, [record.SerializeToString()])])


async def moods(warehouse: Warehouse, organization: str) -> Sequence[Any]:
    query = text("SELECT mood, count() FROM events FINAL WHERE organization = :it GROUP BY mood ORDER BY mood")
    return [tuple(row) for row in await warehouse.rows(query.bindparams(it=organization))]


async def test_a_field_more_is_a_column_more_and_old_rows_stay(warehouse: Warehouse) -> None:
    organization = f"o-{uuid.uuid4()}"
    await take(warehouse, organization, later=False)
    try:
        await migrate(warehouse, Placement(), streams(with_a_field_more()))
        assert await moods(warehouse, organization) == [(0, 7)]
        await take(warehouse, organization, later=True, mood=5)
        assert await moods(warehouse, organization) == [(0, 7), (5, 7)]
        await take(warehouse, organization, later=False)  # a process that was not replaced yet
        assert await moods(warehouse, organization) == [(0, 14), (5, 7)]
    finally:
        await migrate(warehouse, Placement())  # as an older version that starts again
    await take(warehouse, organization, later=False, mood=6)
    assert await moods(warehouse, organization) == [(0, 21), (5, 7)]
    query = text("SELECT uniqExact(session) FROM sessions WHERE organization = :it").bindparams(it=organization)
    assert [tuple(row) for row in await warehouse.rows(query)] == [(4,)]


async def test_to_migrate_again_changes_nothing(warehouse: Warehouse) -> None:
    await migrate(warehouse, Placement())
    before = await warehouse.rows(EVERYTHING)
    await asyncio.gather(*(migrate(warehouse, Placement()) for _ in range(2)))
    assert await warehouse.rows(EVERYTHING) == before
    assert {"events", "events_view", "sessions_view", "receipts_view"} <= {row[0] for row in before}


async def test_a_step_is_applied_once(warehouse: Warehouse) -> None:
    made = "CREATE TABLE IF NOT EXISTS steps_taken (step UInt32) ENGINE = MergeTree ORDER BY step"
    step = Step(1001, lambda _: (made, "INSERT INTO steps_taken SELECT 1001"))
    for _ in range(2):
        await migrate(warehouse, Placement(), steps=(*STEPS, step))
    assert [tuple(row) for row in await warehouse.rows(text("SELECT * FROM steps_taken"))] == [(1001,)]
    await warehouse.define("DROP TABLE steps_taken")
    await warehouse.define("ALTER TABLE migrations DELETE WHERE version = 1001")


async def test_clickhouse_can_read_what_a_cluster_is_told(warehouse: Warehouse) -> None:
    recorder = Recorder()
    await migrate(recorder, Placement("main", "tiered", 7, 90))
    for statement in recorder.statements:
        [[read]] = await warehouse.rows(select(func.formatQuerySingleLine(literal(statement))))
        assert "ON CLUSTER main" in read, statement
