"""CMCD version 2, in the lines that Shaka Player 5.2 posts, and what is not of it."""

from __future__ import annotations

import uuid

import pytest
from telemetry_fakes import NOW_MS, PLACE, SESSION, SESSION_ID, World, events_of, token

from reelmesh.mesh.errors import DomainError
from reelmesh.telemetry.errors import BrokerUnavailable
from reelmesh.telemetry.model import Outcome
from reelmesh.telemetry.reports import Reports
from reelmesh.telemetry.v1.event_pb2 import EventType, PlayerState, TelemetryEvent
from reelmesh.telemetry.v1.record_pb2 import TelemetryRecord
from reelmesh.telemetry.v1.telemetry_service_pb2 import CONSENT_DENIED, CONSENT_GRANTED, CONSENT_UNSPECIFIED
from reelmesh.telemetry.validation import judge

START = NOW_MS - 600_000
SID = "9a3ff58b-55ae-4a2f-bf2b-7a3a1f6ba1d5"
"""As Shaka makes its own: a UUID of version 4."""
FOREIGN = str(uuid.UUID(int=uuid.UUID(bytes=SESSION_ID).int + 1))


def line(sn: int, kind: str, seconds: float, state: str = "", **pairs: object) -> str:
    """Write a line with its keys in order, as Shaka does."""
    keys = {"cid": '"film"', "e": kind, "sf": "d", "sid": f'"{SID}"', "sn": sn, "st": "v", "v": 2}
    keys |= {"ts": START + int(seconds * 1000), **({"sta": state} if state else {}), **pairs}
    return ",".join(f"{key}={value}" for key, value in sorted(keys.items()))


SHAKA = [
    line(0, "t", 0),
    line(1, "ps", 0.1, "r"),
    line(2, "ps", 0.9, "p"),
    line(3, "bc", 2, "p", br="(3000)", msd=850),
    line(4, "t", 10, "p", br="(3000)"),
    line(5, "bc", 12, "p", br="(6000)"),
    line(6, "ps", 15, "r", br="(6000)"),
    line(7, "ps", 17.5, "p", br="(6000)"),
    line(8, "ps", 20, "k", br="(6000)"),
    line(9, "ps", 20.2, "r", br="(6000)"),
    line(10, "ps", 21, "p", br="(6000)"),
    line(11, "t", 30, "p", br="(6000)"),
    line(12, "ps", 31, "e", br="(6000)"),
]


class Posting:
    """Posts of one viewing."""

    def __init__(self) -> None:
        self.world = World()
        self.reports = Reports(self.world.door, self.world.tokens, self.world.clock)
        self.token = token()

    async def post(self, *lines: str, consent: int = CONSENT_GRANTED) -> Outcome:
        body = "".join(f"{each}\n" for each in lines).encode()
        return await self.reports.take(body, self.token, consent, PLACE)  # type: ignore[arg-type]

    def events(self) -> list[TelemetryEvent]:
        return [event for record in self.world.broker.records() for event in record.events]


@pytest.fixture
def posting() -> Posting:
    return Posting()


def shape(event: TelemetryEvent) -> tuple[int, str, str, int, int, int]:
    kind = EventType.Name(event.type).removeprefix("EVENT_TYPE_")
    state = PlayerState.Name(event.state).removeprefix("PLAYER_STATE_")
    return event.sequence, kind, state, event.watch_ms, event.stall_ms, event.stalls


async def test_shakas_lines_become_a_viewing(posting: Posting) -> None:
    outcome = await posting.post(*SHAKA)
    assert (outcome.accepted, list(outcome.refused), list(outcome.gaps)) == (13, [], [])
    assert [shape(event) for event in posting.events()] == [
        (0, "REQUESTED", "UNSPECIFIED", 0, 0, 0),
        (1, "STATE_CHANGED", "REBUFFERING", 0, 0, 0),  # before the first frame that is startup, not a stall
        (2, "STATE_CHANGED", "PLAYING", 0, 0, 0),
        (3, "STARTED", "PLAYING", 1100, 0, 0),
        (4, "HEARTBEAT", "PLAYING", 8000, 0, 0),
        (5, "RENDITION_CHANGED", "PLAYING", 2000, 0, 0),
        (6, "STATE_CHANGED", "REBUFFERING", 3000, 0, 1),
        (7, "STATE_CHANGED", "PLAYING", 0, 2500, 0),
        (8, "SEEKED", "SEEKING", 2500, 0, 0),
        (9, "STATE_CHANGED", "REBUFFERING", 0, 0, 0),  # nor is that after a seek
        (10, "STATE_CHANGED", "PLAYING", 0, 0, 0),
        (11, "HEARTBEAT", "PLAYING", 9000, 0, 0),
        (12, "ENDED", "ENDED", 1000, 0, 0),
    ]
    last = posting.events()[-1]
    assert (last.watch_total_ms, last.stall_total_ms, last.stalls_total, last.switches_total) == (26_600, 2500, 1, 1)
    started = posting.events()[3]
    assert (started.startup_ms, started.bitrate_kbps, started.event_time_ms) == (850, 3000, START + 2000)
    assert {record.source for record in posting.world.broker.records()} == {TelemetryRecord.SOURCE_CMCD}
    assert not judge(events_of(*posting.events()), NOW_MS, 0).refused


async def test_lines_one_by_one_are_the_same_viewing(posting: Posting) -> None:
    for each in SHAKA:
        assert (await posting.post(each)).accepted == 1
    together = Posting()
    await together.post(*SHAKA)
    assert posting.events() == together.events()


async def test_a_line_that_is_posted_again_counts_once(posting: Posting) -> None:
    await posting.post(*SHAKA[:6])
    assert (await posting.post(*SHAKA[3:8])).accepted == 5
    assert (await posting.post(SHAKA[8], SHAKA[8])).accepted == 2
    assert [event.sequence for event in posting.events()] == list(range(9))


async def test_what_kafka_did_not_confirm_is_as_if_it_had_not_been_posted(posting: Posting) -> None:
    await posting.post(*SHAKA[:4])
    posting.world.broker.away = True
    with pytest.raises(BrokerUnavailable):
        await posting.post(*SHAKA[4:8])
    posting.world.broker.away = False
    await posting.post(*SHAKA[4:])
    together = Posting()
    await together.post(*SHAKA)
    assert posting.events() == together.events()


async def test_a_player_that_counts_by_itself_is_believed(posting: Posting) -> None:
    await posting.post(
        line(0, "ps", 0, "s", pt=0),
        line(1, "ps", 1, "p", msd=900, pt=0, bl="(12000;v 8000;a)", br="(3000;v 128;a)", tb="(6000;v 128;a)"),
        line(2, "t", 11, "p", pt=10_000, bsa=2, bsda=1500, dfa=7, mtp="(25400)", cdn='"edge"', pr="1.5"),
        line(3, "e", 12, "p", ec='("3016")', dfa=9, pt=200_000),
    )
    started, beat, error = posting.events()[1:]
    assert (started.bitrate_kbps, started.top_bitrate_kbps, started.buffer_ms) == (3128, 6128, 8000)
    assert (beat.stalls, beat.stalls_total, beat.stall_ms, beat.stall_total_ms) == (2, 2, 1500, 1500)
    assert (beat.dropped_frames, beat.throughput_kbps, beat.cdn, beat.playback_rate) == (7, 25_400, "edge", 1.5)
    assert (error.type, error.error_code, error.dropped_frames) == (EventType.EVENT_TYPE_ERROR, "3016", 2)
    assert (error.watched_from_ms, error.position_ms) == (200_000, 200_000)  # a jump was not watched


@pytest.mark.parametrize(
    ("states", "last"),
    [("ssq", "EXITED_BEFORE_START"), ("spq", "ENDED"), ("sf", "FAILED"), ("spff", "STATE_CHANGED"), ("spe", "ENDED")],
)
async def test_a_viewing_ends_once(posting: Posting, states: str, last: str) -> None:
    for n, state in enumerate(states):
        await posting.post(line(n, "ps", n, state, **({"msd": 1} if state == "p" else {})))
    assert EventType.Name(posting.events()[-1].type) == f"EVENT_TYPE_{last}"


async def test_a_viewing_whose_first_line_says_that_it_plays_was_asked_for_too(posting: Posting) -> None:
    await posting.post(line(0, "ps", 0, "p", msd=300))
    assert [EventType.Name(event.type) for event in posting.events()] == ["EVENT_TYPE_REQUESTED", "EVENT_TYPE_STARTED"]
    assert len({event.sequence for event in posting.events()}) == 2
    await posting.post(line(1, "t", 1, "p", msd=300))
    assert EventType.Name(posting.events()[-1].type) == "EVENT_TYPE_HEARTBEAT"


async def test_a_machine_that_slept_did_not_watch(posting: Posting) -> None:
    await posting.post(*(line(n, "t", n * 10, "p", **({"msd": 1} if n == 0 else {})) for n in range(3)))
    await posting.post(line(3, "t", 590, "p"))
    assert posting.events()[-1].watch_ms == 30_000


async def test_lines_out_of_order_change_nothing_that_passed(posting: Posting) -> None:
    await posting.post(SHAKA[0], SHAKA[1], SHAKA[2], SHAKA[4], SHAKA[3], *SHAKA[5:])
    events = posting.events()
    assert sorted(event.sequence for event in events) == list(range(13))
    assert all(event.watch_ms >= 0 for event in events)


async def test_a_player_that_loads_again_goes_on_with_the_viewing(posting: Posting) -> None:
    await posting.post(*SHAKA[:5])
    again = [each.replace(SID, "5e0c1d0e-2a64-4b0e-8d25-24f1b2f0c7aa") for each in SHAKA[:5]]
    await posting.post(*again)
    events = posting.events()
    assert [event.sequence for event in events] == list(range(10))
    kinds = [EventType.Name(event.type) for event in events]
    assert (kinds.count("EVENT_TYPE_REQUESTED"), kinds.count("EVENT_TYPE_STARTED")) == (1, 1)


async def test_a_player_that_loads_again_by_the_same_id_goes_on_too(posting: Posting) -> None:
    await posting.post(*SHAKA[:5])
    await posting.post(line(0, "t", 40), line(1, "ps", 40.5, "p"))
    assert (await posting.post(SHAKA[0], line(0, "t", 40))).accepted == 2  # both are known
    assert [event.sequence for event in posting.events()] == list(range(7))


async def test_who_never_says_its_state_watched_as_far_as_it_moved(posting: Posting) -> None:
    await posting.post(
        line(0, "t", 0, pt=0),
        line(1, "t", 2, msd=400, pt=0),
        line(2, "t", 4, pt=1900),
        line(3, "t", 6, pt=1900),  # paused
        line(4, "t", 8, pt=40_000),  # jumped
        line(5, "t", 10, pt=43_000, pr="1.5"),
        line(6, "t", 12),  # may be anywhere
        line(7, "t", 14, pt=47_000),
    )
    assert [event.watch_ms for event in posting.events()] == [0, 0, 1900, 0, 0, 2000, 0, 0]
    assert [event.watched_from_ms for event in posting.events() if event.watch_ms] == [0, 40_000]


async def test_who_says_neither_state_nor_position_has_no_watch_time(posting: Posting) -> None:
    """As the minified builds of Shaka Player 5.2, whose compiler renames "sta"."""
    await posting.post(line(0, "t", 0), line(1, "bc", 1, br="(761)"), line(2, "t", 2, msd="850.001"), line(3, "t", 4))
    kinds = [EventType.Name(event.type).removeprefix("EVENT_TYPE_") for event in posting.events()]
    assert kinds == ["REQUESTED", "RENDITION_CHANGED", "STARTED", "HEARTBEAT"]
    assert posting.events()[2].startup_ms == 850
    assert posting.events()[-1].watch_total_ms == 0


@pytest.mark.parametrize(
    ("wrong", "reason", "key"),
    [
        ("", "LINE_UNREADABLE", "e"),
        ("e=t", "LINE_UNREADABLE", "ts"),
        (line(1, "t", 1, xyz=1), "UNKNOWN_KEY", "xyz"),
        (line(1, "zz", 1), "TYPE_UNKNOWN", "e"),
        (line(1, "ps", 1, "z"), "TYPE_UNKNOWN", "sta"),
        (line(1, "t", 1, bl=-5), "NEGATIVE", "bl"),
        (line(1, "t", 1, msd=-1), "NEGATIVE", "msd"),
        (line(1, "t", 1, bl="NaN"), "NOT_FINITE", "bl"),
        (line(1, "t", 1, bl='"much"'), "VALUE_UNREADABLE", "bl"),
        (line(1, "t", 1, bl=10**14), "OUT_OF_RANGE", "buffer_ms"),
        (line(1, "t", 1, cdn=f'"{"x" * 65}"'), "TEXT_TOO_LONG", "cdn"),
        (line(-1, "t", 1), "NEGATIVE", "sn"),
        (line(1 << 31, "t", 1), "SEQUENCE_INVALID", "sn"),
        (line(1, "t", 3 * 86_400), "CLOCK_SKEWED", "ts"),
        (line(1, "t", -2 * 86_400), "EVENT_TOO_LATE", "ts"),
        (line(1, "t", 1).replace("v=2", "v=1"), "VALUE_UNREADABLE", "v"),
        ("e=t,,ts=1", "LINE_UNREADABLE", ""),
        ("{}", "LINE_UNREADABLE", ""),
        ("e=t,ts=" + "1" * 9000, "LINE_UNREADABLE", ""),
        (line(1, "t", 1).replace(SID, FOREIGN), "SESSION_FOREIGN", "sid"),
        (line(1, "t", 1).replace(SID, f"{SESSION[:-1]}b"), "SESSION_FOREIGN", "sid"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
async def test_a_wrong_line_is_refused_and_its_neighbours_are_not(
    posting: Posting, wrong: str, reason: str, key: str
) -> None:
    outcome = await posting.post(SHAKA[0], wrong, SHAKA[2])
    assert [(each.index, each.reason, each.field) for each in outcome.refused] == [(1, reason, key)]
    assert [event.sequence for event in posting.events()] == [0, 2]


@pytest.mark.parametrize("sid", [SESSION, SESSION.rpartition("/")[2], "anything", ""])
async def test_sids_that_are_the_viewings_or_the_players_own(posting: Posting, sid: str) -> None:
    assert (await posting.post(line(0, "t", 0).replace(SID, sid))).accepted == 1


async def test_keys_of_ones_own_are_let_through(posting: Posting) -> None:
    outcome = await posting.post(line(0, "ce", 0, cen='"skipIntro"', **{"com.example-intro": '"a,b\\"c"'}))
    assert (outcome.accepted, list(outcome.refused)) == (1, [])


async def test_consent_is_obeyed(posting: Posting) -> None:
    await posting.post(SHAKA[0], consent=CONSENT_UNSPECIFIED)
    assert (await posting.post(SHAKA[1], consent=CONSENT_DENIED)).accepted == 1
    [record] = posting.world.broker.records()
    assert (record.viewer, record.network, len(record.events)) == (b"", "", 1)


async def test_posts_have_bounds(posting: Posting) -> None:
    for lines in (SHAKA[:1] * 501, ["x" * 8000] * 140):
        with pytest.raises(DomainError) as caught:
            await posting.post(*lines)
        assert caught.value.reason == "BATCH_TOO_LARGE"
    assert (await posting.post()).accepted == 0
