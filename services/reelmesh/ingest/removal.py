"""Removes the sources of a video that was deleted."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Protocol

from reelmesh.ingest.errors import UploadFinished, UploadUnknown
from reelmesh.ingest.uploads import Uploads
from reelmesh.mesh.names import UploadName, VideoName
from reelmesh.stores.events import Record, media_event


class UploadsOfVideos(Protocol):
    """What this needs of a database."""

    async def of_video(self, video: VideoName) -> Sequence[UploadName]:
        """Return the uploads that are, or were to be, sources of a video."""


class Removal:
    """Follows reelmesh.media.events."""

    def __init__(self, uploads: Uploads, store: UploadsOfVideos) -> None:
        self._uploads = uploads
        self._store = store

    async def handle(self, record: Record) -> None:
        """Raises PoisonRecord, Unavailable."""
        event = media_event(record)
        if event.WhichOneof("event") == "video_deleted":
            await self.remove(VideoName.parse(event.video))

    async def remove(self, video: VideoName) -> None:
        """Cancel uploads that are under way, and remove every object of the others. Repeating it changes nothing."""
        for name in await self._store.of_video(video):
            with contextlib.suppress(UploadFinished, UploadUnknown):
                await self._uploads.cancel(name)
            await self._uploads.remove_bytes(name)
