"""Does one task: reads what it needs of the source, runs the tools, stores what came out, and tells of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from reelmesh.media.v1.media_pb2 import Protection, SourceManifest
from reelmesh.mesh.clock import Clock
from reelmesh.mesh.errors import Unavailable
from reelmesh.worker import encrypt
from reelmesh.worker.encode import Encoder
from reelmesh.worker.encrypt import ClearFile, Encrypter, KeyDesk, Seal
from reelmesh.worker.errors import MediaError, Reason, unwrapped
from reelmesh.worker.inspect import Inspector
from reelmesh.worker.package import InitSegment, PackagedSegment, PictureFile
from reelmesh.worker.source import HeadCache, ObjectReader, Source
from reelmesh.worker.v1.task_pb2 import (
    AudioWork,
    Encoded,
    EncodedTrack,
    Failure,
    InspectWork,
    Task,
    TaskResult,
    VideoRendition,
    VideoWork,
)

_LOG = logging.getLogger(__name__)
_FOLDER = "task-"
_REPORT_SECONDS = 1.0

Report = Callable[[TaskResult], Awaitable[None]]
"""Takes an answer; `worker` is left for it to fill in."""


class SourceStore(ObjectReader, Protocol):
    """The raw store, where sources lie."""

    async def get(self, key: str) -> bytes | None:
        """Return an object, or None when there is none."""

    async def put(self, key: str, data: bytes) -> None:
        """Store an object whole."""


class MediaSink(Protocol):
    """The media store, where tracks go."""

    async def put(self, key: str, data: bytes) -> None:
        """Store an object whole, in place of one that is there; it is durable on return."""


class TaskRunner:
    """Runs tasks, each in a folder of its own below `scratch` that is gone afterwards."""

    def __init__(
        self,
        *,
        raw: SourceStore,
        media: MediaSink,
        inspector: Inspector,
        encoder: Encoder,
        encrypter: Encrypter,
        keys: KeyDesk,
        clock: Clock,
        scratch: Path,
        cache: HeadCache,
    ) -> None:
        self._raw = raw
        self._media = media
        self._inspector = inspector
        self._encoder = encoder
        self._encrypter = encrypter
        self._keys = keys
        self._clock = clock
        self._scratch = scratch
        self._cache = cache

    def clean(self) -> None:
        """Make the scratch folder, and remove what a worker that died left there. Before the first task only."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        for folder in self._scratch.glob(f"{_FOLDER}*"):
            shutil.rmtree(folder, ignore_errors=True)

    async def run(self, task: Task, report: Report) -> None:
        """Do `task` and report what it made.

        A picture chunk and an inspection report once. A sound stream reports its first segment as soon as it is
        durable, then about once a second, and last with `final` true; `bytes_read` is told by the last report alone.
        Every failure becomes a report too; only cancellation, and what `report` itself raises, come out.
        """
        run = _Run(task, report, self._clock)
        folder = Path(tempfile.mkdtemp(prefix=_FOLDER, dir=self._scratch))
        limit = asyncio.timeout(task.time_limit.ToTimedelta().total_seconds() or None)
        try:
            async with limit:
                await self._do(run, folder)
        except MediaError as error:
            await run.fail(error)
        except Unavailable as error:
            await run.fail(MediaError(Reason.STORE_UNAVAILABLE, error.message, retryable=True))
        except Exception as error:
            if isinstance(error, TimeoutError) and limit.expired():
                await run.fail(MediaError(Reason.TASK_TIMEOUT, "the task took too long", retryable=True))
            else:
                _LOG.exception("%s %s", task.job, task.id)
                await run.fail(MediaError(Reason.WORKER_ERROR, "the worker failed", retryable=True))
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _do(self, run: _Run, folder: Path) -> None:
        task = run.task
        manifest = await self._raw.get(task.source)
        if manifest is None:
            raise MediaError(Reason.SOURCE_MISSING, "the source is gone")
        source = Source(task.source, SourceManifest.FromString(manifest), self._raw, cache=self._cache)
        run.source = source
        match task.WhichOneof("work"):
            case "inspect":
                await self._inspect(run, source, folder, task.inspect)
            case "video":
                await self._video(run, source, folder, task.video)
            case "audio":
                await self._audio(run, source, folder, task.audio)
            case _:
                raise MediaError(Reason.TASK_INVALID, "the task says nothing to do")

    async def _inspect(self, run: _Run, source: Source, folder: Path, work: InspectWork) -> None:
        inspection, index = await self._inspector.inspect(source, folder, work)
        if index is not None:
            inspection.index = f"{run.task.source}.index"
            await self._raw.put(inspection.index, index.SerializeToString())
        await run.tell(TaskResult(inspection=inspection), last=True)

    async def _video(self, run: _Run, source: Source, folder: Path, work: VideoWork) -> None:
        if not work.renditions or work.frames <= 0 or work.timescale <= 0 or not work.frame_rate.numerator:
            raise MediaError(Reason.TASK_INVALID, "the task lacks renditions, frames or a rate")
        path = folder / "source"
        await source.fetch(path, work.ranges or None, always=work.always, gap=0)  # joined by the planner already
        files = await self._encoder.picture(work, path, folder)
        path.unlink()
        seals = await self._seals(run.task, work, files, folder)
        encoded = Encoded(final=True)
        async with unwrapped(), asyncio.TaskGroup() as group:
            stored = [
                group.create_task(self._store(run.task, work, rendition, PictureFile(file), seal))
                for rendition, file, seal in zip(work.renditions, files, seals, strict=True)
            ]
        encoded.tracks.extend(task.result() for task in stored)
        await run.tell(TaskResult(encoded=encoded), last=True)

    async def _seals(self, task: Task, work: VideoWork, files: Sequence[Path], folder: Path) -> Sequence[Seal | None]:
        """Encrypt the renditions of a chunk; all of them or none."""
        if not work.renditions[0].HasField("protection"):
            return [None] * len(files)
        keys = await self._keys_of(task, [rendition.protection for rendition in work.renditions])
        clear = [
            ClearFile(file, rendition.protection, key)
            for rendition, file, key in zip(work.renditions, files, keys, strict=True)
        ]
        return await self._encrypter.pictures(clear, folder)

    async def _keys_of(self, task: Task, protections: Sequence[Protection]) -> list[bytes]:
        """Return the values of keys: in memory, and no longer than the task needs them."""
        values = await self._keys.values(task.video_name)
        missing = {protection.label for protection in protections if protection.key_id not in values}
        if missing:
            raise MediaError(Reason.KEYS_UNKNOWN, f"the video has no key for {', '.join(sorted(missing))}")
        return [values[protection.key_id] for protection in protections]

    async def _store(
        self, task: Task, work: VideoWork, rendition: VideoRendition, file: PictureFile, seal: Seal | None
    ) -> EncodedTrack:
        init = await asyncio.to_thread(file.init)
        rate = Fraction(work.frame_rate.numerator, work.frame_rate.denominator)
        ticks = init.header.timescale / rate
        if init.header.timescale != work.timescale or ticks.denominator != 1:
            raise MediaError(Reason.ENCODE_FAILED, "the encoder chose another timescale")
        if seal is not None:
            init = encrypt.encrypted_init(init, rendition.protection)
        track = _encoded_track(rendition.track, init)
        if work.first_segment == 0:  # equal for all chunks, and nothing is listed without the first one
            await self._media.put(f"{task.prefix}/{rendition.track}/init.mp4", init.data)
        segments = file.segments(
            init,
            first_frame=work.first_frame,
            frames=work.frames,
            frame_ticks=ticks.numerator,
            segment_frames=work.segment_frames or work.frames,
            number=work.first_segment,
        )
        if seal is not None:
            segments = encrypt.encrypted_segments(segments, seal)
        while (packaged := await asyncio.to_thread(next, segments, None)) is not None:
            await self._put(task, rendition.track, packaged)
            track.segments.append(packaged.segment)
        return track

    async def _audio(self, run: _Run, source: Source, folder: Path, work: AudioWork) -> None:
        if work.duration <= 0 or work.segment_seconds <= 0 or work.segment_seconds_first <= 0:
            raise MediaError(Reason.TASK_INVALID, "the task lacks a duration or segment lengths")
        path = folder / "source"
        await source.fetch(path, work.ranges or None, always=work.always, gap=0)
        track: EncodedTrack | None = None
        told = self._clock.now()
        sound = self._encoder.sound(work, path, folder)
        if work.HasField("protection"):
            (key,) = await self._keys_of(run.task, [work.protection])
            sound = encrypt.encrypted_sound(sound, work.protection, key)
        async with contextlib.aclosing(sound) as segments:
            async for init, packaged in segments:
                first = track is None
                if track is None:
                    await self._media.put(f"{run.task.prefix}/{work.track}/init.mp4", init.data)
                    track = _encoded_track(work.track, init)
                await self._put(run.task, work.track, packaged)
                track.segments.append(packaged.segment)
                if first or (self._clock.now() - told).total_seconds() >= _REPORT_SECONDS:
                    await run.tell(TaskResult(encoded=Encoded(tracks=[track])))
                    del track.segments[:]
                    told = self._clock.now()
        if track is None:
            raise MediaError(Reason.ENCODE_FAILED, "the encoder gave no sound", retryable=True)
        await run.tell(TaskResult(encoded=Encoded(tracks=[track], final=True)), last=True)

    async def _put(self, task: Task, track: str, packaged: PackagedSegment) -> None:
        await self._media.put(f"{task.prefix}/{track}/{packaged.segment.number:05d}.m4s", packaged.data)


class _Run:
    """One run of a task, and how it is told of."""

    def __init__(self, task: Task, report: Report, clock: Clock) -> None:
        self.task = task
        self.source: Source | None = None
        self._report = report
        self._clock = clock
        self._begun = clock.now()

    async def tell(self, result: TaskResult, *, last: bool = False) -> None:
        """Report `result`, with what every result carries."""
        result.job, result.task, result.attempt = self.task.job, self.task.id, self.task.attempt
        result.start_time.FromDatetime(self._begun)
        result.end_time.FromDatetime(self._clock.now())
        if last and self.source:
            result.bytes_read = self.source.bytes_read
        await self._report(result)

    async def fail(self, error: MediaError) -> None:
        """Report that the task failed."""
        _LOG.warning("%s %s attempt %d: %s", self.task.job, self.task.id, self.task.attempt, error)
        failure = Failure(reason=error.reason, message=error.message, retryable=error.retryable)
        await self.tell(TaskResult(failure=failure), last=True)


def _encoded_track(track: str, init: InitSegment) -> EncodedTrack:
    return EncodedTrack(track=track, codec=init.header.codec, init_sha256=init.sha256)
