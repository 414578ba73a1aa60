"""What the end-to-end tests share: uploads, waits with an end, and what the processes logged."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest

from reelmesh.catalog.v1.video_pb2 import Video
from reelmesh.catalog.v1.video_service_pb2 import GetVideoRequest
from reelmesh.ingest.v1.upload_pb2 import Upload
from reelmesh.ingest.v1.upload_service_pb2 import (
    CreateUploadRequest,
    GetUploadRequest,
    ListUploadsRequest,
    WriteUploadRequest,
)
from reelmesh.media.v1.media_pb2 import SourceManifest
from reelmesh.transcode.v1.job_pb2 import Job
from reelmesh.transcode.v1.job_service_pb2 import GetJobRequest
from reelmesh_tools.client import following, uploading
from reelmesh_tools.client.platform import CALL_SECONDS, Platform, Problem, problem_of
from reelmesh_tools.stack.client import Stack

T = TypeVar("T")


def eventually(look: Callable[[], T | None], what: str, seconds: float = 60.0) -> T:
    """Return what `look` gives once it is true; an answer that may pass by itself counts as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = look()
        except grpc.RpcError as error:
            if not problem_of(error).passing:
                raise
            found = None
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)  # what is looked at has no event


def refused(call: Callable[[], object]) -> Problem:
    """Return how the platform refuses a call."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return problem_of(caught.value)


def send(platform: Platform, file: Path, title: str = "", *, protected: bool = False) -> Upload:
    """Upload `file` as the command line does, as another upload each time."""
    wanted = uploading.Wanted(title, Upload.PROTECTION_DRM if protected else Upload.PROTECTION_UNSPECIFIED)
    memory = uploading.Memory(file.with_name(f"{uuid.uuid4()}.json"))
    done = uploading.upload(platform, file, wanted, memory, lambda _: None)
    memory.forget()
    return done.upload


def send_whole(platform: Platform, file: Path) -> Upload:
    """Upload a file from a folder that may not be written to."""
    created = platform.uploads.CreateUpload(
        CreateUploadRequest(parent=platform.parent, upload=Upload(display_name=file.name)), timeout=CALL_SECONDS
    ).upload
    data = file.read_bytes()
    starts = range(0, len(data), uploading.MESSAGE_BYTES)
    messages = (
        WriteUploadRequest(
            name=created.name,
            offset=start,
            data=data[start : start + uploading.MESSAGE_BYTES],
            finish=start + uploading.MESSAGE_BYTES >= len(data),
        )
        for start in starts
    )
    return platform.uploads.WriteUpload(messages).upload


def job_named(platform: Platform, name: str) -> Job:
    """Return a job as it stands."""
    return platform.jobs.GetJob(GetJobRequest(name=name), timeout=CALL_SECONDS).job


def ended(platform: Platform, job: Job) -> Job:
    """Return the job once it has ended."""
    *_, last = following.follow(platform, job)
    return last


def video_named(platform: Platform, name: str) -> Video:
    """Return a video as the catalog has it."""
    return platform.videos.GetVideo(GetVideoRequest(name=name), timeout=CALL_SECONDS).video


def upload_named(platform: Platform, name: str) -> Upload:
    """Return an upload as it stands."""
    return platform.uploads.GetUpload(GetUploadRequest(name=name), timeout=CALL_SECONDS).upload


def upload_of_file(platform: Platform, file: Path, at_least: int) -> Upload | None:
    """Return the newest upload of a file of that name, once so many of its bytes are durable."""
    listed = platform.uploads.ListUploads(
        ListUploadsRequest(parent=platform.parent, page_size=20), timeout=CALL_SECONDS
    ).uploads
    return next((u for u in listed if u.display_name == file.name and u.persisted_size >= at_least), None)


def raw_sha256(stack: Stack, upload: str) -> str:
    """Return the SHA-256 of a finished upload's source, read part after part as a worker would."""
    _, organization, _, upload_id = upload.split("/")
    manifest = SourceManifest.FromString(
        (stack.layout.raw_objects / organization / upload_id / "source.binpb").read_bytes()
    )
    digest, end = hashlib.sha256(), 0
    for part in manifest.parts:
        data = (stack.layout.raw_objects / part.key).read_bytes()
        assert (part.offset, part.size) == (end, len(data))
        digest.update(data)
        end += part.size
    assert end == manifest.total_size
    return digest.hexdigest()


@dataclass(frozen=True)
class Line:
    """A line that one of our processes logged."""

    time: datetime
    process: str
    message: str

    def fields(self) -> dict[str, str]:
        """Return its ``name=value`` pairs."""
        return dict(word.split("=", 1) for word in self.message.split() if "=" in word)


def log_of(stack: Stack, process: str) -> Iterator[Line]:
    """Yield what a process has logged so far."""
    for text in stack.layout.log(process).read_text(errors="replace").splitlines():
        try:
            found: dict[str, Any] = json.loads(text)
        except ValueError:
            continue  # the supervisor's, or a library's
        yield Line(datetime.fromisoformat(found["time"]), found["process"], found["message"])
