"""Follows reelmesh.media.events: what is deleted is not gone on with."""

from __future__ import annotations

from reelmesh.mesh.names import VideoName
from reelmesh.playback.progress import Watching
from reelmesh.stores.events import Record, media_event


class Deletions:
    """Takes deleted videos out of every viewer's list."""

    def __init__(self, watching: Watching) -> None:
        self._watching = watching

    async def handle(self, record: Record) -> None:
        """Raises PoisonRecord, Unavailable."""
        event = media_event(record)
        if event.WhichOneof("event") == "video_deleted":
            await self._watching.forget(VideoName.parse(event.video))
