"""Lets a video follow its pipeline: each event is applied to what is stored, whoever else changes it meanwhile."""

from __future__ import annotations

import logging
from dataclasses import replace

from reelmesh.catalog.pipeline import applied, created, video_of
from reelmesh.catalog.videos import ATTEMPTS, VideoStore
from reelmesh.events.v1.media_event_pb2 import MediaEvent
from reelmesh.mesh.clock import Clock
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import VideoName

log = logging.getLogger(__name__)


class Projection:
    """Applies MediaEvents to videos. Applying one again changes nothing."""

    def __init__(self, store: VideoStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def apply(self, event: MediaEvent) -> None:
        """Apply an event. Raises EventMalformed, Unavailable."""
        name = video_of(event)
        for _ in range(ATTEMPTS):
            video = await self._store.load(name)
            if video is None:
                if await self._missing(name, event):
                    return
                continue
            new = applied(video, event)
            if new == video:
                return
            new = replace(new, update_time=self._clock.now(), revision=video.revision + 1)
            if await self._store.replace(video, new):
                return
        raise Unavailable("too many change the video at once")

    async def _missing(self, name: VideoName, event: MediaEvent) -> bool:
        """Handle an event of a video that is not there; False when it has come to be in between."""
        if event.WhichOneof("event") != "upload_completed":
            # Its upload completed before, so it was there: it has been deleted.
            log.info("%s is gone; its %s is ignored", name, event.WhichOneof("event"))
            return True
        if await self._store.create(created(name, event, self._clock.now())):
            return True
        return await self._store.load(name) is None  # refused and still not there: it has been deleted
