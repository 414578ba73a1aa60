"""The audience: the same by the same seed, and every event as the contract's comments say, and its neighbours."""

from __future__ import annotations

from itertools import pairwise

import pytest

from reelmesh.telemetry.v1.event_pb2 import EventType, PlayerState, TelemetryEvent
from reelmesh_tools.simulate import people
from reelmesh_tools.simulate.model import Viewing, audience, batches, event_id, intensity, stamped, told_by
from reelmesh_tools.simulate.player import Film, Rung
from reelmesh_tools.simulate.sending import Tally

LADDER = (Rung(360, 800), Rung(480, 1400), Rung(720, 2800), Rung(1080, 5000))
FILMS = (Film("clip", 30_000, LADDER), Film("episode", 1_500_000, LADDER), Film("small", 90_000, LADDER[:1]))
ENDS = {
    EventType.EVENT_TYPE_ENDED,
    EventType.EVENT_TYPE_FAILED,
    EventType.EVENT_TYPE_EXITED_BEFORE_START,
}
COUNTERS = {
    "watch_ms": "watch_total_ms",
    "stall_ms": "stall_total_ms",
    "stalls": "stalls_total",
    "switches": "switches_total",
    "dropped_frames": "dropped_frames_total",
    "media_bytes": "media_bytes_total",
    "upscaled_ms": "upscaled_total_ms",
}
NOW = 1_790_000_000_000


@pytest.fixture(scope="module")
def told() -> list[tuple[Viewing, list[TelemetryEvent]]]:
    return [(viewing, viewing.events()) for viewing in audience(5, 250, 60, FILMS)]


def test_the_same_seed_is_the_same_audience() -> None:
    one, same, other = audience(1, 40, 30, FILMS), audience(1, 40, 30, FILMS), audience(2, 40, 30, FILMS)
    assert one == same
    assert [viewing.events() for viewing in one] == [viewing.events() for viewing in same]
    assert one != other
    first = one[0]
    ids = [[e.event_id for e in stamped(first.events(), NOW, first.seed)] for _ in range(2)]
    assert ids[0] == ids[1]
    sent = [[b.events for b in batches(stamped(v.events(), NOW, v.seed), NOW, v.seed, live=True)] for v in one]
    assert sent == [[b.events for b in batches(stamped(v.events(), NOW, v.seed), NOW, v.seed, live=True)] for v in same]


def test_everybody_comes_within_the_span_and_once_at_a_time() -> None:
    viewings = audience(3, 300, 45, FILMS)
    assert [v.start_ms for v in viewings] == sorted(v.start_ms for v in viewings)
    assert all(0 <= v.start_ms < 45 * 60_000 for v in viewings)
    assert len({v.viewer.name for v in viewings}) == 300
    assert len(viewings) > 300, "some watch another film"
    by_viewer: dict[str, list[Viewing]] = {}
    for viewing in viewings:
        by_viewer.setdefault(viewing.viewer.name, []).append(viewing)
    for turns in by_viewer.values():
        for before, after in pairwise(turns):
            assert before.start_ms + before.events()[-1].event_time_ms < after.start_ms


def test_a_premiere_is_crowded_and_a_day_has_an_evening() -> None:
    burst = [v.start_ms for v in audience(3, 500, 100, FILMS, burst=True)]
    assert sum(at < 100 * 60_000 * 0.25 for at in burst) > len(burst) * 0.6
    day = [v.start_ms / 3_600_000 for v in audience(3, 500, 23 * 60, FILMS)]
    assert sum(at > 17 for at in day) > 4 * sum(4 < at < 10 for at in day), "evening against night"
    assert intensity(21) == pytest.approx(1)
    assert intensity(5) == pytest.approx(0.1)


def test_totals_are_the_sums_of_what_was_added(told: list[tuple[Viewing, list[TelemetryEvent]]]) -> None:
    for _, events in told:
        for added, total in COUNTERS.items():
            running = 0
            for event in events:
                assert getattr(event, added) >= 0
                running += getattr(event, added)
                assert getattr(event, total) == running, (added, event)


def test_a_viewing_is_told_as_the_contract_says(told: list[tuple[Viewing, list[TelemetryEvent]]]) -> None:
    for _, events in told:
        kinds = [event.type for event in events]
        assert kinds[0] == EventType.EVENT_TYPE_REQUESTED
        assert [event.sequence for event in events] == list(range(len(events)))
        assert all(a.event_time_ms <= b.event_time_ms for a, b in pairwise(events))
        assert kinds.count(EventType.EVENT_TYPE_REQUESTED) == 1
        assert kinds.count(EventType.EVENT_TYPE_STARTED) <= 1
        assert not any(kind in ENDS for kind in kinds[:-1]), "nothing comes after the end"
        started = [event for event in events if event.type == EventType.EVENT_TYPE_STARTED]
        if kinds[-1] == EventType.EVENT_TYPE_EXITED_BEFORE_START:
            assert not started
        for event in started:
            assert event.startup_ms == event.event_time_ms > 0
            assert (event.watch_total_ms, event.stall_total_ms) == (0, 0)
        for event in events:
            failed = event.type in {EventType.EVENT_TYPE_ERROR, EventType.EVENT_TYPE_FAILED}
            assert bool(event.error_code) == failed
            assert bool(event.rendition) == bool(started and event.sequence >= started[0].sequence)


def test_time_is_watched_or_stalled_by_the_state_before(told: list[tuple[Viewing, list[TelemetryEvent]]]) -> None:
    for viewing, events in told:
        for before, event in pairwise(events):
            passed = event.event_time_ms - before.event_time_ms
            playing = before.state == PlayerState.PLAYER_STATE_PLAYING
            stalled = before.state == PlayerState.PLAYER_STATE_REBUFFERING
            assert event.watch_ms == (passed if playing else 0)
            assert event.stall_ms == (passed if stalled else 0)
            assert event.stalls == (event.state == PlayerState.PLAYER_STATE_REBUFFERING and not stalled)
            assert event.upscaled_ms <= event.watch_ms
            assert 0 <= event.position_ms <= viewing.film.duration_ms
            if event.watch_ms:
                moved = event.position_ms - event.watched_from_ms
                assert abs(moved - event.watch_ms * event.playback_rate) <= 2 + event.playback_rate
                assert event.watched_from_ms == before.position_ms


def test_an_audience_is_believable(told: list[tuple[Viewing, list[TelemetryEvent]]]) -> None:
    tally = Tally()
    startups: dict[str, list[int]] = {}
    for viewing, events in told:
        tally.count(events)
        startups.setdefault(viewing.viewer.network.name, []).extend(e.startup_ms for e in events if e.startup_ms)
    assert tally.views == len(told)
    assert 0.9 < tally.starts / tally.views < 1
    assert 0 < tally.failures < 0.05 * tally.views
    assert 0 < tally.exits < 0.08 * tally.views
    assert 0.0005 < tally.stall_ms / (tally.stall_ms + tally.watch_ms) < 0.05
    medians = {name: sorted(found)[len(found) // 2] for name, found in startups.items() if len(found) > 4}
    assert medians["fiber"] < medians["4g"], "a slow network starts slowly"
    assert {viewing.viewer.country for viewing, _ in told} == {country.code for country in people.COUNTRIES}


def test_a_session_may_hold_the_picture_down() -> None:
    for viewing in audience(8, 60, 30, FILMS):
        heights = {event.height for event in viewing.events(480)}
        assert heights <= {0, 360, 480}


def test_what_has_not_happened_yet_is_not_told() -> None:
    events = audience(5, 20, 30, FILMS)[0].events()
    assert told_by(events, 1) == events[:1]
    assert told_by(events, events[-1].event_time_ms + 1) == events


def test_ids_are_uuids_of_the_events_time() -> None:
    made = event_id(NOW, (1 << 74) - 1)
    assert int.from_bytes(made[:6]) == NOW
    assert (made[6] >> 4, made[8] >> 6) == (7, 2)
    ids = {event_id(NOW, noise) for noise in (0, 1, 1 << 61, 1 << 62, 1 << 73)}
    assert len(ids) == 5


@pytest.mark.parametrize("live", [False, True])
def test_all_is_sent_and_a_hundredth_of_it_again(live: bool, told: list[tuple[Viewing, list[TelemetryEvent]]]) -> None:
    sent = distinct = 0
    for viewing, events in told:
        began = NOW + viewing.start_ms
        made = stamped(events, began, viewing.seed)
        found = list(batches(made, began, viewing.seed, live=live))
        first: dict[int, TelemetryEvent] = {}
        for batch in found:
            sequences = [event.sequence for event in batch.events]
            assert len(sequences) == len(set(sequences)), "no event is twice in one batch"
            assert max(event.event_time_ms for event in batch.events) - began <= batch.due_ms
            for event in batch.events:
                assert first.setdefault(event.sequence, event) == event, "a repeat is the same event"
        assert sorted(first) == list(range(len(events)))
        assert all(a.due_ms <= b.due_ms for a, b in pairwise(found))
        sent += sum(len(batch.events) for batch in found)
        distinct += len(first)
    assert 1.003 < sent / distinct < 1.03
