"""What an event must be: every reason to refuse one, and that the others of its batch are taken."""

from __future__ import annotations

import math
from typing import Any

import pytest
from telemetry_fakes import NOW_MS, event, events_of, uuid7

from reelmesh.telemetry.v1.event_pb2 import TelemetryEvent
from reelmesh.telemetry.validation import MOST, MOST_CHARACTERS, Refused, judge

DAY = 24 * 3_600_000
MINUTE = 60_000
AT = event().event_time_ms


def version_4() -> bytes:
    made = bytearray(uuid7(NOW_MS))
    made[6] = made[6] & 0x0F | 0x40
    return bytes(made)


def other_variant() -> bytes:
    made = bytearray(uuid7(NOW_MS))
    made[8] |= 0x40
    return bytes(made)


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"event_id": b""}, "EVENT_ID_INVALID", "event_id"),
    ({"event_id": b"short"}, "EVENT_ID_INVALID", "event_id"),
    ({"event_id": version_4()}, "EVENT_ID_INVALID", "event_id"),
    ({"event_id": other_variant()}, "EVENT_ID_INVALID", "event_id"),
    ({"event_id": uuid7(NOW_MS - 1)}, "EVENT_ID_INVALID", "event_id"),
    ({"time_ms": NOW_MS + 5 * MINUTE + 1}, "CLOCK_SKEWED", "event_time_ms"),
    ({"time_ms": NOW_MS + 3 * DAY}, "CLOCK_SKEWED", "event_time_ms"),
    ({"time_ms": NOW_MS - DAY - 1}, "EVENT_TOO_LATE", "event_time_ms"),
    ({"event_time_ms": 0}, "EVENT_TOO_LATE", "event_time_ms"),
    ({"event_time_ms": -1}, "NEGATIVE", "event_time_ms"),
    ({"sequence": -1}, "SEQUENCE_INVALID", "sequence"),
    ({"sequence": 1 << 32}, "SEQUENCE_INVALID", "sequence"),
    ({"type": 0}, "TYPE_UNKNOWN", "type"),
    ({"type": 99}, "TYPE_UNKNOWN", "type"),
    ({"state": 99}, "TYPE_UNKNOWN", "state"),
    ({"playback_rate": math.nan}, "NOT_FINITE", "playback_rate"),
    ({"playback_rate": math.inf}, "NOT_FINITE", "playback_rate"),
    ({"playback_rate": -1.0}, "NEGATIVE", "playback_rate"),
    ({"playback_rate": 101.0}, "OUT_OF_RANGE", "playback_rate"),
    *(({field: -1}, "NEGATIVE", field) for field in MOST),
    *(({field: -(1 << 63)}, "NEGATIVE", field) for field in MOST),
    *(({field: most + 1}, "OUT_OF_RANGE", field) for field, most in MOST.items()),
    *(({field: (1 << 63) - 1}, "OUT_OF_RANGE", field) for field in MOST),
    *(({field: "é" * (most + 1)}, "TEXT_TOO_LONG", field) for field, most in MOST_CHARACTERS.items()),
]


@pytest.mark.parametrize(("fields", "reason", "field"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_event_is_refused_and_its_neighbours_are_not(fields: dict[str, Any], reason: str, field: str) -> None:
    wrong = event(**{"sequence": 1, **fields})
    verdict = judge(events_of(event(0), wrong, event(2)), NOW_MS, 0)
    assert list(verdict.refused) == [Refused(1, reason, field)]
    assert list(verdict.sequences) == [0, 2]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"time_ms": NOW_MS - DAY},
        {"time_ms": NOW_MS + 5 * MINUTE},
        {"sequence": (1 << 32) - 1, "watch_total_ms": 0, "position_ms": 0},
        {"state": 0},
        {"playback_rate": 0.0},
        *({field: most} for field, most in MOST.items()),
        *({field: "é" * most} for field, most in MOST_CHARACTERS.items()),
    ],
    ids=str,
)
def test_an_event_at_its_bounds_is_taken(fields: dict[str, Any]) -> None:
    assert judge(events_of(event(**fields)), NOW_MS, 0).refused == []


def test_every_number_and_text_of_the_contract_is_judged() -> None:
    judged = {*MOST, *MOST_CHARACTERS, "event_id", "event_time_ms", "sequence", "type", "state", "playback_rate"}
    assert judged == {field.name for field in TelemetryEvent.DESCRIPTOR.fields}


def test_all_events_of_a_player_whose_clock_is_off_are_refused() -> None:
    for sent in (NOW_MS - 3 * DAY, NOW_MS - 5 * MINUTE - 1, NOW_MS + 5 * MINUTE + 1):
        verdict = judge(events_of(event(0), event(1)), NOW_MS, sent)
        assert list(verdict.refused) == [Refused(index, "CLOCK_SKEWED", "sent_time_ms") for index in (0, 1)]
        assert not verdict.sequences
    assert not judge(events_of(event(0)), NOW_MS, NOW_MS - 5 * MINUTE).refused


def test_a_sequence_is_of_one_event() -> None:
    first = event(7)
    verdict = judge(events_of(event(6), first, event(7), first, event(8)), NOW_MS, 0)
    assert list(verdict.refused) == [Refused(2, "SEQUENCE_REPEATED", "sequence")]
    assert list(verdict.sequences) == [6, 7, 7, 8]


def test_a_refused_event_does_not_occupy_its_sequence() -> None:
    verdict = judge(events_of(event(7, watch_ms=-1), event(7), event(7)), NOW_MS, 0)
    assert [(each.index, each.reason) for each in verdict.refused] == [(0, "NEGATIVE"), (2, "SEQUENCE_REPEATED")]
