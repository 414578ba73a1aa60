"""What an event must be, event by event: a wrong one is refused with a stable reason, the others are taken."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from reelmesh.telemetry.v1.event_pb2 import EventType, PlayerState, TelemetryEvent
from reelmesh.telemetry.wire import ID_BYTES, Events, plain, ways

SKEW_MS = 5 * 60_000
"""How far a player's clock may be off."""
LATE_MS = 24 * 3_600_000
"""How old an event may be."""
DAY_MS = 24 * 3_600_000
WEEK_MS = 7 * DAY_MS
MOST_SEQUENCE = (1 << 32) - 1

MOST: Mapping[str, int] = {
    "watch_ms": DAY_MS,
    "stall_ms": DAY_MS,
    "stalls": 1_000_000,
    "switches": 1_000_000,
    "dropped_frames": 100_000_000,
    "media_bytes": 1 << 42,
    "upscaled_ms": DAY_MS,
    "watch_total_ms": WEEK_MS,
    "stall_total_ms": WEEK_MS,
    "stalls_total": 1_000_000,
    "switches_total": 1_000_000,
    "dropped_frames_total": 1_000_000_000,
    "media_bytes_total": 1 << 46,
    "upscaled_total_ms": WEEK_MS,
    "watched_from_ms": 1 << 42,
    "position_ms": 1 << 42,
    "bitrate_kbps": 10_000_000,
    "top_bitrate_kbps": 10_000_000,
    "buffer_ms": DAY_MS,
    "throughput_kbps": 1_000_000_000,
    "height": 65_536,
    "startup_ms": DAY_MS,
}
"""The largest that a number may be; none may be negative. A position may be a time of day, as live streams have it."""
MOST_RATE = 100.0
MOST_CHARACTERS: Mapping[str, int] = {"rendition": 64, "cdn": 64, "error_code": 64}
"""The longest that a text may be."""

_TYPES = frozenset(EventType.values()) - {EventType.EVENT_TYPE_UNSPECIFIED}
_STATES = frozenset(PlayerState.values())


@dataclass(frozen=True, slots=True)
class Refused:
    """An event that is not taken."""

    index: int
    """Its position in the batch, from 0."""
    reason: str
    """Upper snake case; the contract lists them."""
    field: str = ""
    """What is wrong with it; empty for the event as a whole."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is thought of a batch."""

    refused: Sequence[Refused]
    """By index."""
    sequences: Sequence[int]
    """Those of the events that are taken, as they came."""


def judge(events: Events, now_ms: int, sent_ms: int) -> Verdict:
    """Judge the events of a batch. `sent_ms` is when the player says that it sent it, 0 if it does not."""
    if sent_ms and abs(sent_ms - now_ms) > SKEW_MS:
        return Verdict([Refused(index, "CLOCK_SKEWED", "sent_time_ms") for index in range(len(events))], ())
    oldest, newest = now_ms - LATE_MS, now_ms + SKEW_MS
    numbers = np.empty(len(events), np.int64)
    taken = plain(events.bytes, events.starts, events.ends, _WAYS, _MOST, oldest, newest, numbers)
    refused: list[Refused] = []
    for index in np.flatnonzero(~taken).tolist():
        found = _looked_at(events, index, oldest, newest)
        if isinstance(found, Refused):
            refused.append(found)
        else:
            taken[index], numbers[index] = True, found
    sequences: list[int] = numbers[taken].tolist()
    if len(set(sequences)) < len(sequences):
        return _repeated(events, refused)
    return Verdict(refused, sequences)


def _looked_at(events: Events, index: int, oldest: int, newest: int) -> Refused | int:
    """Look at an event field by field: return why it is refused, or its sequence."""
    try:
        event = events.read(index)
    except DecodeError:
        return Refused(index, "VALUE_UNREADABLE")
    found = _problem(event, oldest, newest)
    return Refused(index, *found) if found else event.sequence


def _problem(event: TelemetryEvent, oldest: int, newest: int) -> tuple[str, str] | None:
    """Return the reason to refuse an event and the field that is wrong; None for one that may be taken after all."""
    if event.event_time_ms > newest:
        return "CLOCK_SKEWED", "event_time_ms"
    if event.event_time_ms < oldest:
        return ("EVENT_TOO_LATE" if event.event_time_ms >= 0 else "NEGATIVE"), "event_time_ms"
    id_ = event.event_id
    if len(id_) != ID_BYTES or id_[6] >> 4 != 7 or id_[8] >> 6 != 2 or int.from_bytes(id_[:6]) != event.event_time_ms:
        return "EVENT_ID_INVALID", "event_id"
    if not 0 <= event.sequence <= MOST_SEQUENCE:
        return "SEQUENCE_INVALID", "sequence"
    if event.type not in _TYPES:
        return "TYPE_UNKNOWN", "type"
    if event.state not in _STATES:
        return "TYPE_UNKNOWN", "state"
    return next(out_of_bounds(event), None)


def out_of_bounds(event: TelemetryEvent) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with an event's numbers and texts: the reason to refuse it, and the field."""
    if not math.isfinite(event.playback_rate):
        yield "NOT_FINITE", "playback_rate"
    for field, most in (*MOST.items(), ("playback_rate", MOST_RATE)):
        value = getattr(event, field)
        if value < 0:
            yield "NEGATIVE", field
        elif value > most:
            yield "OUT_OF_RANGE", field
    for field, most in MOST_CHARACTERS.items():
        if len(getattr(event, field)) > most:
            yield "TEXT_TOO_LONG", field


def _repeated(events: Events, refused: Sequence[Refused]) -> Verdict:
    """Refuse also what has the sequence of an earlier event of the batch, and is another one."""
    by_index = {each.index: each for each in refused}
    first: dict[int, bytes] = {}
    taken: list[int] = []
    for index in range(len(events)):
        if index in by_index:
            continue
        event = events.read(index)
        if first.setdefault(event.sequence, event.event_id) == event.event_id:
            taken.append(event.sequence)
        else:
            by_index[index] = Refused(index, "SEQUENCE_REPEATED", "sequence")
    return Verdict([by_index[index] for index in sorted(by_index)], taken)


def _most() -> NDArray[np.int64]:
    """Return by number what is the most that a field of an event may hold; see wire.plain."""
    made = np.zeros(len(_WAYS), np.int64)
    bounds = {
        **MOST,
        **MOST_CHARACTERS,
        "event_id": ID_BYTES,
        "event_time_ms": np.iinfo(np.int64).max,
        "sequence": MOST_SEQUENCE,
        "type": max(_TYPES),
        "state": max(_STATES),
        "playback_rate": struct.unpack("<q", struct.pack("<d", MOST_RATE))[0],
    }
    for name, most in bounds.items():
        made[TelemetryEvent.DESCRIPTOR.fields_by_name[name].number] = most
    return made


_WAYS = ways()
_MOST = _most()
