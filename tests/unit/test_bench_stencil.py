"""Stamped events are events: the door takes every one of them, and they count what their stencil says."""

from __future__ import annotations

import time

import numpy as np
import pytest

from reelmesh.telemetry.v1.encoded_pb2 import EncodedReport
from reelmesh.telemetry.v1.telemetry_service_pb2 import ReportRequest
from reelmesh.telemetry.validation import judge
from reelmesh.telemetry.wire import Events
from reelmesh_tools.bench.stencil import Figures, Stencil, stencils

NOW = time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def made() -> list[list[Stencil]]:
    return stencils(seed=3, count=3, batch=100, batches=2)


def test_what_is_stamped_is_taken_and_counts_the_same(made: list[list[Stencil]]) -> None:
    chance = np.random.default_rng(1)
    ids: set[bytes] = set()
    for viewing in made:
        sequences: list[int] = []
        for part in viewing * 2:
            times = NOW - 1000 - np.arange(100)[::-1] * 7
            stamped = part.stamp(times, chance)
            assert not judge(Events(EncodedReport.FromString(stamped)), NOW, NOW).refused
            events = ReportRequest.FromString(stamped).events
            assert [event.event_time_ms for event in events] == list(times)
            assert Figures.of(events) == part.figures
            ids.update(event.event_id for event in events)
            sequences += [event.sequence for event in events]
        assert sequences == [*range(200), *range(200)]
    assert len(ids) == 3 * 2 * 200, "every copy has ids of its own"


def test_a_viewing_keeps_its_distances_and_its_totals(made: list[list[Stencil]]) -> None:
    first, second = made[0]
    assert first.figures.views == 1
    assert second.figures.views == 0
    assert second.times[0] >= first.times[-1]
    body = second.stamp(second.times + NOW - 10_000_000, np.random.default_rng(1))
    last = ReportRequest.FromString(body).events[-1]
    assert last.watch_total_ms == (first.figures + second.figures).watch_ms
    assert last.stall_total_ms == (first.figures + second.figures).stall_ms


def test_one_event_may_be_sent_again(made: list[list[Stencil]]) -> None:
    part = made[1][0]
    stamped = part.stamp(np.full(100, NOW, np.int64), np.random.default_rng(1))
    whole = ReportRequest.FromString(stamped).events
    again = ReportRequest.FromString(part.one(stamped, 41) + part.one(stamped, 99)).events
    assert list(again) == [whole[41], whole[99]]
