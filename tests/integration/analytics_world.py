"""An audience whose every event is known, so that reports can be held against plain counting."""

from __future__ import annotations

import io
import itertools
import random
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from google.protobuf.proto import serialize_length_prefixed
from sqlalchemy import func, literal, select

from reelmesh.analytics.columns import EVENTS, STREAMS, format_schema
from reelmesh.analytics.rollups import Rollups
from reelmesh.analytics.schema import DIRTY
from reelmesh.mesh.clock import Clock
from reelmesh.stores.warehouse import Warehouse
from reelmesh.telemetry.v1 import event_pb2 as events
from reelmesh.telemetry.v1.record_pb2 import TelemetryRecord

ODD = 'it\'s \\ "odd" %s {x}'
VIDEOS = [f"0198c0de-0000-7000-8000-{number:012x}" for number in range(4)]
COUNTRIES = ["DE", "FR", "US", ""]
DEVICES = ["desktop", "mobile", "tv"]
RENDITIONS = ["720p", "1080p"]
CDNS = ["", "one", ODD]
EXPERIMENTS: list[list[str]] = [[], ["buffer:long"], ["buffer:short", f"odd:{ODD}"]]


@dataclass(frozen=True, slots=True)
class Fact:
    """One event, and the record that it came in."""

    record: TelemetryRecord
    event: events.TelemetryEvent

    @property
    def weight(self) -> int:
        return self.record.weight

    @property
    def time(self) -> datetime:
        return datetime.fromtimestamp(self.event.event_time_ms / 1000, UTC)

    @property
    def player(self) -> str:
        return f"{self.record.player} {self.record.player_version}"


@dataclass(slots=True)
class Audience:
    """Viewings of one organization."""

    organization: str
    records: list[TelemetryRecord] = field(default_factory=list)

    def facts(self) -> list[Fact]:
        """Every event once."""
        found = {event.event_id: Fact(record, event) for record in self.records for event in record.events}
        return list(found.values())

    def viewings(self) -> dict[str, list[Fact]]:
        """Events by session, in the order of their sequence."""
        ordered = sorted(self.facts(), key=lambda fact: (fact.record.session, fact.event.sequence))
        grouped = itertools.groupby(ordered, key=lambda fact: str(uuid.UUID(bytes=fact.record.session)))
        return {session: list(facts) for session, facts in grouped}


def uuid7(milliseconds: int, chance: random.Random) -> bytes:
    value = milliseconds << 80 | 0x7 << 76 | chance.getrandbits(12) << 64 | 0x2 << 62 | chance.getrandbits(62)
    return value.to_bytes(16)


def audience(organization: str, viewings: int, start: datetime, seconds: int, seed: int = 1) -> Audience:
    """Make viewings that begin within `seconds` of `start`; some come twice, and some events are lost."""
    chance = random.Random(seed)  # noqa: S311 - the same audience every time
    made = Audience(organization)
    for _ in range(viewings):
        begun = int(start.timestamp() * 1000) + chance.randrange(seconds * 1000)
        record = TelemetryRecord(
            received_time_ms=begun + 120_000,
            organization=organization,
            video=chance.choice(VIDEOS),
            session=uuid7(begun, chance),
            viewer=b"" if chance.random() < 0.2 else chance.randrange(1, 60).to_bytes(16),
            country=chance.choice(COUNTRIES),
            device=chance.choice(DEVICES),
            operating_system="Android",
            browser="Chrome",
            player="web",
            player_version=chance.choice(["1.0", ODD]),
            experiments=chance.choice(EXPERIMENTS),
            weight=chance.choice([1, 1, 1, 5]),
            source=TelemetryRecord.SOURCE_REPORT,
        )
        record.events.extend(_events(begun, chance))
        made.records += [record, record] if chance.random() < 0.1 else [record]
    return made


def _events(begun: int, chance: random.Random) -> Iterator[events.TelemetryEvent]:
    fate = chance.choice(["watched"] * 6 + ["failed", "failed early", "exited"])
    numbers = itertools.count()
    totals = dict.fromkeys(["watch", "stall", "stalls", "switches", "dropped_frames", "media_bytes", "upscaled"], 0)
    time, position = begun, 0
    cdn = chance.choice(CDNS)

    def event(kind: events.EventType.ValueType, **told: Any) -> events.TelemetryEvent:
        message = events.TelemetryEvent(
            event_id=uuid7(time, chance), event_time_ms=time, sequence=next(numbers), type=kind, cdn=cdn, **told
        )
        message.watch_total_ms, message.stall_total_ms = totals["watch"], totals["stall"]
        message.upscaled_total_ms, message.stalls_total = totals["upscaled"], totals["stalls"]
        message.switches_total, message.media_bytes_total = totals["switches"], totals["media_bytes"]
        message.dropped_frames_total = totals["dropped_frames"]
        return message

    yield event(events.EVENT_TYPE_REQUESTED, state=events.PLAYER_STATE_STARTING)
    startup = chance.randrange(50, 9000)
    time += startup
    if fate == "exited":
        yield event(events.EVENT_TYPE_EXITED_BEFORE_START)
        return
    if fate == "failed early":
        yield event(events.EVENT_TYPE_FAILED, state=events.PLAYER_STATE_FATAL, error_code="1001")
        return
    rendition = chance.choice(RENDITIONS)
    yield event(events.EVENT_TYPE_STARTED, state=events.PLAYER_STATE_PLAYING, startup_ms=startup, rendition=rendition)
    for _ in range(chance.randrange(1, 12)):
        watch, stall = chance.randrange(1000, 10_000), chance.choice([0, 0, 0, 700])
        switched = chance.random() < 0.2
        rendition = chance.choice(RENDITIONS) if switched else rendition
        added = {
            "watch": watch,
            "stall": stall,
            "stalls": int(stall > 0),
            "switches": int(switched),
            "dropped_frames": chance.randrange(3),
            "media_bytes": chance.randrange(10**6, 10**7),
            "upscaled": watch // 2 if rendition == "720p" else 0,
        }
        for name, value in added.items():
            totals[name] += value
        time += watch + stall
        beat = event(
            events.EVENT_TYPE_HEARTBEAT,
            state=events.PLAYER_STATE_PLAYING,
            watch_ms=watch,
            stall_ms=stall,
            stalls=added["stalls"],
            switches=added["switches"],
            dropped_frames=added["dropped_frames"],
            media_bytes=added["media_bytes"],
            upscaled_ms=added["upscaled"],
            watched_from_ms=position,
            position_ms=position + watch,
            bitrate_kbps=3000 if rendition == "720p" else 6000,
            rendition=rendition,
        )
        position += watch
        if chance.random() < 0.97:  # the others are lost on their way
            yield beat
    if fate == "failed":
        yield event(events.EVENT_TYPE_FAILED, state=events.PLAYER_STATE_FATAL, error_code="3016", rendition=rendition)
    elif chance.random() < 0.8:
        yield event(events.EVENT_TYPE_ENDED, state=events.PLAYER_STATE_ENDED, rendition=rendition)


async def arrive(warehouse: Warehouse, records: Iterable[TelemetryRecord]) -> None:
    """Insert records as the sink does."""
    stream = STREAMS["events"]
    data = io.BytesIO()
    for record in records:
        serialize_length_prefixed(record, data)
    settings = {
        "format_schema_source": "string",
        "format_schema": format_schema(stream),
        "format_schema_message_name": stream.message.name,
    }
    await warehouse.insert(stream.arrivals, data.getvalue(), "Protobuf", settings)


def total(facts: Sequence[Fact], value: Callable[[events.TelemetryEvent], int]) -> int:
    """Sum what events tell, each as often as its weight says."""
    return sum(fact.weight * value(fact.event) for fact in facts)


def happened(facts: Sequence[Fact], kind: events.EventType.ValueType) -> int:
    """Count events of a kind, each as often as its weight says."""
    return total(facts, lambda event: int(event.type == kind))


async def counted(warehouse: Warehouse, clock: Clock) -> None:
    """Have all minutes of all events counted anew, as the roll-ups do."""
    marked = select(
        EVENTS.c.organization, EVENTS.c.minute, func.generateUUIDv4(), func.now64(3, "UTC"), literal(0)
    ).distinct()
    await warehouse.run(DIRTY.insert().from_select([column.name for column in DIRTY.columns], marked))
    await Rollups(warehouse, clock, lambda: None, lambda: True, 1.0, 90).round()
