"""Telemetry by the million: viewings that were played once, and are stamped with new ids and times for every session.

To build an event costs more than the platform takes to accept it. Here it is built once; a copy differs in 22 bytes,
whose places are known: the id, and the time, which takes six bytes from 2004 on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reelmesh.analytics.sink import varint
from reelmesh.telemetry.v1.event_pb2 import EventType, TelemetryEvent
from reelmesh.telemetry.v1.telemetry_service_pb2 import ReportRequest
from reelmesh_tools.simulate.model import audience
from reelmesh_tools.simulate.player import Film, Rung

EVENTS_FIELD = ReportRequest.EVENTS_FIELD_NUMBER
"""Number of the events in a ReportRequest, and in a TelemetryRecord."""
_LENGTH_DELIMITED = 2
_ID_BYTES, _TIME_BYTES = 16, 6
_ID_AT, _TIME_AT = 2, 19
"""Where an event's id and time lie in it: behind the tags of fields 1 (with its length) and 2."""
_SOME_MS = 1_790_000_000_000
FILM = Film("organizations/default/videos/stencil", 4 * 3_600_000, (Rung(480, 1400), Rung(720, 2800), Rung(1080, 5000)))
"""What is watched: long, so that there are many events to a viewing."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What some events count."""

    events: int = 0
    views: int = 0
    watch_ms: int = 0
    stall_ms: int = 0

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            self.events + other.events,
            self.views + other.views,
            self.watch_ms + other.watch_ms,
            self.stall_ms + other.stall_ms,
        )

    @classmethod
    def of(cls, events: Sequence[TelemetryEvent]) -> Figures:
        """Count different events."""
        return cls(
            len(events),
            sum(event.type == EventType.EVENT_TYPE_REQUESTED for event in events),
            sum(event.watch_ms for event in events),
            sum(event.stall_ms for event in events),
        )


@dataclass(frozen=True, slots=True)
class Stencil:
    """Events of one viewing that go into one batch."""

    figures: Figures
    """What they count."""
    times: NDArray[np.int64]
    """When each happened, in ms since the viewing began."""
    _bytes: NDArray[np.uint8] = field(repr=False)
    _starts: NDArray[np.int64] = field(repr=False)
    """Where each event begins, as a field of a ReportRequest; and the end."""
    _ids: NDArray[np.int64] = field(repr=False)
    _times: NDArray[np.int64] = field(repr=False)

    @classmethod
    def cut(cls, events: Sequence[TelemetryEvent]) -> Stencil:
        """Make a stencil of events without ids, whose times are since the viewing began."""
        whole = bytearray()
        starts, bodies = [], []
        for event in events:
            copy = TelemetryEvent()
            copy.CopyFrom(event)
            copy.event_id, copy.event_time_ms = bytes(_ID_BYTES - 1) + b"\1", _SOME_MS
            body = copy.SerializeToString(deterministic=True)
            starts.append(len(whole))
            whole += varint(EVENTS_FIELD << 3 | _LENGTH_DELIMITED) + varint(len(body))
            bodies.append(len(whole))
            whole += body
        at = np.array(bodies, np.int64)[:, None]
        return cls(
            Figures.of(events),
            np.array([event.event_time_ms for event in events], np.int64),
            np.frombuffer(bytes(whole), np.uint8),
            np.array([*starts, len(whole)], np.int64),
            at + _ID_AT + np.arange(_ID_BYTES),
            at + _TIME_AT + np.arange(_TIME_BYTES),
        )

    def stamp(self, times: NDArray[np.int64], chance: np.random.Generator) -> bytes:
        """Return the events as fields of a ReportRequest, each with its time (ms since 1970) and an id of its own."""
        made = self._bytes.copy()
        ids = np.empty((len(times), _ID_BYTES), np.uint8)
        ids[:, :6] = times.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 2:]
        ids[:, 6:] = chance.integers(0, 256, (len(times), 10), np.uint8)
        ids[:, 6] = ids[:, 6] & 0x0F | 0x70
        ids[:, 8] = ids[:, 8] & 0x3F | 0x80
        made[self._ids] = ids
        sevens = (times[:, None] >> (7 * np.arange(_TIME_BYTES))) & 0x7F
        sevens[:, :-1] |= 0x80
        made[self._times] = sevens
        return made.tobytes()

    def one(self, stamped: bytes, index: int) -> bytes:
        """Return one event of those that were stamped, again as a field of a ReportRequest."""
        return stamped[self._starts[index] : self._starts[index + 1]]


def stencils(seed: int, count: int, batch: int, batches: int) -> list[list[Stencil]]:
    """Return so many different viewings, each cut into so many batches of so many events. Raises ValueError."""
    return [
        [Stencil.cut(events[start : start + batch]) for start in range(0, batch * batches, batch)]
        for events, _ in zip(_long(seed, batch * batches), range(count), strict=False)
    ]


def _long(seed: int, events: int) -> Iterator[list[TelemetryEvent]]:
    """Yield viewings with so many events, the rest of them left out."""
    for part in range(1000):
        for viewing in audience(seed + part, 50, 60, [FILM]):
            told = viewing.events()
            if len(told) >= events:
                yield told[:events]
    raise ValueError(f"nobody watches for {events} events")
