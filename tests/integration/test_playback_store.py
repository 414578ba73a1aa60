"""Playback's stores on a real Cassandra."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reelmesh.events.v1.identity_event_pb2 import IdentityEvent, UserDeleted
from reelmesh.mesh.clock import SystemClock, TimeOrderedIds
from reelmesh.mesh.names import SessionName, VideoName
from reelmesh.playback.erasures import Erasures
from reelmesh.playback.errors import StreamLimit
from reelmesh.playback.model import Arm, Session
from reelmesh.playback.progress import Progress, Watching
from reelmesh.playback.store import CassandraProgressStore, CassandraSessionStore, CassandraSlotStore
from reelmesh.playback.streams import Streams
from reelmesh.stores.cassandra import Cassandra
from reelmesh.stores.events import Record
from reelmesh.stores.migrations import migrate

pytestmark = pytest.mark.stack

CLOCK = SystemClock()
IDS = TimeOrderedIds(CLOCK)


@pytest.fixture
async def sessions(cassandra: Cassandra) -> CassandraSessionStore:
    await migrate(cassandra, "playback", {"class": "SimpleStrategy", "replication_factor": 1})
    return CassandraSessionStore(cassandra)


@pytest.fixture
def progress_store(cassandra: Cassandra, sessions: CassandraSessionStore) -> CassandraProgressStore:
    return CassandraProgressStore(cassandra)


@pytest.fixture
def organization() -> str:
    return f"test-{uuid.uuid4()}"


@pytest.fixture
def session(organization: str) -> Session:
    now = CLOCK.now()
    return Session(
        SessionName(organization, IDS.new()),
        VideoName(organization, IDS.new()),
        "ann",
        timedelta(seconds=61, microseconds=7),
        now,
        now + timedelta(hours=1),
    )


def progress(organization: str, seconds: float, *, video: str = "v", minute: int = 0) -> Progress:
    return Progress(
        organization,
        "ann",
        VideoName(organization, video),
        timedelta(seconds=seconds),
        timedelta(seconds=100),
        datetime(2026, 1, 1, 12, minute, 0, 123_000, tzinfo=UTC),
    )


async def test_a_session_comes_back_as_it_was(
    cassandra: Cassandra, sessions: CassandraSessionStore, session: Session
) -> None:
    assert await sessions.load(session.name) is None
    await sessions.add(session)
    assert await sessions.load(session.name) == session
    rows = await cassandra.execute(
        "SELECT TTL(video) AS ttl FROM reelmesh_playback.sessions WHERE organization = ? AND session = ?",
        session.name.organization,
        session.name.id,
    )
    assert 3500 < rows[0].ttl <= 3600


async def test_a_request_that_is_repeated_finds_its_session(sessions: CassandraSessionStore) -> None:
    request, one, other = IDS.new(), SessionName("acme", IDS.new()), SessionName("acme", IDS.new())
    assert await sessions.name(request, one) == one
    assert await sessions.name(request, other) == one
    assert await sessions.name(IDS.new(), other) == other


async def test_a_session_keeps_its_arms(sessions: CassandraSessionStore, session: Session) -> None:
    arms = (Arm("abr", "fast"), Arm("skin", "dark", {"theme": "dark"}))
    assigned = replace(session, experiments=arms)
    assert await sessions.claim(assigned) == assigned
    assert await sessions.load(session.name) == assigned


async def test_an_anonymous_session(sessions: CassandraSessionStore, session: Session) -> None:
    nobody = replace(session, viewer="")
    await sessions.add(nobody)
    assert await sessions.load(session.name) == nobody


async def test_the_first_of_many_repeats_stands(sessions: CassandraSessionStore, session: Session) -> None:
    repeats = [replace(session, create_time=session.create_time + timedelta(milliseconds=n)) for n in range(6)]
    stand = await asyncio.gather(*map(sessions.claim, repeats))
    assert len(set(stand)) == 1
    assert stand[0] in repeats
    assert await sessions.load(session.name) == stand[0]


async def test_the_later_of_two_writes_wins(progress_store: CassandraProgressStore, organization: str) -> None:
    early, late = progress(organization, 10, minute=1), progress(organization, 20, minute=2)
    video = early.video
    assert await progress_store.load(organization, "ann", video) is None
    await progress_store.put(late)
    await progress_store.put(early)  # delayed on its way
    assert await progress_store.load(organization, "ann", video) == late
    await progress_store.finish(replace(early, position=early.duration))
    assert await progress_store.load(organization, "ann", video) == late
    await progress_store.finish(progress(organization, 99, minute=3))
    assert await progress_store.load(organization, "ann", video) is None
    again = progress(organization, 5, minute=4)
    await progress_store.put(again)
    assert await progress_store.load(organization, "ann", video) == again


async def test_a_viewer_s_list_holds_each_video_once(progress_store: CassandraProgressStore, organization: str) -> None:
    watching = Watching(progress_store)
    for minute, video in enumerate(["a", "b", "c", "a", "d", "a"]):
        await watching.note(progress(organization, minute + 1, video=video, minute=minute))
    await watching.note(progress(organization, 99, video="c", minute=10))
    await progress_store.put(replace(progress(organization, 9, video="x"), viewer="bob"))
    await progress_store.put(progress(f"{organization}x", 9, video="x"))

    found, further = await watching.unfinished(organization, "ann", 10, "")
    assert [(p.video.id, p.position.seconds) for p in found] == [("a", 6), ("d", 5), ("b", 2)]
    assert further == ""
    first, further = await watching.unfinished(organization, "ann", 2, "")
    rest, end = await watching.unfinished(organization, "ann", 2, further)
    assert [*first, *rest] == found
    assert end == ""
    assert await watching.resume_position(organization, "ann", VideoName(organization, "c")) == timedelta()
    assert await watching.resume_position(organization, "ann", VideoName(organization, "a")) == timedelta(seconds=6)


async def test_a_deleted_video_leaves_every_list_for_good(
    progress_store: CassandraProgressStore, organization: str
) -> None:
    watching = Watching(progress_store)
    await watching.note(progress(organization, 1, video="a"))
    await watching.note(progress(organization, 2, video="b"))
    await watching.forget(VideoName(organization, "a"))
    await watching.note(progress(organization, 3, video="a", minute=1))  # by a session that is still open
    found, _ = await watching.unfinished(organization, "ann", 10, "")
    assert [p.video.id for p in found] == ["b"]
    assert (await watching.unfinished(organization, "nobody", 10, "")) == ([], "")


async def test_nothing_is_left_of_a_viewer_who_is_erased(
    progress_store: CassandraProgressStore, organization: str
) -> None:
    watching = Watching(progress_store)
    for video in ("a", "b"):
        await watching.note(progress(organization, 1, video=video))
    await watching.note(progress(organization, 100, video="c"))
    other = replace(progress(organization, 9, video="x"), viewer="bob")
    await progress_store.put(other)
    event = IdentityEvent(user="ann", user_deleted=UserDeleted(organizations=[f"organizations/{organization}"]))
    for _ in range(2):
        await Erasures(watching).handle(Record("topic", "ann", event.SerializeToString()))
    assert await progress_store.all(organization, "ann") == []
    assert await watching.history(organization, "ann", 10) == []
    assert await progress_store.all(organization, "bob") == [other]


async def test_a_history_has_what_was_begun_and_what_was_finished(
    progress_store: CassandraProgressStore, organization: str
) -> None:
    watching = Watching(progress_store)
    for minute, (video, seconds) in enumerate([("a", 100), ("b", 100), ("c", 7), ("a", 3), ("d", 100), ("d", 100)]):
        await watching.note(progress(organization, seconds, video=video, minute=minute))
    found = await watching.history(organization, "ann", 10)
    told = [(each.video.id, each.position and each.position.seconds, each.finished) for each in found]
    assert told == [("d", None, True), ("a", 3, True), ("c", 7, False), ("b", None, True)]
    assert {each.duration for each in found} == {timedelta(seconds=100)}
    assert await watching.history(organization, "ann", 2) == found[:2]
    assert await watching.history(organization, "bob", 2) == []


async def test_what_is_noted_of_a_session(sessions: CassandraSessionStore, session: Session) -> None:
    await sessions.add(replace(session, device="tv"))
    assert await sessions.ending(session.name) == ""
    await asyncio.gather(*(sessions.note_place(session, place) for place in ("a", "b", "a")))
    await sessions.end(session, "SESSION_ENDED")
    assert await sessions.ending(session.name) == "SESSION_ENDED"
    noted = replace(session, device="tv", places=frozenset({"a", "b"}), end_reason="SESSION_ENDED")
    assert await sessions.load(session.name) == noted


@pytest.mark.parametrize("callers", [3, 12])
async def test_however_many_race_a_plan_of_two_streams_has_two(
    cassandra: Cassandra, sessions: CassandraSessionStore, organization: str, callers: int
) -> None:
    lapse = timedelta(seconds=90)
    stores = [CassandraSlotStore(cassandra, lapse) for _ in range(callers)]
    names = [SessionName(organization, IDS.new()) for _ in range(callers)]
    user = f"users/{uuid.uuid4()}"
    answers = await asyncio.gather(
        *(Streams(store, CLOCK, lapse).hold(name, user, 2) for store, name in zip(stores, names, strict=True)),
        return_exceptions=True,
    )
    got = [name for name, answer in zip(names, answers, strict=True) if not isinstance(answer, BaseException)]
    assert len(got) == 2
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert all(isinstance(answer, StreamLimit) for answer in refused)
    streams = Streams(stores[0], CLOCK, lapse)
    assert [await streams.holds(name, user, 2) for name in names] == [name in got for name in names]
    for name in got:
        assert await streams.hold(name, user, 2) == []
    await streams.free(got[0], user)
    late = next(name for name in names if name not in got)
    assert await streams.hold(late, user, 2) == []
    newest = SessionName(organization, IDS.new())
    assert await streams.hold(newest, user, 2, take_over=True) == [got[1]]
