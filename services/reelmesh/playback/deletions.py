"""Follows reelmesh.media.events: what is deleted is neither played nor gone on with."""

from __future__ import annotations

from reelmesh.mesh.names import VideoName
from reelmesh.playback.index import Presentations
from reelmesh.playback.progress import Watching
from reelmesh.stores.events import Record, media_event


class Deletions:
    """Takes deleted videos out of every viewer's list, and out of this process's memory.

    Other processes remember a presentation for at most `index.COMPLETE_SECONDS`.
    """

    def __init__(self, watching: Watching, presentations: Presentations) -> None:
        self._watching = watching
        self._presentations = presentations

    async def handle(self, record: Record) -> None:
        """Raises PoisonRecord, Unavailable."""
        event = media_event(record)
        if event.WhichOneof("event") == "video_deleted":
            video = VideoName.parse(event.video)
            await self._watching.forget(video)
            self._presentations.forget(video)
