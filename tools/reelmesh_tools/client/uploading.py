"""Upload a file, going on where an earlier try of the same file was cut off."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import grpc

from reelmesh.ingest.v1.upload_pb2 import Upload
from reelmesh.ingest.v1.upload_service_pb2 import CreateUploadRequest, GetUploadRequest, WriteUploadRequest
from reelmesh_tools.client.platform import CALL_SECONDS, Platform, problem_of

MESSAGE_BYTES = 2 << 20
"""What one message of the stream carries; the contract's limit."""
PATIENCE_SECONDS = 120.0
"""Without a byte of progress for this long an upload is given up; run again, it goes on."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of an upload between runs, so that the next run finds it."""

    file: Path

    @classmethod
    def of(cls, folder: Path, source: Path, gateway: str) -> Memory:
        """Return the memory of `source` as it is now: a changed file is another upload."""
        stat = source.stat()
        identity = f"{gateway} {source.resolve()} {stat.st_size} {stat.st_mtime_ns}"
        return cls(folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}.json")

    def request_id(self) -> str:
        """Return the request id of the upload, made and kept before it is first used."""
        if self.file.exists():
            return str(json.loads(self.file.read_text())["request_id"])
        self.file.parent.mkdir(parents=True, exist_ok=True)
        request_id = str(uuid.uuid4())
        beside = self.file.with_suffix(".new")
        beside.write_text(json.dumps({"request_id": request_id}))
        beside.replace(self.file)
        return request_id

    def forget(self) -> None:
        """Forget it: it is done, or lost."""
        self.file.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A finished upload."""

    upload: Upload
    resumed_from: int
    """Bytes that were durable when this run began."""
    seconds: float
    """From the first byte sent to the answer to the last."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to become of a file."""

    title: str = ""
    """Title of the video; the file's name when empty."""
    protection: Upload.Protection.ValueType = Upload.PROTECTION_UNSPECIFIED
    """Whether its presentation is encrypted."""


def upload(
    platform: Platform, source: Path, wanted: Wanted, memory: Memory, progress: Callable[[int], None]
) -> Uploaded:
    """Upload `source` and return when all of it is durable and checked. `progress` is told the bytes sent.

    Raises grpc.RpcError when the platform refuses, or does not answer for PATIENCE_SECONDS.
    """
    current = _open(platform, source, wanted, memory)
    resumed_from = current.persisted_size
    began = last_progress = time.monotonic()
    while current.state == Upload.STATE_ACTIVE:
        before = current.persisted_size
        progress(before)
        try:
            current = platform.uploads.WriteUpload(_messages(source, current, progress)).upload
        except grpc.RpcError as error:
            problem = problem_of(error)
            if not problem.passing and problem.reason != "OFFSET_MISMATCH":
                raise
            if time.monotonic() - last_progress > PATIENCE_SECONDS:
                raise
            time.sleep(0.25)  # the server is away; it has no event for coming back
            current = _get(platform, current.name) or current
        if current.persisted_size > before:
            last_progress = time.monotonic()
    progress(current.persisted_size)
    return Uploaded(current, resumed_from, time.monotonic() - began)


def _open(platform: Platform, source: Path, wanted: Wanted, memory: Memory) -> Upload:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return _create(platform, source, wanted, memory)
        except grpc.RpcError as error:
            if not problem_of(error).passing or time.monotonic() > deadline:
                raise
        time.sleep(0.25)  # the server is away; it has no event for coming back


def _create(platform: Platform, source: Path, wanted: Wanted, memory: Memory) -> Upload:
    asked = Upload(
        display_name=source.name,
        title=wanted.title,
        total_size=source.stat().st_size or None,
        protection=wanted.protection,
    )
    for _ in range(2):
        request = CreateUploadRequest(parent=platform.parent, upload=asked, request_id=memory.request_id())
        found = platform.uploads.CreateUpload(request, timeout=CALL_SECONDS, wait_for_ready=True).upload
        if found.state in {Upload.STATE_ACTIVE, Upload.STATE_SUCCEEDED}:
            return found
        memory.forget()  # expired, cancelled or failed: begin anew
    return found


def _get(platform: Platform, name: str) -> Upload | None:
    try:
        return platform.uploads.GetUpload(GetUploadRequest(name=name), timeout=CALL_SECONDS).upload
    except grpc.RpcError as error:
        if problem_of(error).passing:
            return None
        raise


def _messages(source: Path, current: Upload, progress: Callable[[int], None]) -> Iterator[WriteUploadRequest]:
    offset = current.persisted_size
    size = source.stat().st_size
    with source.open("rb") as file:
        file.seek(offset)
        while True:
            data = file.read(MESSAGE_BYTES)
            end = offset + len(data)
            yield WriteUploadRequest(
                name=current.name,
                offset=offset,
                data=data,
                crc32c=google_crc32c.value(data),
                finish=end >= size,
            )
            offset = end
            progress(offset)
            if offset >= size:
                return
