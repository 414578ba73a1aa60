from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest
from catalog_fakes import START, VIDEO, Events, MemoryVideoStore, TickingClock, id_of, job, upload

from reelmesh.catalog.events import handler
from reelmesh.catalog.model import Details, State, Video
from reelmesh.catalog.projection import Projection
from reelmesh.events.v1.media_event_pb2 import MediaEvent, VideoDeleted
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import VideoName
from reelmesh.stores.events import MEDIA_EVENTS, PoisonRecord, Record


@pytest.fixture
def store() -> MemoryVideoStore:
    return MemoryVideoStore()


@pytest.fixture
def projection(store: MemoryVideoStore) -> Projection:
    return Projection(store, TickingClock())


async def follow(projection: Projection, store: MemoryVideoStore, *events: MediaEvent) -> Video:
    for event in events:
        await projection.apply(event)
    return store.videos[VIDEO]


async def test_a_video_follows_its_pipeline(projection: Projection, store: MemoryVideoStore) -> None:
    e = Events()
    video = await follow(projection, store, e.uploaded(1, "Holiday", "holiday.mp4"))
    assert (video.state, video.details.title, video.upload_name) == (State.PROCESSING, "Holiday", upload(1))
    assert video.job_name == ""
    video = await follow(projection, store, e.planned(2, 90))
    assert (video.state, video.job_name) == (State.PROCESSING, job(2))
    assert video.shown is not None
    assert video.shown.duration == timedelta(seconds=90)
    assert [track.id for track in video.shown.tracks] == ["v2"]
    assert (await follow(projection, store, e.playable(2))).state is State.PLAYABLE
    video = await follow(projection, store, e.succeeded(2))
    assert (video.state, video.revision) == (State.READY, 4)


async def test_the_file_name_is_the_title_when_there_is_none(projection: Projection, store: MemoryVideoStore) -> None:
    video = await follow(projection, store, Events().uploaded(1, display_name="x" * 600))
    assert video.details.title == "x" * 500


async def test_a_draft_keeps_what_people_wrote(projection: Projection, store: MemoryVideoStore) -> None:
    details = Details("Ours", "Long", ("a",))
    store.videos[VIDEO] = Video(VIDEO, START, START, details)
    video = await follow(projection, store, Events().uploaded(1, "Theirs", "x.mp4"))
    assert (video.details, video.state) == (details, State.PROCESSING)


async def test_a_draft_without_a_title_takes_the_upload_s(projection: Projection, store: MemoryVideoStore) -> None:
    store.videos[VIDEO] = Video(VIDEO, START, START, Details(description="Long"))
    video = await follow(projection, store, Events().uploaded(1, "Theirs"))
    assert video.details == Details("Theirs", "Long")


@pytest.mark.parametrize("repeat", [1, 3])
async def test_repeats_of_the_whole_history_change_nothing(
    projection: Projection, store: MemoryVideoStore, repeat: int
) -> None:
    e = Events()
    history = [e.uploaded(1), e.planned(2), e.playable(2), e.failed(2), e.planned(2), e.playable(2), e.succeeded(2)]
    before = await follow(projection, store, *history)
    writes = store.writes
    after = await follow(projection, store, *history * repeat)
    assert after == before
    assert store.writes == writes


async def test_any_order_of_a_job_s_events_ends_the_same(store: MemoryVideoStore) -> None:
    e = Events()
    first = e.uploaded(1)
    events = [e.planned(2), e.playable(2), e.succeeded(2)]
    for order in itertools.permutations(events):
        fresh = MemoryVideoStore()
        video = await follow(Projection(fresh, TickingClock()), fresh, first, *order)
        assert video.state is State.READY
        assert video.shown is not None
        assert [track.codec for track in video.shown.tracks] == ["avc1.64001f"]
        assert video.shown.duration == timedelta(seconds=60)


async def test_failure_and_cancellation(projection: Projection, store: MemoryVideoStore) -> None:
    e = Events()
    video = await follow(projection, store, e.uploaded(1), e.failed(2, "SOURCE_NO_VIDEO"))
    assert video.shown is not None
    assert (video.state, video.shown.failure_reason) == (State.FAILED, "SOURCE_NO_VIDEO")
    video = await follow(projection, store, e.planned(2), e.failed(2, "", cancelled=True))
    assert video.shown is not None
    assert (video.state, video.shown.failure_reason) == (State.FAILED, "JOB_CANCELLED")


async def test_a_retried_job_comes_back_and_its_old_failure_does_not(
    projection: Projection, store: MemoryVideoStore
) -> None:
    e = Events()
    planned, failed = e.planned(2), e.failed(2)
    video = await follow(projection, store, e.uploaded(1), planned, failed, planned)
    assert video.state is State.FAILED  # a late repeat is no retry
    video = await follow(projection, store, e.playable(2), failed)
    assert video.state is State.PLAYABLE
    assert video.shown is not None
    assert video.shown.failure_reason == ""
    assert (await follow(projection, store, e.succeeded(2), failed)).state is State.READY


async def test_a_failed_re_encode_takes_nothing_away(projection: Projection, store: MemoryVideoStore) -> None:
    e = Events()
    ready = await follow(projection, store, e.uploaded(1), e.planned(2), e.succeeded(2))
    video = await follow(projection, store, e.planned(7, 50), e.playable(7), e.failed(7))
    assert (video.state, video.job_name) == (State.READY, job(2))
    assert video.shown == ready.shown


async def test_a_re_encode_is_shown_once_it_has_succeeded(projection: Projection, store: MemoryVideoStore) -> None:
    e = Events()
    await follow(projection, store, e.uploaded(1), e.planned(2), e.succeeded(2))
    video = await follow(projection, store, e.planned(7, 50), e.playable(7))
    assert (video.state, video.job_name) == (State.READY, job(2))
    video = await follow(projection, store, e.succeeded(7))
    assert (video.state, video.job_name, list(video.jobs)) == (State.READY, job(7), [id_of(7)])


async def test_late_events_of_an_older_job_are_ignored(projection: Projection, store: MemoryVideoStore) -> None:
    e = Events()
    before = await follow(projection, store, e.uploaded(1), e.planned(2), e.planned(7), e.succeeded(7))
    for late in (e.planned(2), e.playable(2), e.failed(2), e.succeeded(2)):
        assert await follow(projection, store, late) == before


async def test_an_older_job_may_still_save_the_video(projection: Projection, store: MemoryVideoStore) -> None:
    e = Events()
    video = await follow(projection, store, e.uploaded(1), e.planned(2), e.planned(7), e.failed(7))
    assert (video.state, video.job_name) == (State.PROCESSING, job(2))
    video = await follow(projection, store, e.succeeded(2))
    assert (video.state, video.job_name) == (State.READY, job(2))


async def test_a_new_source_is_a_new_chance(projection: Projection, store: MemoryVideoStore) -> None:
    e = Events()
    first = e.uploaded(1)
    video = await follow(projection, store, first, e.failed(2))
    assert video.state is State.FAILED
    video = await follow(projection, store, e.uploaded(5), first)
    assert (video.state, video.upload_name) == (State.PROCESSING, upload(5))


async def test_a_deleted_video_does_not_come_back(projection: Projection, store: MemoryVideoStore) -> None:
    e = Events()
    store.buried.add(VIDEO)
    for event in (e.uploaded(1), e.planned(2), e.playable(2), e.succeeded(2), e.failed(2)):
        await projection.apply(event)
    assert VIDEO not in store.videos


async def test_a_person_s_edit_in_between_is_kept(projection: Projection, store: MemoryVideoStore) -> None:
    e = Events()
    await follow(projection, store, e.uploaded(1, "Old"))
    load = store.load

    async def load_then_edit(name: object) -> Video | None:
        video = await load(VIDEO)
        assert video is not None
        if video.details.title == "Old":
            edited = replace(video, details=Details("New"), revision=video.revision + 1)
            store.videos[VIDEO] = edited
        return video

    store.load = load_then_edit  # type: ignore[method-assign]
    video = await follow(projection, store, e.planned(2))
    assert (video.details.title, video.job_name) == ("New", job(2))


async def test_contention_without_end_is_for_later(projection: Projection, store: MemoryVideoStore) -> None:
    class Contended(MemoryVideoStore):
        async def replace(self, old: Video, new: Video) -> bool:
            return False

    contended = Contended()
    contended.videos[VIDEO] = Video(VIDEO, START, START)
    with pytest.raises(Unavailable):
        await Projection(contended, TickingClock()).apply(Events().planned(2))


async def test_unknown_facts_and_our_own_are_no_news(projection: Projection, store: MemoryVideoStore) -> None:
    e = Events()
    before = await follow(projection, store, e.uploaded(1))
    await projection.apply(MediaEvent(video=str(VIDEO), video_deleted=VideoDeleted()))
    await projection.apply(MediaEvent(video=str(VIDEO)))
    assert store.videos[VIDEO] == before


async def unheard(video: VideoName) -> None:
    raise AssertionError(f"{video} is not gone")


async def test_who_a_video_played_for_hears_that_it_is_gone(projection: Projection) -> None:
    gone: list[VideoName] = []

    async def lose(video: VideoName) -> None:
        gone.append(video)

    event = MediaEvent(video=str(VIDEO), video_deleted=VideoDeleted())
    await handler(projection, lose)(Record(MEDIA_EVENTS, str(VIDEO), event.SerializeToString()))
    assert gone == [VIDEO]


@pytest.mark.parametrize(
    "value",
    [
        b"\xff\xff\xff",
        b"",
        MediaEvent(video="videos/1").SerializeToString(),
        Events().planned(2).SerializeToString().replace(b"/jobs/", b"/sobj/"),
        Events().uploaded(2).SerializeToString().replace(b"/uploads/", b"/sdaolpu/"),
    ],
)
async def test_what_is_no_event_is_poison(projection: Projection, store: MemoryVideoStore, value: bytes) -> None:
    store.videos[VIDEO] = Video(VIDEO, START, START)
    with pytest.raises(PoisonRecord) as caught:
        await handler(projection, unheard)(Record(MEDIA_EVENTS, str(VIDEO), value))
    assert caught.value.reason == "EVENT_MALFORMED"


async def test_a_time_out_of_range_is_poison(projection: Projection, store: MemoryVideoStore) -> None:
    store.videos[VIDEO] = Video(VIDEO, START, START)
    event = Events().planned(2)
    event.time.seconds = 1 << 60
    with pytest.raises(PoisonRecord):
        await handler(projection, unheard)(Record(MEDIA_EVENTS, str(VIDEO), event.SerializeToString()))
