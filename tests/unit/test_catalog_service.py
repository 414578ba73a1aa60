from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from catalog_fakes import VIDEO, CountingIds, Events, MemoryVideoStore, TickingClock, id_of
from google.protobuf.field_mask_pb2 import FieldMask
from refusals import refusal

from reelmesh.catalog.deletions import GRACE, Deletions
from reelmesh.catalog.model import Deletion, Video
from reelmesh.catalog.projection import Projection
from reelmesh.catalog.service import VideoService
from reelmesh.catalog.v1 import video_pb2
from reelmesh.catalog.v1 import video_service_pb2 as pb
from reelmesh.catalog.v1.video_service_pb2_grpc import VideoServiceStub, add_VideoServiceServicer_to_server
from reelmesh.catalog.videos import Videos
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.interceptors import Errors, Validation

if TYPE_CHECKING:  # the generated stubs have the type, the generated code does not
    from reelmesh.catalog.v1.video_service_pb2_grpc import VideoServiceAsyncStub

refused = partial(refusal, domain="reelmesh.catalog")

ACME = "organizations/acme"


@pytest.fixture
def store() -> MemoryVideoStore:
    return MemoryVideoStore()


@pytest.fixture
async def stub(store: MemoryVideoStore) -> AsyncIterator[VideoServiceAsyncStub]:
    server = grpc.aio.server(interceptors=[Errors(), Validation(b"key")])
    videos = Videos(store, TickingClock(), CountingIds())
    add_VideoServiceServicer_to_server(VideoService(videos), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield VideoServiceStub(channel)
    await server.stop(0)


async def create(stub: VideoServiceAsyncStub, **fields: Any) -> video_pb2.Video:
    request_id = fields.pop("request_id", "")
    request = pb.CreateVideoRequest(parent=ACME, video=video_pb2.Video(**fields), request_id=request_id)
    return (await stub.CreateVideo(request)).video


async def update(stub: VideoServiceAsyncStub, video: video_pb2.Video, *paths: str) -> video_pb2.Video:
    request = pb.UpdateVideoRequest(video=video, update_mask=FieldMask(paths=paths))
    return (await stub.UpdateVideo(request)).video


async def test_a_draft_is_made_and_read_back(stub: VideoServiceAsyncStub) -> None:
    video = await create(
        stub,
        title="Big Buck Bunny",
        description="A rabbit",
        tags=["open", "short"],
        people=[video_pb2.Person(name="Sacha", role="director")],
        genres=["animation"],
        artwork=[video_pb2.Artwork(kind="poster", uri="/p.jpg", width=2, height=3)],
        # Output only, and so ignored.
        state=video_pb2.Video.STATE_READY,
        upload="u",
        etag="e",
    )
    assert video.state == video_pb2.Video.STATE_DRAFT
    assert video.upload == ""
    assert video.people[0].role == "director"
    assert video.artwork[0].height == 3
    assert video.create_time == video.update_time
    assert len(video.etag) > 10
    assert (await stub.GetVideo(pb.GetVideoRequest(name=video.name))).video == video


async def test_a_repeated_request_makes_one_video(stub: VideoServiceAsyncStub, store: MemoryVideoStore) -> None:
    request_id = str(uuid.uuid4())
    first = await create(stub, title="One", request_id=request_id)
    again = await create(stub, title="One", request_id=request_id)
    other = await create(stub, title="One", request_id=str(uuid.uuid4()))
    assert again == first
    assert other.name != first.name
    assert len(store.videos) == 2


async def test_a_repeated_request_does_not_bring_back_what_was_deleted(stub: VideoServiceAsyncStub) -> None:
    request_id = str(uuid.uuid4())
    first = await create(stub, title="One", request_id=request_id)
    await stub.DeleteVideo(pb.DeleteVideoRequest(name=first.name))
    request = pb.CreateVideoRequest(parent=ACME, video=video_pb2.Video(title="One"), request_id=request_id)
    assert await refused(stub.CreateVideo(request)) == (grpc.StatusCode.NOT_FOUND, "VIDEO_UNKNOWN")


async def test_unknown_videos(stub: VideoServiceAsyncStub) -> None:
    unknown = (grpc.StatusCode.NOT_FOUND, "VIDEO_UNKNOWN")
    name = f"{ACME}/videos/{id_of(77)}"
    assert await refused(stub.GetVideo(pb.GetVideoRequest(name=name))) == unknown
    assert await refused(update(stub, video_pb2.Video(name=name, title="x"))) == unknown
    assert await refused(stub.DeleteVideo(pb.DeleteVideoRequest(name=name))) == unknown
    await stub.DeleteVideo(pb.DeleteVideoRequest(name=name, allow_missing=True))


async def test_illegal_names(stub: VideoServiceAsyncStub) -> None:
    invalid = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert await refused(stub.GetVideo(pb.GetVideoRequest(name="videos/1"))) == invalid
    assert await refused(update(stub, video_pb2.Video(name="", title="x"))) == invalid
    assert await refused(update(stub, video_pb2.Video(name="../x", title="x"))) == invalid


async def test_the_mask_says_what_changes(stub: VideoServiceAsyncStub) -> None:
    made = await create(stub, title="T", description="D", tags=["a"])
    given = video_pb2.Video(name=made.name, title="New", description="ignored")
    changed = await update(stub, given, "title", "tags")
    assert (changed.title, changed.description, list(changed.tags)) == ("New", "D", [])
    assert changed.etag != made.etag
    assert changed.update_time.ToDatetime() > made.update_time.ToDatetime()
    assert changed.create_time == made.create_time


async def test_an_empty_mask_means_what_is_set(stub: VideoServiceAsyncStub) -> None:
    made = await create(stub, title="T", description="D", tags=["a"])
    changed = await update(stub, video_pb2.Video(name=made.name, title="New", genres=["g"]))
    assert (changed.title, changed.description, list(changed.tags), list(changed.genres)) == ("New", "D", ["a"], ["g"])


async def test_an_update_that_changes_nothing_keeps_the_etag(
    stub: VideoServiceAsyncStub, store: MemoryVideoStore
) -> None:
    made = await create(stub, title="T")
    writes = store.writes
    assert await update(stub, made, "title") == made
    assert await update(stub, video_pb2.Video(name=made.name)) == made
    assert store.writes == writes


@pytest.mark.parametrize("path", ["state", "etag", "name", "job", "tracks", "people.name", "nonsense", "*"])
async def test_what_the_platform_writes_cannot_be_written(stub: VideoServiceAsyncStub, path: str) -> None:
    made = await create(stub, title="T")
    given = video_pb2.Video(name=made.name, title="New")
    expected = (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_NOT_WRITABLE")
    assert await refused(update(stub, given, "title", path)) == expected
    assert (await stub.GetVideo(pb.GetVideoRequest(name=made.name))).video == made


async def test_an_etag_guards_updates_and_deletes(stub: VideoServiceAsyncStub) -> None:
    mismatch = (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    made = await create(stub, title="T")
    changed = await update(stub, video_pb2.Video(name=made.name, title="A", etag=made.etag))
    assert await refused(update(stub, video_pb2.Video(name=made.name, title="B", etag=made.etag))) == mismatch
    assert await refused(stub.DeleteVideo(pb.DeleteVideoRequest(name=made.name, etag=made.etag))) == mismatch
    await stub.DeleteVideo(pb.DeleteVideoRequest(name=made.name, etag=changed.etag))


async def test_the_pipeline_changes_the_etag_too(stub: VideoServiceAsyncStub, store: MemoryVideoStore) -> None:
    await Projection(store, TickingClock()).apply(Events().uploaded(1, "T"))
    before = (await stub.GetVideo(pb.GetVideoRequest(name=str(VIDEO)))).video
    await Projection(store, TickingClock()).apply(Events().planned(2, 90))
    after = (await stub.GetVideo(pb.GetVideoRequest(name=str(VIDEO)))).video
    assert after.etag != before.etag
    assert after.duration.seconds == 90
    assert after.tracks[0].id == "v2"
    assert after.state == video_pb2.Video.STATE_PROCESSING


async def test_edits_of_different_fields_do_not_undo_each_other(
    stub: VideoServiceAsyncStub, store: MemoryVideoStore
) -> None:
    made = await create(stub, title="T", description="D")
    replace = store.replace
    interfered: list[bool] = []

    async def interfere(old: Video, new: Video) -> bool:
        if not interfered:
            interfered.append(True)
            await update(stub, video_pb2.Video(name=made.name, description="from elsewhere"))
        return await replace(old, new)

    store.replace = interfere  # type: ignore[method-assign]
    changed = await update(stub, video_pb2.Video(name=made.name, title="New"))
    assert (changed.title, changed.description) == ("New", "from elsewhere")


async def test_pages_are_newest_first(stub: VideoServiceAsyncStub) -> None:
    names = [(await create(stub, title=str(n))).name for n in range(5)]
    seen: list[str] = []
    token = ""
    sizes = []
    while True:
        page = await stub.ListVideos(pb.ListVideosRequest(parent=ACME, page_size=2, page_token=token))
        seen += [video.name for video in page.videos]
        sizes.append(len(page.videos))
        token = page.next_page_token
        if not token:
            break
    assert seen == names[::-1]
    assert sizes == [2, 2, 1]
    assert not (await stub.ListVideos(pb.ListVideosRequest(parent="organizations/other"))).videos


@pytest.mark.parametrize("token", ["!", "bm9wZQ", "AAAA"])
async def test_foreign_page_tokens(stub: VideoServiceAsyncStub, token: str) -> None:
    request = pb.ListVideosRequest(parent=ACME, page_token=token)
    assert await refused(stub.ListVideos(request)) == (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")


async def test_a_deletion_is_announced(stub: VideoServiceAsyncStub, store: MemoryVideoStore) -> None:
    made = await create(stub, title="T")
    await stub.DeleteVideo(pb.DeleteVideoRequest(name=made.name))
    assert [str(event.name) for event in store.events] == [made.name]
    assert not store.notes
    await stub.DeleteVideo(pb.DeleteVideoRequest(name=made.name, allow_missing=True))
    assert len(store.events) == 1


async def test_a_deletion_that_lost_the_race_is_tried_again(
    stub: VideoServiceAsyncStub, store: MemoryVideoStore
) -> None:
    made = await create(stub, title="T")
    bury = store.bury
    interfered: list[bool] = []

    async def interfere(video: Video, deletion: Deletion) -> bool:
        if not interfered:
            interfered.append(True)
            await update(stub, video_pb2.Video(name=made.name, title="New"))
        return await bury(video, deletion)

    store.bury = interfere  # type: ignore[method-assign]
    guarded = pb.DeleteVideoRequest(name=made.name, etag=made.etag)
    assert await refused(stub.DeleteVideo(guarded)) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    assert not store.notes
    interfered.clear()
    await stub.DeleteVideo(pb.DeleteVideoRequest(name=made.name))
    assert len(store.events) == 1
    assert not store.notes


async def test_a_deletion_cut_short_is_announced_by_the_sweep(
    stub: VideoServiceAsyncStub, store: MemoryVideoStore
) -> None:
    class Silent(MemoryVideoStore):
        async def announce(self, deletion: Deletion) -> None:
            raise Unavailable("gone")

    made = await create(stub, title="T")
    kept = await create(stub, title="U")
    announce = store.announce
    store.announce = Silent().announce  # type: ignore[method-assign]
    await stub.DeleteVideo(pb.DeleteVideoRequest(name=made.name))
    store.announce = announce  # type: ignore[method-assign]
    # A note of a deletion that never happened.
    await store.intend(Deletion(next(n for n in store.videos if str(n) == kept.name), id_of(99), TickingClock().now()))

    clock = TickingClock()
    clock.time += timedelta(seconds=1)
    await Deletions(store, clock).sweep()
    assert len(store.notes) == 2  # too fresh to judge
    clock.time += GRACE
    await Deletions(store, clock).sweep()
    assert [str(event.name) for event in store.events] == [made.name]
    assert not store.notes
    assert [str(name) for name in store.videos] == [kept.name]
