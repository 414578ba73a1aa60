"""`reelmesh bench pipeline`: a whole job of the platform and one plain ffmpeg that makes the same ladder."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reelmesh.catalog.v1.video_service_pb2 import DeleteVideoRequest
from reelmesh.ingest.v1.upload_pb2 import Upload
from reelmesh.transcode.v1.job_pb2 import Job
from reelmesh_tools.bench import ffmpeg
from reelmesh_tools.bench.errors import BenchError
from reelmesh_tools.client import following, uploading
from reelmesh_tools.client.platform import CALL_SECONDS, Platform


def measure(
    platform: Platform, home: Path, source: Path | None, seconds: float, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Run the platform, then ffmpeg, on `source`, or on a clip of `seconds` made here.

    Returns what is printed:

    - source_bytes, source_seconds, source_frames, load_average (of one minute, before and after)
    - upload_seconds: first byte sent to the answer; playable_seconds, ready_seconds: from that answer to the first
      segment of every rendition listed, and to the job READY
    - plain_seconds: wall time of the one ffmpeg; ratio: ready_seconds / plain_seconds
    - bytes_read: what the workers read of the source; read_ratio: bytes_read / source_bytes
    - frames, plain_frames: frames of each rendition; renditions: their names; tasks, redeliveries: of the job

    Nothing is left behind. Raises BenchError, grpc.RpcError, following.JobMissing.
    """
    folder = home / "bench" / uuid.uuid4().hex
    folder.mkdir(parents=True)
    load_before = os.getloadavg()[0]
    try:
        if source is None:
            progress(f"making a clip of {seconds:g} s")
            source = ffmpeg.make_clip(folder / "clip.mp4", seconds)
        job, times = _platform(platform, source, folder, progress)
        progress("plain ffmpeg")
        (folder / "plain").mkdir()
        plain_seconds, plain_frames = ffmpeg.encode(source, job, folder / "plain")
        size = source.stat().st_size
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "source_bytes": size,
        "source_seconds": round(job.duration.ToTimedelta().total_seconds(), 3),
        "source_frames": job.source_frames,
        "load_average": [round(load_before, 2), round(os.getloadavg()[0], 2)],
        **times,
        "plain_seconds": round(plain_seconds, 3),
        "ratio": round(times["ready_seconds"] / plain_seconds, 3),
        "bytes_read": job.progress.bytes_read,
        "read_ratio": round(job.progress.bytes_read / size, 3),
        "frames": job.frames,
        "plain_frames": plain_frames,
        "renditions": [track.id for track in job.tracks],
        "tasks": job.progress.tasks,
        "redeliveries": job.progress.redeliveries,
    }


def _platform(
    platform: Platform, source: Path, folder: Path, progress: Callable[[str], None]
) -> tuple[Job, dict[str, float]]:
    """Upload `source` and follow its job to the end; the video is deleted whatever comes of it."""
    memory = uploading.Memory.of(folder / "uploads", source, platform.url)
    progress("uploading")
    done = uploading.upload(platform, source, uploading.Wanted("bench"), memory, lambda sent: None)
    acknowledged = time.perf_counter()
    if done.upload.state != Upload.STATE_SUCCEEDED:
        raise BenchError(f"the upload ended as {Upload.State.Name(done.upload.state)}")
    times = {"upload_seconds": round(done.seconds, 3)}
    try:
        job = begun = following.job_of(platform, done.upload.name)
        for job in following.follow(platform, begun):
            progress(f"encoding: {job.progress.tasks_done} of {job.progress.tasks} tasks")
            if job.playable and "playable_seconds" not in times:
                following.wait_until_listed(platform, job.video)
                times["playable_seconds"] = round(time.perf_counter() - acknowledged, 3)
        times["ready_seconds"] = round(time.perf_counter() - acknowledged, 3)
        if job.state != Job.STATE_READY:
            raise BenchError(f"the job ended as {Job.State.Name(job.state)}: {job.failure.message}")
    finally:
        request = DeleteVideoRequest(name=done.upload.video, allow_missing=True)
        platform.videos.DeleteVideo(request, timeout=CALL_SECONDS)
    return job, times
