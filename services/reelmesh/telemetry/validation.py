"""What an event must be, event by event: a wrong one is refused with a stable reason, the others are taken.

This is the hottest code of the platform, a loop over every event of every player. Reading a field costs more than
comparing it, so each is read once: numbers are put together by OR, which shows a negative one and one that is large at
once, and only an event that is conspicuous is looked at field by field.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from reelmesh.telemetry.v1.event_pb2 import EventType, PlayerState, TelemetryEvent

SKEW_MS = 5 * 60_000
"""How far a player's clock may be off."""
LATE_MS = 24 * 3_600_000
"""How old an event may be."""
DAY_MS = 24 * 3_600_000
WEEK_MS = 7 * DAY_MS
MOST_SEQUENCE = (1 << 32) - 1
ID_BYTES = 16

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

SMALL = ("stalls", "switches", "dropped_frames", "stalls_total", "switches_total", "dropped_frames_total", "height")
LARGE = ("media_bytes", "media_bytes_total", "watched_from_ms", "position_ms")
SMALL_BITS, MIDDLE_BITS, LARGE_BITS = 16, 23, 42
"""Numbers of SMALL, the others, and those of LARGE with no more bits than these are within their bounds."""
_TEXT = 64
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


def judge(events: Sequence[TelemetryEvent], now_ms: int, sent_ms: int) -> Verdict:
    """Judge the events of a batch. `sent_ms` is when the player says that it sent it, 0 if it does not."""
    if sent_ms and abs(sent_ms - now_ms) > SKEW_MS:
        return Verdict([Refused(index, "CLOCK_SKEWED", "sent_time_ms") for index in range(len(events))], ())
    oldest, newest = now_ms - LATE_MS, now_ms + SKEW_MS
    refused: list[Refused] = []
    sequences: list[int] = []
    for index, event in enumerate(events):
        id_, time, sequence = event.event_id, event.event_time_ms, event.sequence
        if not (
            oldest <= time <= newest
            and len(id_) == ID_BYTES
            and int.from_bytes(id_[:6]) == time
            and id_[6] >> 4 == 7
            and id_[8] >> 6 == 2
            and 0 <= sequence <= MOST_SEQUENCE
            and event.type in _TYPES
            and _plain(event)
        ):
            found = _problem(event, oldest, newest)
            if found:
                refused.append(Refused(index, *found))
                continue
        sequences.append(sequence)
    if len(set(sequences)) < len(sequences):
        return _repeated(events, refused)
    return Verdict(refused, sequences)


def _plain(event: TelemetryEvent) -> bool:
    """Say whether no number is conspicuous and no text long. Numbers of like size stand together."""
    return not (
        (
            event.stalls
            | event.switches
            | event.dropped_frames
            | event.stalls_total
            | event.switches_total
            | event.dropped_frames_total
            | event.height
        )
        >> SMALL_BITS
        or (
            event.watch_ms
            | event.stall_ms
            | event.upscaled_ms
            | event.startup_ms
            | event.buffer_ms
            | event.bitrate_kbps
            | event.top_bitrate_kbps
            | event.throughput_kbps
            | event.watch_total_ms
            | event.stall_total_ms
            | event.upscaled_total_ms
        )
        >> MIDDLE_BITS
        or (event.media_bytes | event.media_bytes_total | event.watched_from_ms | event.position_ms) >> LARGE_BITS
        or not 0 <= event.playback_rate <= MOST_RATE
        or len(event.rendition) > _TEXT
        or len(event.cdn) > _TEXT
        or len(event.error_code) > _TEXT
        or event.state not in _STATES
    )


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


def _repeated(events: Sequence[TelemetryEvent], refused: Sequence[Refused]) -> Verdict:
    """Refuse also what has the sequence of an earlier event of the batch, and is another one."""
    by_index = {each.index: each for each in refused}
    first: dict[int, bytes] = {}
    for index, event in enumerate(events):
        if index not in by_index and first.setdefault(event.sequence, event.event_id) != event.event_id:
            by_index[index] = Refused(index, "SEQUENCE_REPEATED", "sequence")
    taken = [event.sequence for index, event in enumerate(events) if index not in by_index]
    return Verdict([by_index[index] for index in sorted(by_index)], taken)
