"""Viewings, live counts and exports on chDB, against an audience whose every event is known."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pyarrow
import pytest
from analytics_world import ODD, Audience, Fact, arrive, audience

from reelmesh.analytics.errors import FilterInvalid, SessionUnknown, TimeRangeTooLong
from reelmesh.analytics.export import PART, Export
from reelmesh.analytics.live import Concurrents
from reelmesh.analytics.reports import Reports
from reelmesh.analytics.sessions import Outcome, Sessions, Viewing
from reelmesh.analytics.spans import Span
from reelmesh.analytics.v1 import report_pb2 as pb
from reelmesh.mesh.errors import PageTokenInvalid
from reelmesh.mesh.names import SessionName
from reelmesh.stores.warehouse import Warehouse
from reelmesh.telemetry.v1 import event_pb2 as events

START = datetime(2026, 11, 20, 22, 30, tzinfo=UTC)
SPAN = Span(int(START.timestamp()), int(START.timestamp()) + 86_400)


class _Clock:
    def __init__(self, time: datetime) -> None:
        self.time = time

    def now(self) -> datetime:
        return self.time


@pytest.fixture(scope="module")
def people(warehouse: Warehouse) -> Audience:
    made = audience("sessions", 120, START, 7200, seed=5)
    asyncio.run(arrive(warehouse, made.records))
    asyncio.run(arrive(warehouse, made.records[:40]))  # once more
    asyncio.run(arrive(warehouse, audience("others", 5, START, 7200).records))
    return made


def outcome(facts: list[Fact]) -> Outcome.ValueType:
    last = facts[-1].event.type
    return {
        events.EVENT_TYPE_FAILED: Outcome.OUTCOME_FAILED,
        events.EVENT_TYPE_EXITED_BEFORE_START: Outcome.OUTCOME_EXITED_BEFORE_START,
        events.EVENT_TYPE_ENDED: Outcome.OUTCOME_ENDED,
    }.get(last, Outcome.OUTCOME_OPEN)


async def test_every_viewing_is_listed_once_latest_first(warehouse: Warehouse, people: Audience) -> None:
    sessions = Sessions(warehouse)
    listed: list[Viewing] = []
    after = ""
    while True:
        page, after = await sessions.page("sessions", SPAN, [], Outcome.OUTCOME_UNSPECIFIED, after, 50)
        listed += page
        if not after:
            break
    expected = people.viewings()
    assert [each.session for each in listed] == sorted(expected, reverse=True)
    for viewing in listed:
        facts = expected[viewing.session]
        told = [fact.event for fact in facts]
        assert viewing.video == facts[0].record.video
        assert viewing.viewer == facts[0].record.viewer.hex()
        assert viewing.first_time == min(fact.time for fact in facts)
        assert viewing.last_time == max(fact.time for fact in facts)
        assert viewing.outcome == outcome(facts)
        assert viewing.events == len(told)
        assert viewing.missing == told[-1].sequence + 1 - len(told)
        assert viewing.watch_ms == max(event.watch_total_ms for event in told)
        assert viewing.stall_ms == max(event.stall_total_ms for event in told)
        assert viewing.stalls == max(event.stalls_total for event in told)
        assert viewing.switches == max(event.switches_total for event in told)
        assert viewing.media_bytes == max(event.media_bytes_total for event in told)
        assert viewing.startup_ms == max(event.startup_ms for event in told)
        assert viewing.started == any(event.type == events.EVENT_TYPE_STARTED for event in told)
        assert viewing.error_code == next((event.error_code for event in reversed(told) if event.error_code), "")
        assert viewing.player_version == facts[0].player
        assert list(viewing.experiments) == list(facts[0].record.experiments)


@pytest.mark.parametrize(
    ("dimension", "value"),
    [(pb.DIMENSION_COUNTRY, "DE"), (pb.DIMENSION_DEVICE, "tv"), (pb.DIMENSION_EXPERIMENT, f"odd:{ODD}")],
)
@pytest.mark.parametrize("exclude", [False, True])
async def test_viewings_are_filtered(
    warehouse: Warehouse, people: Audience, dimension: pb.Dimension.ValueType, value: str, exclude: bool
) -> None:
    filters = [pb.Filter(dimension=dimension, values=[value], exclude=exclude)]
    found, _ = await Sessions(warehouse).page("sessions", SPAN, filters, Outcome.OUTCOME_FAILED, "", 1000)

    def has(fact: Fact) -> bool:
        record = fact.record
        return value in (record.country, record.device, *record.experiments)

    expected = {
        session
        for session, facts in people.viewings().items()
        if outcome(facts) == Outcome.OUTCOME_FAILED and has(facts[0]) != exclude
    }
    assert expected
    assert {each.session for each in found} == expected


async def test_a_span_holds_the_viewings_that_began_in_it(warehouse: Warehouse, people: Audience) -> None:
    half = Span(SPAN.start, SPAN.start + 3600)
    found, _ = await Sessions(warehouse).page("sessions", half, [], Outcome.OUTCOME_UNSPECIFIED, "", 1000)
    begun = {session: facts[0].time.timestamp() for session, facts in people.viewings().items()}
    assert {each.session for each in found} == {each for each, time in begun.items() if time < half.end}
    assert await Sessions(warehouse).page("nobody", SPAN, [], Outcome.OUTCOME_UNSPECIFIED, "", 10) == ([], "")


async def test_what_changes_within_a_viewing_is_no_filter_for_viewings(warehouse: Warehouse) -> None:
    filters = [pb.Filter(dimension=pb.DIMENSION_RENDITION, values=["720p"])]
    with pytest.raises(FilterInvalid):
        await Sessions(warehouse).page("sessions", SPAN, filters, Outcome.OUTCOME_UNSPECIFIED, "", 10)
    with pytest.raises(PageTokenInvalid):
        await Sessions(warehouse).page("sessions", SPAN, [], Outcome.OUTCOME_UNSPECIFIED, "no id", 10)


async def test_a_viewing_is_told_with_its_events(warehouse: Warehouse, people: Audience) -> None:
    sessions = Sessions(warehouse)
    session, facts = max(people.viewings().items(), key=lambda item: len(item[1]))
    viewing = await sessions.get(SessionName("sessions", session))
    told = await sessions.events("sessions", viewing)
    assert [(each.sequence, each.watch_ms, each.position_ms) for each in told] == [
        (fact.event.sequence, fact.event.watch_ms, fact.event.position_ms) for fact in facts
    ]
    assert told[0].type == "REQUESTED"
    assert told[0].state == "STARTING"
    with pytest.raises(SessionUnknown):
        await sessions.get(SessionName("others", session))


async def test_viewings_go_on_until_their_end_or_until_nothing_is_heard_of_them(warehouse: Warehouse) -> None:
    begun = datetime(2026, 11, 22, 12, tzinfo=UTC)
    made = audience("live", 60, begun, 60, seed=9)
    await arrive(warehouse, made.records)
    now = begun + timedelta(seconds=90)
    seen = [fact for fact in made.facts() if now - timedelta(seconds=45) <= fact.time]
    last = {fact.record.session: fact for fact in sorted(seen, key=lambda fact: (fact.time, fact.event.sequence))}
    ends = {events.EVENT_TYPE_ENDED, events.EVENT_TYPE_FAILED, events.EVENT_TYPE_EXITED_BEFORE_START}
    expected: Counter[str] = Counter()
    for fact in last.values():
        if fact.event.type not in ends:
            expected[fact.record.video] += fact.weight
    count = await Concurrents(warehouse, _Clock(now)).count("live")
    assert expected
    assert dict(count.videos) == dict(expected)
    assert list(count.videos.values()) == sorted(count.videos.values(), reverse=True)


async def test_one_count_serves_all_who_watch(warehouse: Warehouse, people: Audience) -> None:
    concurrents = Concurrents(warehouse, _Clock(START + timedelta(hours=1)), interval=0.05)
    first, second = concurrents.watch("sessions"), concurrents.watch("sessions")
    counts = [await anext(first), await anext(first)]
    assert await anext(second) in (counts[-1], await anext(first))
    assert len(concurrents._countings) == 1
    await first.aclose()
    await anext(second)
    await second.aclose()
    assert not concurrents._countings


async def test_an_export_of_events_has_each_once_in_small_parts(warehouse: Warehouse, people: Audience) -> None:
    export = Export(warehouse, Reports(warehouse, _Clock(START)))
    parts = [part async for part in export.events("sessions", SPAN)]
    assert all(0 < len(part) <= PART for part in parts)
    table = pyarrow.ipc.open_stream(b"".join(parts)).read_all()
    expected = {fact.event.event_id: fact for fact in people.facts()}
    rows = table.to_pylist()
    assert len(rows) == len(expected)
    for row in rows:
        fact = expected[row["event_id"]]
        assert row["event_time"] == fact.time
        assert row["type"] == events.EventType.Name(fact.event.type).removeprefix("EVENT_TYPE_")
        assert (row["watch_ms"], row["cdn"], row["session"]) == (
            fact.event.watch_ms,
            fact.event.cdn,
            fact.record.session,
        )
        assert row["experiments"] == list(fact.record.experiments)
    with pytest.raises(TimeRangeTooLong):
        await anext(export.events("sessions", Span(0, 32 * 86_400)))


async def test_an_export_of_nothing_is_a_stream_without_rows(warehouse: Warehouse) -> None:
    export = Export(warehouse, Reports(warehouse, _Clock(START)))
    parts = [part async for part in export.events("nobody", SPAN)]
    assert pyarrow.ipc.open_stream(b"".join(parts)).read_all().num_rows == 0
