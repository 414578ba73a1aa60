"""Viewings as the warehouse takes them in, for tests of what is made of them."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from google.protobuf.message import Message

from reelmesh.analytics.columns import STREAMS
from reelmesh.analytics.rollups import Rollups
from reelmesh.analytics.sink import arrival_tail, framed, mark, settings_of
from reelmesh.mesh.clock import SystemClock
from reelmesh.stores.warehouse import Warehouse
from reelmesh.telemetry.v1.event_pb2 import EventType, TelemetryEvent
from reelmesh.telemetry.v1.record_pb2 import TelemetryRecord


def id_of(time: datetime, *what: object) -> bytes:
    """Return the UUID of version 7 that something at a time always has."""
    digest = bytearray(hashlib.sha256(repr(what).encode()).digest()[:10])
    digest[0] = 0x70 | digest[0] & 0x0F
    digest[2] = 0x80 | digest[2] & 0x3F
    return int(time.timestamp() * 1000).to_bytes(6, "big") + bytes(digest)


@dataclass(frozen=True, slots=True)
class Viewing:
    """A viewing; `what` tells it from others of the same time."""

    organization: str
    time: datetime
    what: object
    video: str = "v1"
    viewer: bytes = bytes(16)
    startup_ms: int = 400
    watch_ms: int = 60_000
    stall_ms: int = 0
    failed: bool = False
    exited: bool = False
    weight: int = 1
    experiments: Sequence[str] = field(default_factory=tuple)
    country: str = "DE"
    cdn: str = ""

    @property
    def session(self) -> bytes:
        """Return its id."""
        return id_of(self.time, self.organization, self.what)

    def record(self) -> TelemetryRecord:
        """Return what its player would have sent."""
        time_ms = int(self.time.timestamp() * 1000)
        kinds = [EventType.EVENT_TYPE_REQUESTED]
        if self.exited:
            kinds.append(EventType.EVENT_TYPE_EXITED_BEFORE_START)
        elif self.failed:
            kinds.append(EventType.EVENT_TYPE_FAILED)
        else:
            kinds += [EventType.EVENT_TYPE_STARTED, EventType.EVENT_TYPE_ENDED]
        record = TelemetryRecord(
            received_time_ms=time_ms,
            organization=self.organization,
            video=self.video,
            session=self.session,
            viewer=self.viewer,
            weight=self.weight,
            experiments=self.experiments,
            country=self.country,
        )
        for sequence, kind in enumerate(kinds):
            event = TelemetryEvent(
                event_id=id_of(self.time, self.session, sequence),
                event_time_ms=time_ms,
                sequence=sequence,
                type=kind,
                cdn=self.cdn,
            )
            if kind == EventType.EVENT_TYPE_STARTED:
                event.startup_ms = self.startup_ms
            if kind == EventType.EVENT_TYPE_ENDED:
                event.watch_ms = event.watch_total_ms = self.watch_ms
                event.stall_ms = event.stall_total_ms = self.stall_ms
            record.events.append(event)
        return record


class At:
    """A clock that stands where it is put."""

    def __init__(self, time: datetime) -> None:
        self.time = time

    def now(self) -> datetime:
        return self.time


async def watch(warehouse: Warehouse, viewings: Sequence[Viewing], first: int) -> None:
    """Let viewings arrive and be counted, as the sink does; `first` is another one for each batch."""
    await arrive(warehouse, "events", (each.record() for each in viewings), first)
    await warehouse.run(mark([(0, first)], uuid.uuid4()))
    clock = SystemClock()
    rollups = Rollups(warehouse, clock, arrived_ms=lambda: None, leads=lambda: True, seconds=1, events_days=90)
    await rollups.round()


async def arrive(warehouse: Warehouse, stream: str, records: Iterable[Message], first: int) -> None:
    """Insert records as the sink does; `first` is another one for each batch."""
    batch = framed([record.SerializeToString() for record in records], arrival_tail(0, first))
    settings = {**settings_of(STREAMS[stream]), "insert_deduplication_token": f"{stream}-{first}"}
    await warehouse.insert(STREAMS[stream].arrivals, batch, "Protobuf", settings)
