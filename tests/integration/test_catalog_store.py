"""The catalog's store on a real Cassandra."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reelmesh.catalog.model import Artwork, Deletion, Details, Job, JobState, Person, State, Video
from reelmesh.catalog.projection import Projection
from reelmesh.catalog.store import CassandraVideoStore
from reelmesh.catalog.videos import Videos
from reelmesh.events.v1.media_event_pb2 import JobPlayable, MediaEvent, UploadCompleted
from reelmesh.media.v1.media_pb2 import Track
from reelmesh.mesh.clock import SystemClock, TimeOrderedIds
from reelmesh.mesh.names import VideoName
from reelmesh.stores.cassandra import Cassandra, Statement
from reelmesh.stores.events import MEDIA_EVENTS, Record
from reelmesh.stores.migrations import migrate
from reelmesh.stores.outbox import Outbox

pytestmark = pytest.mark.stack

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
CLOCK = SystemClock()
IDS = TimeOrderedIds(CLOCK)
DETAILS = Details(
    title="Title",
    description="",
    tags=("b", "a"),
    people=(Person("Sacha", "director"), Person("Frank", "actor", "Bunny")),
    genres=("animation",),
    artwork=(Artwork("poster", "/p.jpg", 200, 300),),
)


class WatchedOutbox(Outbox):
    """Notes what is put into it; the row itself goes to the stack's own relay, which may be faster than we look."""

    def __init__(self, cassandra: Cassandra) -> None:
        publisher: Any = None  # never relays
        super().__init__("catalog", cassandra, publisher, CLOCK)
        self.records: list[Record] = []

    def add(self, event_id: str, record: Record) -> Statement:
        self.records.append(record)
        return super().add(event_id, record)


@pytest.fixture
async def outbox(cassandra: Cassandra) -> WatchedOutbox:
    await migrate(cassandra, "catalog", {"class": "SimpleStrategy", "replication_factor": 1})
    return WatchedOutbox(cassandra)


@pytest.fixture
def store(cassandra: Cassandra, outbox: WatchedOutbox) -> CassandraVideoStore:
    return CassandraVideoStore(cassandra, outbox)


@pytest.fixture
def organization() -> str:
    return f"test-{uuid.uuid4()}"


@pytest.fixture
def video(organization: str) -> Video:
    return Video(VideoName(organization, IDS.new()), NOW, NOW, DETAILS)


async def test_a_video_comes_back_as_it_was(store: CassandraVideoStore, video: Video) -> None:
    assert await store.load(video.name) is None
    assert await store.create(video)
    assert await store.load(video.name) == video
    assert not await store.create(replace(video, details=Details("Other")))
    assert await store.load(video.name) == video


async def test_a_video_that_nobody_wrote_about(store: CassandraVideoStore, video: Video) -> None:
    bare = replace(video, details=Details())
    assert await store.create(bare)
    assert await store.load(video.name) == bare


async def test_jobs_come_and_go(store: CassandraVideoStore, video: Video) -> None:
    failed = Job("1", JobState.FAILED, failure_reason="SOURCE_UNREADABLE", failed_time=NOW)
    tracks = (Track(id="v720", codec="avc1.64001f", timescale=24000), Track(id="a0"))
    planned = Job("2", JobState.PLANNED, tracks, timedelta(seconds=61, microseconds=7))
    assert await store.create(replace(video, upload="u", jobs={"1": failed}))
    first = await store.load(video.name)
    assert first is not None
    assert first.jobs == {"1": failed}
    assert first.state is State.FAILED

    second = replace(first, jobs={"1": failed, "2": planned}, revision=2)
    assert await store.replace(first, second)
    assert await store.load(video.name) == second

    third = replace(second, jobs={"2": replace(planned, state=JobState.SUCCEEDED)}, revision=3)
    assert await store.replace(second, third)
    assert await store.load(video.name) == third
    assert third.state is State.READY


async def test_of_many_at_once_each_edit_counts(store: CassandraVideoStore, video: Video) -> None:
    assert await store.create(video)
    outcomes = await asyncio.gather(
        *(store.replace(video, replace(video, details=Details(f"Title {n}"), revision=2)) for n in range(8))
    )
    assert outcomes.count(True) == 1
    stored = await store.load(video.name)
    assert stored is not None
    assert stored.details.title == f"Title {outcomes.index(True)}"

    videos = Videos(store, CLOCK, IDS)
    await asyncio.gather(
        videos.update(video.name, Details(title="New"), [], ""),
        videos.update(video.name, Details(description="New"), [], ""),
        videos.update(video.name, Details(tags=("new",)), [], ""),
    )
    stored = await store.load(video.name)
    assert stored is not None
    assert (stored.details.title, stored.details.description, stored.details.tags) == ("New", "New", ("new",))
    assert stored.revision == 5


async def test_one_request_makes_one_video(store: CassandraVideoStore, organization: str) -> None:
    request_id = str(uuid.uuid4())
    claims = await asyncio.gather(*(store.claim(organization, request_id, str(n)) for n in range(6)))
    assert len(set(claims)) == 1
    assert await store.claim(organization, request_id, "later") == claims[0]
    assert await store.claim("other", request_id, "theirs") == "theirs"


async def test_pages_skip_what_is_gone(store: CassandraVideoStore, organization: str) -> None:
    videos = []
    for _ in range(7):
        made = Video(VideoName(organization, IDS.new()), NOW, NOW, Details("T"))
        assert await store.create(made)
        videos.append(made)
    for gone in (videos[6], videos[4], videos[3]):
        # Not announced, so the list names it still.
        assert await store.bury(gone, Deletion(gone.name, IDS.new(), NOW))
    newest_first = sorted((videos[i] for i in (0, 1, 2, 5)), key=lambda v: v.name.id, reverse=True)

    assert await store.page(organization, "", 10) == (newest_first, "")
    assert await store.page(organization, "", 4) == (newest_first, "")
    page, further = await store.page(organization, "", 3)
    assert page == newest_first[:3]
    assert await store.page(organization, further, 3) == (newest_first[3:], "")
    assert await store.page("nobody", "", 3) == ([], "")


async def test_a_deletion_is_announced_once_and_for_all(
    cassandra: Cassandra, store: CassandraVideoStore, outbox: WatchedOutbox, video: Video
) -> None:
    jobs = {"1": Job("1", JobState.PLANNED), "2": Job("2", JobState.SUCCEEDED)}
    assert await store.create(replace(video, jobs=jobs, upload="u"))
    videos = Videos(store, CLOCK, IDS)
    await videos.delete(video.name, "", allow_missing=False)

    assert await store.load(video.name) is None
    assert await store.page(video.name.organization, "", 10) == ([], "")
    assert not [d for d in await store.intended(CLOCK.now()) if d.name == video.name]
    (record,) = outbox.records
    assert (record.topic, record.key) == (MEDIA_EVENTS, str(video.name))
    assert MediaEvent.FromString(record.value).WhichOneof("event") == "video_deleted"
    rows = await cassandra.execute(
        "SELECT job, title, TTL(revision) AS ttl FROM reelmesh_catalog.videos WHERE organization = ? AND video = ?",
        video.name.organization,
        video.name.id,
    )
    assert [(row.job, row.title) for row in rows] == [(None, None)]
    assert 29 * 86400 < rows[0].ttl <= 30 * 86400


async def test_only_what_was_read_is_deleted(store: CassandraVideoStore, video: Video) -> None:
    assert await store.create(video)
    newer = replace(video, details=Details("Newer"), revision=2)
    assert await store.replace(video, newer)
    deletion = Deletion(video.name, IDS.new(), CLOCK.now())
    await store.intend(deletion)
    assert [d for d in await store.intended(CLOCK.now()) if d.name == video.name] == [deletion]
    assert not await store.bury(video, deletion)
    assert await store.load(video.name) == newer
    await store.forget(deletion)
    assert not [d for d in await store.intended(CLOCK.now()) if d.name == video.name]


async def test_late_events_do_not_bring_a_video_back(store: CassandraVideoStore, video: Video) -> None:
    projection = Projection(store, CLOCK)
    parent = f"organizations/{video.name.organization}"
    uploaded = MediaEvent(
        video=str(video.name),
        upload_completed=UploadCompleted(upload=f"{parent}/uploads/1", title="From the upload"),
    )
    playable = MediaEvent(video=str(video.name), job_playable=JobPlayable(job=f"{parent}/jobs/1"))
    await projection.apply(uploaded)
    await projection.apply(playable)
    stored = await store.load(video.name)
    assert stored is not None
    assert (stored.details.title, stored.state) == ("From the upload", State.PLAYABLE)
    await Videos(store, CLOCK, IDS).delete(video.name, stored.etag, allow_missing=False)
    await projection.apply(uploaded)
    await projection.apply(playable)
    assert await store.load(video.name) is None
    assert not await store.create(video)
