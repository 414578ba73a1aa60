"""Telemetry as the door puts it on Kafka, and a batch as the sink takes it."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from reelmesh.stores.batches import Batch
from reelmesh.telemetry.v1.event_pb2 import EventType, TelemetryEvent
from reelmesh.telemetry.v1.record_pb2 import TelemetryRecord

HEARTBEAT_MS = 10_000


def uuid7(milliseconds: int, chance: random.Random | None = None) -> bytes:
    """Return an id of that time."""
    tail = bytearray(chance.randbytes(10) if chance else os.urandom(10))
    tail[0] = tail[0] & 0x0F | 0x70
    tail[2] = tail[2] & 0x3F | 0x80
    return milliseconds.to_bytes(6, "big") + bytes(tail)


@dataclass
class Viewing:
    """A viewing of `beats` heartbeats from `start_ms` on: every second beat had a stall of 100 ms."""

    start_ms: int
    organization: str = "default"
    video: str = "video"
    viewer: bytes = b""
    beats: int = 5
    session: bytes = b""
    context: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.session = self.session or uuid7(self.start_ms)

    def events(self) -> list[TelemetryEvent]:
        """Return its events."""
        found = [self._event(0, 0, EventType.EVENT_TYPE_REQUESTED)]
        found.append(self._event(1, 300, EventType.EVENT_TYPE_STARTED, startup_ms=300))
        for beat in range(1, self.beats + 1):
            stalls = beat // 2
            found.append(
                self._event(
                    beat + 1,
                    beat * HEARTBEAT_MS,
                    EventType.EVENT_TYPE_HEARTBEAT if beat < self.beats else EventType.EVENT_TYPE_ENDED,
                    watch_ms=HEARTBEAT_MS,
                    watch_total_ms=beat * HEARTBEAT_MS,
                    stall_ms=100 if beat % 2 == 0 else 0,
                    stalls=1 if beat % 2 == 0 else 0,
                    stall_total_ms=stalls * 100,
                    stalls_total=stalls,
                    watched_from_ms=(beat - 1) * HEARTBEAT_MS,
                    position_ms=beat * HEARTBEAT_MS,
                    bitrate_kbps=2000,
                )
            )
        return found

    def _event(self, sequence: int, after_ms: int, kind: EventType.ValueType, **values: Any) -> TelemetryEvent:
        time_ms = self.start_ms + after_ms
        chance = random.Random(self.session + bytes([sequence]))  # noqa: S311 - ids that come again
        event_id = uuid7(time_ms, chance)
        return TelemetryEvent(
            event_id=event_id, event_time_ms=time_ms, sequence=sequence, type=kind, rendition="720p", **values
        )

    def record(self, events: Iterable[TelemetryEvent] | None = None) -> bytes:
        """Return a record of these events, of all where none are given."""
        given: dict[str, Any] = {"country": "DE", "device": "tv", "weight": 1, "player": "web", "player_version": "1"}
        record = TelemetryRecord(
            received_time_ms=self.start_ms + 60_000,
            organization=self.organization,
            video=self.video,
            session=self.session,
            viewer=self.viewer,
            **{**given, **self.context},
        )
        record.events.extend(self.events() if events is None else events)
        return record.SerializeToString()


def batch(topic: str, values: Sequence[bytes], first: int | None = None) -> Batch:
    """Return a batch of records, in a topic of its own and at an offset of its own where none is said."""
    first = random.getrandbits(40) if first is None else first
    offsets = range(first, first + len(values))
    return Batch(topic, os.urandom(8).hex(), 0, list(offsets), list(values), 0)
