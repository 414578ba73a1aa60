from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from discovery_fakes import NOW, Clock, Index, Lost, Record, Topic, eventually, name, title

from reelmesh.discovery.errors import IndexNotReady
from reelmesh.discovery.folders import Folders
from reelmesh.discovery.model import Popularity
from reelmesh.discovery.rebuild import Indexes, Kind, Reason
from reelmesh.mesh.clock import TimeOrderedIds
from reelmesh.mesh.errors import Unavailable

Running = Callable[..., AbstractAsyncContextManager[Indexes[Index]]]


@pytest.fixture
def topic() -> Topic:
    return Topic(title(1, text="One"), title(2, text="Two"), title(3, text="Three"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def running(tmp_path: Path, topic: Topic, clock: Clock) -> Running:
    @asynccontextmanager
    async def start(
        version: int = 1, served: Collection[int] = (), opener: Callable[[Path, int], Index] = Index
    ) -> AsyncIterator[Indexes[Index]]:
        kind = Kind(version, {version, *served}, opener, Lost, timedelta(days=3))
        indexes = Indexes(Folders(tmp_path / "d"), kind, topic.follow, clock, TimeOrderedIds(clock))
        task = asyncio.create_task(indexes.run())
        try:
            yield indexes
        finally:
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled() or task.exception() is None

    return start


def folders(tmp_path: Path) -> list[str]:
    return sorted(path.name.split("-", 1)[0] for path in (tmp_path / "d").iterdir())


def ready(indexes: Indexes[Index]) -> bool:
    try:
        return indexes.current is not None
    except IndexNotReady:
        return False


async def test_the_first_index_answers_once_it_has_caught_up(running: Running, topic: Topic) -> None:
    topic.gate.clear()
    async with running() as indexes:
        await eventually(lambda: indexes.built is not None)
        with pytest.raises(IndexNotReady):
            await indexes.check()
        topic.gate.set()
        await eventually(lambda: ready(indexes))
        assert indexes.current.texts() == {name(1): "One", name(2): "Two", name(3): "Three"}
        assert indexes.build is not None
        assert (indexes.build.reason, indexes.build.progress.records) == (Reason.FIRST, 3)
        assert indexes.build.end_time is not None
        topic.add(title(4, text="Four"), Record(name(1), b""))
        await eventually(lambda: indexes.current.texts() == {name(2): "Two", name(3): "Three", name(4): "Four"})


async def test_what_cannot_be_read_is_left_out(running: Running, topic: Topic) -> None:
    topic.add(Record(name(5), b"\xff"), Record(name(6), title(7).value), Record("x", b""), title(8, text="Eight"))
    async with running() as indexes:
        await eventually(lambda: ready(indexes))
        assert set(indexes.current.texts()) == {name(1), name(2), name(3), name(8)}
        assert indexes.build is not None
        assert indexes.build.progress.skipped == 3


async def test_a_title_that_the_index_fails_on_costs_no_other(running: Running, topic: Topic) -> None:
    def opener(path: Path, version: int) -> Index:
        return Index(path, version, poison=name(2), fault=ArithmeticError("what a title"))

    topic.turn = 3
    async with running(opener=opener) as indexes:
        await eventually(lambda: ready(indexes))
        assert set(indexes.current.texts()) == {name(1), name(3)}
        assert indexes.build is not None
        assert indexes.build.progress.skipped == 1


async def test_a_process_that_comes_back_goes_on_where_it_was(running: Running, topic: Topic) -> None:
    async with running() as indexes:
        await eventually(lambda: ready(indexes))
    topic.add(title(4, text="Four"))
    topic.gate.clear()
    async with running() as indexes:
        await eventually(lambda: len(topic.began) == 2)
        assert topic.began == ["", '["1", 3]']
        with pytest.raises(IndexNotReady):
            await indexes.check()
        topic.gate.set()
        await eventually(lambda: ready(indexes))
        assert len(indexes.current.texts()) == 4
        assert indexes.build is None


async def test_a_first_build_that_was_cut_off_goes_on(
    running: Running, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reelmesh.discovery.projection.COMMIT_SECONDS", 0)
    topic.turn, topic.free = 1, 2
    topic.gate.clear()
    async with running() as indexes:
        await eventually(lambda: indexes.built is not None and len(indexes.built.shown) == 2)
    topic.gate.set()
    async with running() as indexes:
        await eventually(lambda: ready(indexes))
        assert topic.began == ["", '["1", 2]']
        assert len(indexes.current.texts()) == 3
        assert indexes.build is not None
        assert (indexes.build.reason, indexes.build.progress.records) == (Reason.FIRST, 1)


async def test_another_is_built_beside_the_one_that_answers(running: Running, topic: Topic, tmp_path: Path) -> None:
    async with running() as indexes:
        await eventually(lambda: ready(indexes))
        old = indexes.current
        topic.gate.clear()
        build = indexes.rebuild()
        assert indexes.rebuild() is build, "one at a time"
        await eventually(lambda: indexes.built is not None)
        assert indexes.current is old
        assert len(folders(tmp_path)) == 2
        topic.gate.set()
        await eventually(lambda: indexes.current is not old)
        await eventually(lambda: old.closed)
        await eventually(lambda: len(folders(tmp_path)) == 1)
        assert (build.reason, build.progress.records) == (Reason.ASKED, 3)
        assert indexes.current.texts() == old.texts()
        topic.add(title(9, text="Nine"))
        await eventually(lambda: name(9) in indexes.current.texts())


async def test_changes_reach_the_one_that_answers_while_another_is_built(running: Running, topic: Topic) -> None:
    async with running() as indexes:
        await eventually(lambda: ready(indexes))
        old = indexes.current
        topic.free_readers = 1
        topic.gate.clear()
        indexes.rebuild()
        await eventually(lambda: indexes.built is not None)
        topic.add(title(4, text="Four"))
        await eventually(lambda: name(4) in indexes.current.texts())
        assert indexes.current is old
        topic.gate.set()
        await eventually(lambda: indexes.current is not old)
        await eventually(lambda: name(4) in indexes.current.texts())


async def test_an_older_version_that_is_served_answers_until_the_new_one_is_there(
    running: Running, topic: Topic, tmp_path: Path
) -> None:
    async with running(version=1) as indexes:
        await eventually(lambda: ready(indexes))
    topic.gate.clear()
    async with running(version=2, served={1}) as indexes:
        await eventually(lambda: ready(indexes))
        assert indexes.current.version == 1
        assert folders(tmp_path) == ["v1", "v2"]
        topic.gate.set()
        await eventually(lambda: indexes.current.version == 2)
        await eventually(lambda: folders(tmp_path) == ["v2"])
        assert indexes.build is not None
        assert indexes.build.reason is Reason.SCHEMA_CHANGED


async def test_an_older_version_that_is_not_served_is_said_and_built_anew(
    running: Running, topic: Topic, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(version=1) as indexes:
        await eventually(lambda: ready(indexes))
    topic.gate.clear()
    async with running(version=2) as indexes:
        await eventually(lambda: indexes.built is not None)
        assert not ready(indexes)
        assert "has version 1, which this code cannot serve" in caplog.text
        assert folders(tmp_path) == ["v1", "v2"], "whoever goes back to the older code finds its index"
        topic.gate.set()
        await eventually(lambda: ready(indexes))
        await eventually(lambda: folders(tmp_path) == ["v2"])


async def test_an_index_that_may_have_missed_deletions_does_not_answer(
    running: Running, topic: Topic, clock: Clock
) -> None:
    async with running() as indexes:
        await eventually(lambda: ready(indexes))
    del topic.records[0]  # deleted, and its tombstone is gone as well
    clock.time += timedelta(days=4)
    async with running() as indexes:
        await eventually(lambda: ready(indexes))
        assert set(indexes.current.texts()) == {name(2), name(3)}
        assert indexes.build is not None
        assert indexes.build.reason is Reason.AWAY_TOO_LONG


async def test_another_topic_means_another_index(running: Running, topic: Topic) -> None:
    async with running() as indexes:
        await eventually(lambda: ready(indexes))
        old = indexes.current
        topic.id = "2"
        topic.fault = Lost()
        topic.records = [title(7, text="Seven")]
        topic.wake()
        assert indexes.current is old, "what answered goes on"
        await eventually(lambda: indexes.current is not old)
        assert indexes.current.texts() == {name(7): "Seven"}
        assert indexes.build is not None
        assert indexes.build.reason is Reason.PLACE_LOST
    topic.id = "3"
    topic.gate.clear()
    async with running() as indexes:
        await eventually(lambda: indexes.built is not None)
        assert not ready(indexes), "what is opened and was never up to date since does not answer"
        topic.gate.set()
        await eventually(lambda: ready(indexes))


async def test_kafka_may_go_away(running: Running, topic: Topic) -> None:
    async with running() as indexes:
        await eventually(lambda: ready(indexes))
        topic.fault = Unavailable("Kafka does not answer")
        topic.wake()
        topic.add(title(4, text="Four"))
        await eventually(lambda: name(4) in indexes.current.texts())
        assert topic.began[1:] == ['["1", 3]'], "it goes on where it was"


async def test_a_build_that_fails_is_tried_again_while_the_old_one_answers(
    running: Running, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reelmesh.discovery.rebuild.RETRY_SECONDS", 0.01)
    made: list[Index] = []

    def opener(path: Path, version: int) -> Index:
        made.append(Index(path, version, poison=name(2) if len(made) == 1 else ""))
        return made[-1]

    async with running(opener=opener) as indexes:
        await eventually(lambda: ready(indexes))
        build = indexes.rebuild()
        await eventually(lambda: len(made) == 2 and made[1].closed)
        assert indexes.current is made[0]
        await eventually(lambda: indexes.current is made[-1])
        assert len(made) == 3
        assert indexes.build is build
        assert build.end_time is not None


async def test_every_index_is_told_what_is_popular(running: Running) -> None:
    popularity = Popularity(views={"": {"v": 1}})
    async with running() as indexes:
        await eventually(lambda: ready(indexes))
        indexes.popular(popularity)
        old = indexes.current
        await eventually(lambda: old.told[-1] is popularity)
        indexes.rebuild()
        await eventually(lambda: indexes.current is not old)
        await eventually(lambda: indexes.current.told[-1:] == [popularity])


async def test_titles_whose_availability_changes_are_taken_up(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reelmesh.discovery.projection.TEND_SECONDS", 0.01)
    async with running() as indexes:
        await eventually(lambda: ready(indexes))
        commits = indexes.current.commits
        indexes.current.edge = NOW
        await eventually(lambda: indexes.current.edge is None and indexes.current.commits == commits + 1)


async def test_who_watches_hears_of_every_step(running: Running) -> None:
    async with running() as indexes:
        async for _ in indexes.changes():
            if ready(indexes):
                break
        assert len(indexes.current.texts()) == 3
