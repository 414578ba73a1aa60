"""The control over a store in memory: repeats, races, crashes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reelmesh.media.v1.media_pb2 import Segment, Track
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import JobName, UploadName, VideoName
from reelmesh.transcode import job as jobs
from reelmesh.transcode.control import Control, Limits
from reelmesh.transcode.errors import JobUnknown, SourceUnknown, TaskObsolete
from reelmesh.transcode.index import from_the_start
from reelmesh.transcode.job import Job, Source, State
from reelmesh.transcode.plan import Plan, PlanError, PlannedTask
from reelmesh.transcode.watchers import Watchers
from reelmesh.worker.v1 import task_pb2
from reelmesh.worker.v1.task_pb2 import AudioWork, Encoded, EncodedTrack, Failure, Inspection, TaskResult, VideoWork

ID = "01920000-0000-7000-8000-000000000000"
UPLOAD, VIDEO = UploadName("acme", ID), VideoName("acme", ID)


class SetClock:
    time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


class MemoryStore:
    def __init__(self) -> None:
        self.jobs: dict[JobName, Job] = {}
        self.works: dict[tuple[JobName, str], bytes] = {}
        self.index: dict[JobName, dict[str, dict[int, Segment]]] = {}
        self.sources: dict[UploadName, Source] = {}
        self.playable_jobs: list[JobName] = []
        self.closed: list[JobName] = []

    async def add_source(self, source: Source) -> None:
        self.sources[source.upload] = source

    async def source(self, upload: UploadName) -> Source:
        if upload not in self.sources:
            raise SourceUnknown("none")
        return self.sources[upload]

    async def create(self, job: Job) -> Job:
        return self.jobs.setdefault(job.name, replace(job, revision=1))

    async def load(self, name: JobName) -> Job:
        if name not in self.jobs:
            raise JobUnknown("none")
        return self.jobs[name]

    async def save(self, old: Job, new: Job) -> Job | None:
        await asyncio.sleep(0)
        if self.jobs[new.name].revision != old.revision:
            return None
        self.jobs[new.name] = replace(new, revision=old.revision + 1)
        return self.jobs[new.name]

    async def put_works(self, name: JobName, works: Mapping[str, bytes]) -> None:
        self.works.update({(name, task): work for task, work in works.items()})

    async def work(self, name: JobName, task: str) -> bytes:
        return self.works[name, task]

    async def add_segments(self, name: JobName, track: str, segments: Sequence[Segment]) -> None:
        self.index.setdefault(name, {}).setdefault(track, {}).update({s.number: s for s in segments})

    async def segments(self, name: JobName) -> Mapping[str, Sequence[Segment]]:
        tracks = self.index.get(name, {})
        return {track: [found[n] for n in sorted(found)] for track, found in tracks.items()}

    async def add_playable(self, job: Job) -> None:
        self.playable_jobs.append(job.name)

    async def close(self, name: JobName) -> None:
        self.closed.append(name)

    async def reopen(self, name: JobName) -> None:
        return

    async def list(self, organization: str, upload: UploadName | None, size: int, before: str) -> Sequence[Job]:
        return list(self.jobs.values())


class Outlet:
    def __init__(self) -> None:
        self.queued: list[task_pb2.Task] = []
        self.announced: list[str] = []
        self.buried: list[str] = []
        self.away = False

    async def queue(self, task: task_pb2.Task) -> None:
        if self.away:
            raise Unavailable("Kafka is away")
        self.queued.append(task)

    async def announce(self, job: Job, fact: str) -> None:
        if self.away:
            raise Unavailable("Kafka is away")
        self.announced.append(f"{fact} {job.state.value}" if fact == "ended" else fact)

    async def bury(self, job: Job, task: task_pb2.Task) -> None:
        self.buried.append(task.id)


class Plans:
    refuse = False
    away = False

    def __init__(self) -> None:
        self.protecting: list[VideoName | None] = []

    async def make(self, inspection: Inspection, video: VideoName | None) -> Plan:
        if self.away:
            raise Unavailable("the drm service is away")
        self.protecting.append(video)
        if self.refuse:
            raise PlanError("SOURCE_NO_VIDEO", "no picture")
        tracks = (Track(id="v720", timescale=100), Track(id="a0", timescale=100))
        tracks[0].video.SetInParent()
        tracks[1].audio.SetInParent()
        tasks = (
            PlannedTask("video-0", VideoWork(first_segment=0)),
            PlannedTask("audio-0", AudioWork(track="a0")),
            PlannedTask("video-1", VideoWork(first_segment=1)),
        )
        return Plan(tracks=tracks, tasks=tasks, origin=0.0, duration=2.0, frames=50)


class World:
    def __init__(self) -> None:
        self.store, self.outlet, self.plans, self.clock = MemoryStore(), Outlet(), Plans(), SetClock()
        limits = Limits(
            max_pixels=1000,
            max_duration=timedelta(hours=1),
            task=timedelta(minutes=5),
            whole=timedelta(minutes=9),
            failures=3,
            window=8,
        )
        self.control = Control(self.store, self.outlet, self.plans, self.clock, Watchers(), limits)

    async def begin(self) -> Job:
        return await self.control.upload_completed(Source(UPLOAD, VIDEO, "source"))

    async def planned(self) -> Job:
        job = await self.begin()
        await self.control.result(self.answer(job, "inspect", inspection=INSPECTION))
        return await self.control.get(job.name)

    def answer(self, job: Job, task: str, attempt: int = 1, **outcome: object) -> TaskResult:
        return TaskResult(job=str(job.name), task=task, attempt=attempt, worker="w", **outcome)  # type: ignore[arg-type]

    def chunk(self, job: Job, number: int, frames: int = 25, *, attempt: int = 1) -> TaskResult:
        segment = Segment(number=number, start=number * 100, duration=100, samples=frames)
        gain = EncodedTrack(track="v720", codec="avc1", init_sha256=b"v", segments=[segment])
        return self.answer(job, f"video-{number}", attempt, encoded=Encoded(tracks=[gain], final=True))

    def sound(self, job: Job, *pieces: int, attempt: int = 1, final: bool = True) -> TaskResult:
        segments = [Segment(number=n, start=n * 100, duration=100, samples=45) for n in pieces or (0, 1)]
        gain = EncodedTrack(track="a0", codec="mp4a", init_sha256=b"a", segments=segments)
        return self.answer(job, "audio-0", attempt, encoded=Encoded(tracks=[gain], final=final))


INSPECTION = Inspection(video=[task_pb2.VideoStream(frames=50)])


async def test_from_upload_to_ready() -> None:
    world = World()
    job = await world.planned()
    assert [task.id for task in world.outlet.queued] == ["inspect", "video-0", "audio-0", "video-1"]
    assert world.outlet.queued[1].prefix == f"acme/{ID}/{job.name.id}"
    await world.control.result(world.sound(job, final=False))
    assert world.outlet.announced == ["planned"]
    await world.control.result(world.chunk(job, 0))
    assert world.outlet.announced == ["planned", "playable"]
    assert world.store.playable_jobs == [job.name]
    await world.control.result(world.sound(job))
    await world.control.result(world.chunk(job, 1))
    assert (await world.control.get(job.name)).state is State.READY
    assert world.outlet.announced == ["planned", "playable", "ended READY"]
    await world.control.look(job.name)
    assert world.store.closed == [job.name]


async def test_everything_may_come_twice() -> None:
    world = World()
    job = await world.planned()
    again = await world.planned()
    assert again.name == job.name
    for result in (world.sound(job), world.chunk(job, 1), world.chunk(job, 0)) * 2:
        await world.control.result(result)
    assert (await world.control.get(job.name)).state is State.READY
    assert world.outlet.announced == ["planned", "playable", "ended READY"]
    assert len(world.outlet.queued) == 4


async def test_results_at_the_same_time_lose_nothing() -> None:
    world = World()
    job = await world.planned()
    results = (world.sound(job), world.chunk(job, 0), world.chunk(job, 1))
    await asyncio.gather(*(world.control.result(result) for result in results))
    assert (await world.control.get(job.name)).state is State.READY


async def test_what_could_not_be_said_is_said_later() -> None:
    world = World()
    job = await world.begin()
    world.outlet.away = True
    with pytest.raises(Unavailable):
        await world.control.result(world.answer(job, "inspect", inspection=INSPECTION))
    assert (await world.control.get(job.name)).state is State.ENCODING
    world.outlet.away = False
    await world.control.look(job.name)
    assert world.outlet.announced == ["planned"]
    assert [task.id for task in world.outlet.queued] == ["inspect", "video-0", "audio-0", "video-1"]


async def test_a_protected_source_stays_protected() -> None:
    world = World()
    job = await world.control.upload_completed(Source(UPLOAD, VIDEO, "source", protected=True))
    again = await world.control.create("acme", UPLOAD, "again", ID)
    for each in (job, again):
        assert each.protected
        await world.control.result(world.answer(each, "inspect", inspection=INSPECTION))
    assert world.plans.protecting == [VIDEO, VIDEO]
    assert {task.video_name for task in world.outlet.queued} == {str(VIDEO)}


async def test_a_clear_source_asks_for_no_keys() -> None:
    world = World()
    await world.planned()
    assert world.plans.protecting == [None]


async def test_a_plan_waits_for_its_keys() -> None:
    world = World()
    job = await world.control.upload_completed(Source(UPLOAD, VIDEO, "source", protected=True))
    inspected = world.answer(job, "inspect", inspection=INSPECTION)
    world.plans.away = True
    with pytest.raises(Unavailable):  # which gives the answer back to Kafka
        await world.control.result(inspected)
    assert (await world.control.get(job.name)).state is State.INSPECTING
    world.plans.away = False
    await world.control.result(inspected)
    assert (await world.control.get(job.name)).state is State.ENCODING


async def test_a_missing_frame_fails_the_job() -> None:
    world = World()
    job = await world.planned()
    for result in (world.sound(job), world.chunk(job, 0), world.chunk(job, 1, frames=24)):
        await world.control.result(result)
    ended = await world.control.get(job.name)
    assert (ended.state, ended.failure_reason) == (State.FAILED, "INDEX_INCOMPLETE")


async def test_a_source_that_cannot_be_planned_fails_with_its_reason() -> None:
    world = World()
    world.plans.refuse = True
    job = await world.planned()
    assert (job.state, job.failure_reason) == (State.FAILED, "SOURCE_NO_VIDEO")
    assert world.outlet.announced == ["ended FAILED"]


async def test_a_poison_task_becomes_a_dead_letter() -> None:
    world = World()
    job = await world.begin()
    failure = Failure(reason="SOURCE_UNREADABLE", message="broken")
    await world.control.result(world.answer(job, "inspect", failure=failure))
    assert world.outlet.buried == ["inspect"]
    assert (await world.control.get(job.name)).failure_reason == "SOURCE_UNREADABLE"


async def test_a_failure_of_an_older_attempt_is_ignored() -> None:
    world = World()
    job = await world.planned()
    failure = Failure(reason="ENCODE_FAILED", retryable=True)
    await world.control.result(world.answer(job, "video-0", failure=failure))
    await world.control.result(world.answer(job, "video-0", failure=failure))
    task = (await world.control.get(job.name)).tasks["video-0"]
    assert (task.attempt, task.failures) == (2, 1)
    assert [t.attempt for t in world.outlet.queued if t.id == "video-0"] == [1, 2]


async def test_an_older_attempt_that_was_not_heard_from_its_start_does_not_count() -> None:
    world = World()
    job = await world.planned()
    for number in (0, 1):
        await world.control.result(world.chunk(job, number))
    await world.control.cancel(job.name)
    await world.control.result(world.sound(job, 0, final=False))
    await world.control.retry(job.name)
    await world.control.result(world.sound(job, 1))
    assert (await world.control.get(job.name)).state is State.ENCODING
    await world.control.start_task(job.name, "audio-0", 2, "w", "0/9")
    await world.control.result(world.sound(job, attempt=2))
    assert (await world.control.get(job.name)).state is State.READY


async def test_cancel_then_retry_goes_on_where_it_was() -> None:
    world = World()
    job = await world.planned()
    await world.control.result(world.chunk(job, 0))
    await world.control.cancel(job.name)
    assert world.outlet.announced[-1] == "ended CANCELLED"
    world.outlet.queued.clear()
    await world.control.retry(job.name)
    assert [(task.id, task.attempt) for task in world.outlet.queued] == [("audio-0", 2), ("video-1", 2)]
    for result in (world.sound(job, attempt=2), world.chunk(job, 1, attempt=2)):
        await world.control.result(result)
    assert (await world.control.get(job.name)).state is State.READY


async def test_a_worker_is_told_when_nobody_waits_for_its_task() -> None:
    world = World()
    job = await world.planned()
    await world.control.start_task(job.name, "audio-0", 1, "w", "0/3")
    await world.control.keep_task(job.name, "audio-0", 1, "w")
    for task, attempt, worker in (("audio-0", 1, "another"), ("audio-0", 2, "w"), ("nothing", 1, "w")):
        with pytest.raises(TaskObsolete):
            await world.control.keep_task(job.name, task, attempt, worker)
    await world.control.cancel(job.name)
    with pytest.raises(TaskObsolete):
        await world.control.keep_task(job.name, "audio-0", 1, "w")
    await world.control.retry(job.name)
    with pytest.raises(TaskObsolete):
        await world.control.keep_task(job.name, "audio-0", 1, "w")


async def test_a_late_failure_does_not_undo_an_end() -> None:
    world = World()
    job = await world.planned()
    late = replace(await world.control.get(job.name), state=State.READY)
    assert jobs.failed(late, "video-0", "X", "x", world.clock.now()) is late


async def test_a_watcher_sees_each_change_and_the_end() -> None:
    world = World()
    job = await world.planned()
    seen: list[Job] = []

    async def watch() -> None:
        seen.extend([each async for each in world.control.watch(job.name, 0)])

    watching = asyncio.create_task(watch())
    for result in (world.sound(job), world.chunk(job, 0), world.chunk(job, 1)):
        await world.control.result(result)
    await asyncio.wait_for(watching, 5)
    revisions = [each.revision for each in seen]
    assert revisions == sorted(set(revisions))
    assert seen[-1].state is State.READY
    assert [each async for each in world.control.watch(job.name, seen[-1].revision)] == []


async def test_an_unknown_upload_cannot_be_encoded_again() -> None:
    world = World()
    with pytest.raises(SourceUnknown):
        await world.control.create("acme", UPLOAD, "r", ID)


async def test_another_job_of_the_same_upload() -> None:
    world = World()
    first = await world.begin()
    second = await world.control.create("acme", UPLOAD, "r", ID)
    assert second.name != first.name
    assert (await world.control.create("acme", UPLOAD, "r", ID)).name == second.name


def test_the_index_ends_before_the_first_gap() -> None:
    segments = [Segment(number=n) for n in (0, 1, 3)]
    assert [s.number for s in from_the_start(segments)] == [0, 1]
