"""Follows reelmesh.media.events: the keys of a deleted video go with it, and nobody reads a copy of its media again."""

from __future__ import annotations

from reelmesh.drm.keys import ContentKeys
from reelmesh.mesh.names import VideoName
from reelmesh.stores.events import Record, media_event


class Deletions:
    """Forgets the keys of deleted videos. Other processes remember them for at most `keys.REMEMBERED_SECONDS`."""

    def __init__(self, keys: ContentKeys) -> None:
        self._keys = keys

    async def handle(self, record: Record) -> None:
        """Raises PoisonRecord, Unavailable."""
        event = media_event(record)
        if event.WhichOneof("event") == "video_deleted":
            await self._keys.forget(VideoName.parse(event.video))
