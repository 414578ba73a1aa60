from __future__ import annotations

import asyncio

import pytest
from playback_fakes import VIDEO, FakeSource, ManualClock, MemoryProgressStore, index

from reelmesh.events.v1.media_event_pb2 import MediaEvent, VideoDeleted
from reelmesh.mesh import deadline
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.lru import Lru
from reelmesh.mesh.names import VideoName
from reelmesh.playback.deletions import Deletions
from reelmesh.playback.errors import NothingToPlay
from reelmesh.playback.index import COMPLETE_SECONDS, GROWING_SECONDS, Presentations
from reelmesh.playback.presentation import Presentation
from reelmesh.playback.progress import Watching
from reelmesh.stores.events import MEDIA_EVENTS, Record

OTHER = VideoName("acme", "0198c0de-0000-7000-8000-00000000000f")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_a_growing_presentation_is_read_anew_after_a_moment(clock: ManualClock) -> None:
    source = FakeSource(index(1))
    presentations = Presentations(source, clock.monotonic)
    await presentations.get(VIDEO)
    await presentations.get(VIDEO)
    assert source.reads == 1
    source.made = index(2)
    clock.advance(GROWING_SECONDS)
    assert (await presentations.get(VIDEO)).revision == 2
    assert source.reads == 2


async def test_a_complete_one_is_kept_for_longer(clock: ManualClock) -> None:
    source = FakeSource(index(3, complete=True))
    presentations = Presentations(source, clock.monotonic)
    await presentations.get(VIDEO)
    clock.advance(COMPLETE_SECONDS - 1)
    await presentations.get(VIDEO)
    assert source.reads == 1
    clock.advance(1)
    source.made = None  # deleted meanwhile
    with pytest.raises(NothingToPlay):
        await presentations.get(VIDEO)
    with pytest.raises(NothingToPlay):
        await presentations.get(VIDEO)


async def test_what_is_not_there_is_asked_for_each_time(clock: ManualClock) -> None:
    source = FakeSource(None)
    presentations = Presentations(source, clock.monotonic)
    with pytest.raises(NothingToPlay):
        await presentations.get(VIDEO)
    source.made = index(1)
    assert (await presentations.get(VIDEO)).tracks


class GatedSource(FakeSource):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__(index(1))
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.seconds = 0.0

    async def read(self, video: VideoName) -> Presentation:
        self.asked.set()
        await self.gate.wait()
        self.seconds = deadline.for_call()
        return await super().read(video)


async def test_many_who_ask_at_once_cause_one_read(clock: ManualClock) -> None:
    source = GatedSource()
    presentations = Presentations(source, clock.monotonic)
    waiting = [asyncio.create_task(presentations.get(VIDEO)) for _ in range(20)]
    await source.asked.wait()
    source.gate.set()
    found = await asyncio.gather(*waiting)
    assert source.reads == 1
    assert all(presentation is found[0] for presentation in found)


async def test_one_who_gives_up_does_not_end_the_read_for_others(clock: ManualClock) -> None:
    source = GatedSource()
    presentations = Presentations(source, clock.monotonic)

    async def hurried() -> Presentation:
        deadline.begin(0.5)
        return await presentations.get(VIDEO)

    first = asyncio.create_task(hurried())
    await source.asked.wait()
    second = asyncio.create_task(presentations.get(VIDEO))
    await asyncio.sleep(0)
    first.cancel()
    source.gate.set()
    assert (await second).tracks
    assert source.reads == 1
    # Nor does it inherit how little time the first had.
    assert source.seconds > 4


async def test_who_watches_goes_on_while_transcode_is_away(clock: ManualClock) -> None:
    class Away(FakeSource):
        async def read(self, video: VideoName) -> Presentation:
            raise Unavailable("away")

    source = FakeSource(index(2))
    presentations = Presentations(source, clock.monotonic)
    before = await presentations.get(VIDEO)
    source.read = Away().read  # type: ignore[method-assign]
    clock.advance(3600)
    assert await presentations.get(VIDEO) is before
    with pytest.raises(Unavailable):
        await presentations.get(OTHER)


async def test_a_deleted_video_is_asked_for_anew(clock: ManualClock) -> None:
    source = FakeSource(index(3, complete=True))
    presentations = Presentations(source, clock.monotonic)
    deletions = Deletions(Watching(MemoryProgressStore()), presentations)
    await presentations.get(VIDEO)
    source.made = None
    event = MediaEvent(video=str(VIDEO), video_deleted=VideoDeleted())
    await deletions.handle(Record(MEDIA_EVENTS, event.video, event.SerializeToString()))
    with pytest.raises(NothingToPlay):
        await presentations.get(VIDEO)


async def test_memory_is_bounded(clock: ManualClock) -> None:
    source = FakeSource(index(3, complete=True))
    presentations = Presentations(source, clock.monotonic, capacity=30)
    await presentations.get(VIDEO)
    await presentations.get(OTHER)  # 16 + 9 each: the first has to go
    await presentations.get(OTHER)
    assert source.reads == 2
    await presentations.get(VIDEO)
    assert source.reads == 3


def test_an_lru_forgets_what_was_used_longest_ago() -> None:
    lru: Lru[str, str] = Lru(5, len)
    lru.put("a", "aa")
    lru.put("b", "bb")
    assert lru.get("a") == "aa"
    lru.put("c", "cc")
    assert (lru.get("a"), lru.get("b"), lru.get("c")) == ("aa", None, "cc")
    lru.put("a", "a")
    lru.put("d", "dd")
    assert len(lru) == 3
    lru.put("e", "eeeeee")
    assert (len(lru), lru.get("e")) == (0, None)
    lru.drop("nothing")
