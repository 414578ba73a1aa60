"""Events judged where they lie: what is passed at a glance is what the contract's own reader would pass."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from telemetry_fakes import NOW_MS, event, events_of, uuid7

from reelmesh.telemetry import validation
from reelmesh.telemetry.v1.encoded_pb2 import EncodedReport
from reelmesh.telemetry.v1.event_pb2 import EventType, PlayerState, TelemetryEvent
from reelmesh.telemetry.validation import LATE_MS, MOST, MOST_CHARACTERS, SKEW_MS, Refused, judge
from reelmesh.telemetry.wire import Events, plain

UNKNOWN = b"\xfa\x3e\x03new"
"""A field, 1007, that no event has yet."""


def sent(*events: bytes) -> Events:
    return Events(EncodedReport(events=events))


def glance(events: Events) -> list[bool]:
    sequences = np.empty(len(events), np.int64)
    oldest, newest = NOW_MS - LATE_MS, NOW_MS + SKEW_MS
    found = plain(
        events.bytes, events.starts, events.ends, validation._WAYS, validation._MOST, oldest, newest, sequences
    )
    for index in np.flatnonzero(found).tolist():
        assert events.read(index).sequence == sequences[index]
    return [bool(each) for each in found]


def full() -> TelemetryEvent:
    """Return an event with a value in every field."""
    values: dict[str, Any] = {**dict.fromkeys(MOST, 7), **dict.fromkeys(MOST_CHARACTERS, "text")}
    return event(5, **values)


def damaged(chance: random.Random) -> Iterator[bytes]:
    """Yield events of which a few bytes are others, are missing, or came in between."""
    while True:
        made = bytearray(full().SerializeToString())
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(made))
            match chance.randrange(3):
                case 0:
                    made[at] = chance.randrange(256)
                case 1:
                    del made[at : at + chance.randint(1, 4)]
                case _:
                    made[at:at] = chance.randbytes(chance.randint(1, 4))
        yield bytes(made)


def test_what_players_send_is_passed_at_a_glance() -> None:
    assert glance(events_of(full(), event(0), event(1, time_ms=NOW_MS - LATE_MS))) == [True] * 3


def test_what_is_passed_at_a_glance_is_passed_field_by_field() -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    passed = refused = 0
    making = damaged(chance)
    for _ in range(40):
        events = sent(*(next(making) for _ in range(250)))
        for index, good in enumerate(glance(events)):
            looked = validation._looked_at(events, index, NOW_MS - LATE_MS, NOW_MS + SKEW_MS)
            assert not good or not isinstance(looked, Refused)
            passed += good
            refused += isinstance(looked, Refused)
    assert passed > 100
    assert refused > 1000


def test_events_keep_what_a_newer_contract_says_of_them() -> None:
    newer = event(3).SerializeToString() + UNKNOWN
    events = sent(newer)
    assert glance(events) == [False]
    assert judge(events, NOW_MS, 0).sequences == [3]
    assert events.without([]).endswith(newer)


def test_an_event_that_is_none_costs_the_others_nothing() -> None:
    broken = event(1).SerializeToString()[:-3]
    no_text = event(2).SerializeToString() + b"\xea\x01\x02\xff\xff"
    verdict = judge(sent(event(0).SerializeToString(), broken, no_text, event(3).SerializeToString()), NOW_MS, 0)
    assert list(verdict.refused) == [Refused(1, "VALUE_UNREADABLE"), Refused(2, "VALUE_UNREADABLE")]
    assert list(verdict.sequences) == [0, 3]


def test_of_a_field_that_is_written_twice_the_last_counts() -> None:
    twice = event(4).SerializeToString() + TelemetryEvent(sequence=9).SerializeToString()
    other = event(4).SerializeToString() + TelemetryEvent(event_id=uuid7(NOW_MS - 5)).SerializeToString()
    verdict = judge(sent(twice, other), NOW_MS, 0)
    assert list(verdict.sequences) == [9]
    assert list(verdict.refused) == [Refused(1, "EVENT_ID_INVALID", "event_id")]


@pytest.mark.parametrize("left_out", [(), (0,), (4,), (1, 2), (0, 1, 2, 3, 4)])
def test_events_can_be_left_out(left_out: tuple[int, ...]) -> None:
    made = [event(sequence, rendition="x" * 60 * (sequence % 2)) for sequence in range(5)]
    kept = EncodedReport.FromString(events_of(*made).without(left_out))
    expected = [each.SerializeToString() for index, each in enumerate(made) if index not in left_out]
    assert list(kept.events) == expected


def test_kinds_and_states_leave_no_number_out() -> None:
    """A glance knows only the largest of them."""
    for values in (EventType.values(), PlayerState.values()):
        assert sorted(values) == list(range(len(values)))
