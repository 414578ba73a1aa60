"""What becomes of batches in the warehouse: rows, viewings, roll-ups, erasures and audits, on chDB."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from telemetry_records import Viewing, batch

from reelmesh.analytics.audit import Audit
from reelmesh.analytics.erasure import Erasure
from reelmesh.analytics.errors import RollupBehind
from reelmesh.analytics.rollups import Rollups
from reelmesh.analytics.sink import Sink
from reelmesh.analytics.store import WarehouseInserter
from reelmesh.analytics.v1.experiment_pb2 import ExposureRecord
from reelmesh.analytics.wiring import SOURCES
from reelmesh.drm.v1.license_decision_pb2 import LicenseDecision
from reelmesh.mesh.clock import SystemClock, TimeOrderedIds
from reelmesh.stores.events import DECISIONS, DELIVERIES, EXPOSURES, TELEMETRY
from reelmesh.stores.warehouse import Warehouse
from reelmesh.telemetry.v1.record_pb2 import Delivery, DeliveryRecord

CLOCK = SystemClock()
IDS = TimeOrderedIds(CLOCK)
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
ROLLUPS = ("minutes", "hours", "days")


class World:
    """The parts, on one warehouse, for an organization of a test's own."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.organization = f"o-{uuid.uuid4()}"
        self.buried: list[tuple[int, str]] = []
        self.sink = Sink(WarehouseInserter(warehouse), SOURCES, self._bury, IDS)
        self.arrived_ms: int | None = int(time.time() * 1000) + DAY
        self.rollups = Rollups(warehouse, CLOCK, lambda: self.arrived_ms, lambda: True, seconds=0.1, events_days=90)
        self.erasure = Erasure(
            warehouse,
            CLOCK,
            IDS,
            lambda _, viewer: (viewer.encode() * 16)[:16],
            self.rollups.wait_until_fresh,
            self.rollups.round,
        )
        self.audit = Audit(warehouse, CLOCK, self.rollups.wait_until_fresh, events_days=90)

    async def _bury(self, topic: str, partition: int, offset: int, value: bytes, reason: str, message: str) -> None:
        self.buried.append((offset, reason))

    def viewing(self, start_ms: int, **values: Any) -> Viewing:
        return Viewing(start_ms, self.organization, **values)

    async def take(self, *viewings: Viewing) -> None:
        await self.sink.take([batch(TELEMETRY, [viewing.record() for viewing in viewings])])

    async def ask(self, query: str) -> Sequence[Any]:
        bound = text(query.replace("ORG", ":organization")).bindparams(organization=self.organization)
        return list(await self.warehouse.rows(bound))

    async def one(self, query: str) -> Any:
        return (await self.ask(query))[0]

    async def agrees(self) -> None:
        """Every roll-up is what a plain count of the raw events gives."""
        raw = await self.one(
            "SELECT count(), sum(weight * (type = 'REQUESTED')), sum(weight * (type = 'STARTED')),"
            " sum(weight * watch_ms), sum(weight * stall_ms), sum(weight * stalls),"
            " uniqExactIf(viewer, viewer != toFixedString('', 16)) FROM events FINAL WHERE organization = ORG"
        )
        for rollup in ROLLUPS:
            counted = await self.one(
                "SELECT sum(events), sum(views), sum(starts), sum(watch_ms), sum(stall_ms), sum(stalls),"
                f" uniqCombined64Merge(viewers) FROM {rollup} FINAL WHERE organization = ORG"
            )
            assert counted == raw, rollup


@pytest.fixture
def world(warehouse: Warehouse) -> World:
    return World(warehouse)


def ago(milliseconds: int) -> int:
    return int(time.time() * 1000) - milliseconds


async def test_a_batch_becomes_events_viewings_and_receipts_once(world: World) -> None:
    viewing = world.viewing(ago(5 * MINUTE), viewer=b"v" * 16)
    taken = batch(TELEMETRY, [viewing.record()])
    await world.sink.take([taken])
    await world.sink.take([taken])  # as after a crash before its offset was committed
    assert await world.one("SELECT count(), uniqExact(event_id) FROM events WHERE organization = ORG") == (7, 7)
    assert await world.one("SELECT sum(events) FROM receipts WHERE organization = ORG") == (7,)
    row = await world.one(
        "SELECT lower(hex(session)), viewer, groupBitmapMerge(events), max(watch_ms), max(stall_ms), max(stalls),"
        " max(startup_ms), max(requested), max(started), max(ended), max(failed), argMaxMerge(rendition),"
        " any(player_version), min(first_time) FROM sessions WHERE organization = ORG GROUP BY session, viewer"
    )
    assert row[:-1] == (viewing.session.hex(), "76" * 16, 7, 50_000, 200, 2, 300, 1, 1, 1, 0, "720p", "web 1")
    assert row[-1].replace(tzinfo=UTC) == datetime.fromtimestamp(viewing.start_ms / 1000, UTC)


async def test_events_that_come_again_count_once_everywhere_but_in_the_receipts(world: World) -> None:
    viewing = world.viewing(ago(5 * MINUTE))
    await world.take(viewing)
    await world.take(viewing)  # the player has sent it again: another record, the same events
    await world.rollups.round()
    await world.agrees()
    figures = {each.table: each for each in await world.audit.figures(world.organization)}
    assert list(figures) == ["raw", "minutes", "hours", "days", "facets_hours", "facets_days", "sessions"]
    assert figures["raw"].events_sent == 14
    for each in figures.values():
        assert (each.distinct_events, each.views, each.watch_seconds, each.stall_seconds) == (7, 1, 50.0, 0.2)


async def test_late_events_change_only_their_minute(world: World) -> None:
    await world.take(world.viewing(ago(5 * MINUTE)))
    await world.rollups.round()
    versions = "SELECT bucket, version FROM minutes FINAL WHERE organization = ORG AND events > 0"
    before = dict(await world.ask(versions))
    await world.take(world.viewing(ago(23 * HOUR), beats=1))
    counted = await world.rollups.round()
    assert counted.minutes >= 1
    after = dict(await world.ask(versions))
    assert before.items() < after.items()
    await world.agrees()


async def test_a_mark_that_comes_while_it_is_counted_is_counted_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = ago(5 * MINUTE)
    await world.take(world.viewing(start))
    run, late = world.warehouse.run, [world.viewing(start)]

    async def interfering(*arguments: Any) -> None:
        await run(*arguments)
        if late and "minutes" in str(arguments[0]):
            await world.take(late.pop())  # after the minute was read, and before it is done with

    monkeypatch.setattr(world.warehouse, "run", interfering)
    await world.rollups.round()
    monkeypatch.undo()
    assert not late
    await world.rollups.round()
    await world.agrees()
    assert (await world.rollups.round()).minutes == 0


async def test_weights_stand_for_viewings_that_were_left_out(world: World) -> None:
    await world.take(world.viewing(ago(5 * MINUTE), context={"weight": 4}))
    await world.rollups.round()
    assert await world.one(
        "SELECT sum(events), sum(views), sum(watch_ms) FROM days FINAL WHERE organization = ORG"
    ) == (
        7,
        4,
        200_000,
    )
    await world.agrees()


async def test_the_retention_curve_is_made_of_edges_that_cancel(world: World) -> None:
    await world.take(world.viewing(ago(5 * MINUTE), beats=5), world.viewing(ago(5 * MINUTE), beats=2))
    await world.rollups.round()
    edges = await world.ask(
        "SELECT second, plays FROM retention_days FINAL WHERE organization = ORG AND plays != 0 ORDER BY second"
    )
    assert edges == [(0, 2), (20, -1), (50, -1)]
    assert (
        await world.ask(
            "SELECT second, sum(plays) AS p FROM retention_minutes FINAL WHERE organization = ORG"
            " GROUP BY second HAVING p != 0 ORDER BY second"
        )
        == edges
    )


async def test_what_cannot_be_read_is_buried_and_holds_nobody_up(world: World) -> None:
    good, too_long = world.viewing(ago(5 * MINUTE)), world.viewing(ago(5 * MINUTE), session=b"s" * 17)
    values = [b"\xff\xff", good.record(), too_long.record(), b"", world.viewing(ago(5 * MINUTE)).record()]
    taken = batch(TELEMETRY, values, first=100)
    await world.sink.take([taken])
    assert world.buried == [(100, "RECORD_UNREADABLE"), (102, "RECORD_UNREADABLE")]
    await world.sink.take([taken])  # after a crash: the dead letters are there twice, the rest is not
    assert len(world.buried) == 4
    assert await world.one("SELECT count() FROM events WHERE organization = ORG") == (14,)
    await world.rollups.round()
    await world.agrees()


async def test_an_enumeration_may_be_newer_than_this_code(world: World) -> None:
    viewing = world.viewing(ago(5 * MINUTE), beats=1)
    events = viewing.events()
    events[1].type = 99  # type: ignore[assignment]  # as from a newer door
    await world.sink.take([batch(TELEMETRY, [viewing.record(events)])])
    assert not world.buried
    assert await world.ask("SELECT toString(type) FROM events WHERE organization = ORG ORDER BY sequence") == [
        ("REQUESTED",),
        ("UNSPECIFIED",),
        ("ENDED",),
    ]


async def test_a_viewer_is_forgotten_everywhere(world: World) -> None:
    start = ago(5 * MINUTE)
    gone, stays = world.viewing(start, viewer=b"g" * 16), world.viewing(start, viewer=b"s" * 16)
    old = world.viewing(ago(40 * DAY), viewer=b"g" * 16, beats=2)
    await world.take(gone, stays, old)
    await beside(world, gone.session, ago(0))
    await world.rollups.round()
    assert await world.erasure.erase_viewer(world.organization, "g") == 7 + 4
    await world.agrees()
    assert await world.one("SELECT count() FROM events WHERE organization = ORG") == (7,)
    assert await world.one("SELECT count(), any(viewer) FROM sessions FINAL WHERE organization = ORG") == (1, "73" * 16)
    for table in ("exposures", "licenses", "deliveries"):
        assert await world.one(f"SELECT count() FROM {table} WHERE organization = ORG") == (0,), table
    assert await world.one("SELECT sum(plays) FROM retention_days FINAL WHERE organization = ORG AND second = 0") == (
        1,
    )
    assert await world.erasure.erase_viewer(world.organization, "g") == 0
    late = gone.events()[2]
    late.event_id = gone.events()[3].event_id[:-1] + b"!"
    await world.sink.take([batch(TELEMETRY, [gone.record([late])])])
    assert await world.erasure.look_again() == 1
    await world.rollups.round()
    await world.agrees()
    assert await world.one("SELECT count() FROM events WHERE organization = ORG") == (7,)


async def beside(world: World, session: bytes, now: int) -> None:
    """Insert an exposure, a decision and a delivery of a session."""
    exposure = ExposureRecord(
        time_ms=now, organization=world.organization, session=session, unit=b"u" * 16, experiment="e", arm="a"
    )
    decision = LicenseDecision(
        id=IDS.new(),
        session=f"organizations/{world.organization}/sessions/{uuid.UUID(bytes=session)}",
        viewer="users/1",
        client_address="192.0.2.1",
        granted=True,
        key_system=LicenseDecision.KEY_SYSTEM_WIDEVINE,
        key_ids=[b"k" * 16],
    )
    decision.time.FromMilliseconds(now)
    delivery = Delivery(delivery_id=b"d" * 16, request_time_ms=now, organization=world.organization, session=session)
    record = DeliveryRecord(received_time_ms=now, cdn="edge", deliveries=[delivery])
    await world.sink.take(
        [
            batch(EXPOSURES, [exposure.SerializeToString()]),
            batch(DECISIONS, [decision.SerializeToString()]),
            batch(DELIVERIES, [record.SerializeToString()]),
        ]
    )


async def test_records_beside_telemetry_have_their_tables(world: World) -> None:
    session = uuid.uuid4().bytes
    now = ago(0)
    await beside(world, session, now)
    await beside(world, session, now)
    assert await world.one(
        "SELECT toString(key_system), granted, lower(hex(session_id)), lower(hex(key_ids[1])),"
        " toUnixTimestamp(time) > now() - 60 FROM licenses WHERE organization = ORG LIMIT 1"
    ) == ("WIDEVINE", True, session.hex(), b"k".hex() * 16, 1)
    assert await world.one("SELECT count(), any(cdn) FROM deliveries FINAL WHERE organization = ORG") == (1, "edge")
    assert await world.one("SELECT count(), any(arm) FROM exposures FINAL WHERE organization = ORG") == (1, "a")
    names = {
        row[0] for row in await world.ask("SELECT name FROM system.columns WHERE table = 'licenses' AND ORG = ORG")
    }
    assert not names & {"viewer", "client_address"}


async def test_an_organization_is_forgotten_and_begins_anew(world: World) -> None:
    await world.take(world.viewing(ago(5 * MINUTE)), world.viewing(ago(40 * DAY)))
    await world.rollups.round()
    assert await world.erasure.erase_organization(world.organization) == 14
    for table in ("events", "sessions", "receipts", "minutes", "hours", "days", "facets_days", "retention_days"):
        assert await world.one(f"SELECT count() FROM {table} WHERE organization = ORG") == (0,), table
    await world.take(world.viewing(int(time.time() * 1000) + 1000, beats=1))
    await world.rollups.round()
    assert await world.erasure.look_again() == 0
    assert await world.one("SELECT sum(views) FROM days FINAL WHERE organization = ORG") == (1,)


async def test_an_erasure_that_was_cut_off_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.take(world.viewing(ago(5 * MINUTE), viewer=b"g" * 16), world.viewing(ago(5 * MINUTE)))
    await world.rollups.round()
    run = world.warehouse.run

    async def dying(statement: Any, *arguments: Any) -> None:
        if "INSERT INTO `dirty`" in str(statement.compile()) or "INSERT INTO dirty" in str(statement.compile()):
            raise KeyboardInterrupt
        await run(statement, *arguments)

    monkeypatch.setattr(world.warehouse, "run", dying)
    with pytest.raises(KeyboardInterrupt):
        await world.erasure.erase_viewer(world.organization, "g")
    monkeypatch.undo()
    another = World(world.warehouse)
    await another.erasure.look_again()
    await world.agrees()
    assert await world.one("SELECT sum(views) FROM minutes FINAL WHERE organization = ORG") == (1,)


async def test_an_audit_waits_for_what_has_arrived(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reelmesh.analytics.audit.WAIT_SECONDS", 0.1)
    world.arrived_ms = ago(HOUR)
    await world.rollups.round()
    with pytest.raises(RollupBehind) as behind:
        await world.audit.figures(world.organization)
    assert behind.value.retry_after == timedelta(seconds=1)
