"""Kafka records in, calls of the control out."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from reelmesh.mesh.names import UploadName, VideoName
from reelmesh.stores.events import PoisonRecord, Record, media_event
from reelmesh.transcode.cleanup import Cleanup
from reelmesh.transcode.control import Control
from reelmesh.transcode.job import Source
from reelmesh.worker.v1.task_pb2 import TaskResult


class MediaEvents:
    """Begins a job for each completed upload, and removes what a deleted video leaves."""

    def __init__(self, control: Control, cleanup: Cleanup) -> None:
        self._control = control
        self._cleanup = cleanup

    async def handle(self, record: Record) -> None:
        """Raises PoisonRecord, Unavailable."""
        event = media_event(record)
        match event.WhichOneof("event"):
            case "upload_completed":
                done = event.upload_completed
                video = VideoName.parse(event.video)
                source = Source(UploadName.parse(done.upload), video, done.source, done.protected)
                await self._control.upload_completed(source)
            case "video_deleted":
                await self._cleanup.remove(VideoName.parse(event.video))


class Results:
    """Hands workers' answers to the control."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def handle(self, record: Record) -> None:
        """Raises PoisonRecord, Unavailable."""
        try:
            result = TaskResult.FromString(record.value)
        except DecodeError as error:
            raise PoisonRecord("RESULT_UNREADABLE", "not a TaskResult") from error
        await self._control.result(result)
