"""A door over memory, tokens as playback signs them, and events as a player makes them."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from reelmesh.mesh.keys import KeyRing
from reelmesh.mesh.pseudonyms import Pseudonyms
from reelmesh.telemetry.countries import Countries
from reelmesh.telemetry.door import Door
from reelmesh.telemetry.errors import BrokerUnavailable
from reelmesh.telemetry.model import Outcome, Place, Sent, encoded
from reelmesh.telemetry.records import Records
from reelmesh.telemetry.sampling import Sampling
from reelmesh.telemetry.tokens import Tokens
from reelmesh.telemetry.v1.event_pb2 import EVENT_TYPE_HEARTBEAT, PLAYER_STATE_PLAYING, TelemetryEvent
from reelmesh.telemetry.v1.record_pb2 import TelemetryRecord
from reelmesh.telemetry.v1.telemetry_service_pb2 import CONSENT_GRANTED, ReportRequest
from reelmesh.telemetry.wire import Events

KEYS = KeyRing({"1": ec.generate_private_key(ec.SECP256R1())})
PSEUDONYMS = Pseudonyms(b"k" * 32)
VIDEO = "organizations/acme/videos/0198c0de-0000-7000-8000-000000000001"
SESSION = "organizations/acme/sessions/0198c0de-0000-7000-8000-0000000000aa"
SESSION_ID = uuid.UUID(SESSION.rpartition("/")[2]).bytes
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)
PLACE = Place("81.2.69.142", CHROME)


def uuid7(time_ms: int) -> bytes:
    """Make an id of a time."""
    made = bytearray(time_ms.to_bytes(6) + os.urandom(10))
    made[6] = made[6] & 0x0F | 0x70
    made[8] = made[8] & 0x3F | 0x80
    return bytes(made)


def event(sequence: int = 0, time_ms: int = NOW_MS, **fields: Any) -> TelemetryEvent:
    """Make an event that is as it should be, but for what `fields` say."""
    good: dict[str, Any] = {
        "event_id": uuid7(time_ms),
        "event_time_ms": time_ms,
        "sequence": sequence,
        "type": EVENT_TYPE_HEARTBEAT,
        "state": PLAYER_STATE_PLAYING,
        "watch_ms": 10_000,
        "watch_total_ms": 10_000 * (sequence + 1),
        "position_ms": 10_000 * (sequence + 1),
        "bitrate_kbps": 3000,
        "playback_rate": 1.0,
        "rendition": "720p",
    }
    return TelemetryEvent(**{**good, **fields})


def token(**claims: Any) -> str:
    """Sign a token as playback does, but for what `claims` say."""
    good = {
        "iss": "reelmesh.playback",
        "aud": "telemetry",
        "sub": SESSION,
        "exp": int((NOW + timedelta(hours=26)).timestamp()),
        "video": VIDEO,
        "viewer": "users/ann",
        "country": "",
        "experiments": ["skin:dark", "abr:fast"],
    }
    return KEYS.sign({**good, **claims})


def batch(*events: TelemetryEvent, **fields: Any) -> ReportRequest:
    """Make a request with a good token."""
    good: dict[str, Any] = {"token": token(), "consent": CONSENT_GRANTED}
    return ReportRequest(events=events, **{**good, **fields})


def events_of(*events: TelemetryEvent) -> Events:
    """Encode events as they are sent."""
    return Events(encoded(ReportRequest(events=events)))


class SetClock:
    """A clock that stands."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time


class MemoryBroker:
    """Topics in a list; refuses while it is away."""

    def __init__(self) -> None:
        self.published: list[tuple[str, str, bytes]] = []
        self.away = False

    async def confirm(self, topic: str, key: str, *values: bytes) -> None:
        if self.away:
            raise BrokerUnavailable("away")
        self.published += [(topic, key, value) for value in values]

    def records(self) -> list[TelemetryRecord]:
        return [TelemetryRecord.FromString(value) for _, _, value in self.published]


@dataclass
class World:
    """A door, and what is on the topic behind it."""

    sampling: float = 1.0
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    clock: SetClock = field(default_factory=SetClock)

    def __post_init__(self) -> None:
        self.tokens = Tokens(KEYS, PSEUDONYMS.of, self.clock)
        sampling = Sampling(self.sampling)
        self.door = Door(self.tokens, sampling, Records(Countries(), sampling.weight), self.broker, self.clock, "topic")

    async def report(self, request: ReportRequest, place: Place = PLACE) -> Outcome:
        return await self.door.report(Sent(encoded(request), TelemetryRecord.SOURCE_REPORT, place))
