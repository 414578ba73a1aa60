"""Removes what the pipeline made for a video that is gone."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Protocol

from reelmesh.mesh.clock import Clock
from reelmesh.mesh.names import VideoName
from reelmesh.transcode.control import Control
from reelmesh.transcode.errors import JobEnded
from reelmesh.transcode.overdue import LOOK_BACK_DAYS, OpenJobs


class PlayableStore(OpenJobs, Protocol):
    """What this needs of a database."""

    async def forget_playable(self, video: VideoName) -> None:
        """Note that a video has nothing to play any more."""


class MediaStore(Protocol):
    """What this needs of the media store."""

    def list(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys below `prefix`."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove objects."""


class Cleanup:
    """The remover."""

    def __init__(self, control: Control, store: PlayableStore, media: MediaStore, clock: Clock) -> None:
        self._control = control
        self._store = store
        self._media = media
        self._clock = clock

    async def remove(self, video: VideoName) -> None:
        """Cancel the video's jobs, forget its index, remove its objects. Repeating it changes nothing."""
        today = self._clock.now()
        for back in range(LOOK_BACK_DAYS + 1):
            for name in await self._store.open(today - timedelta(days=back)):
                if (await self._control.get(name)).video == video:
                    with contextlib.suppress(JobEnded):
                        await self._control.cancel(name)
        await self._store.forget_playable(video)
        await self._media.delete([key async for key in self._media.list(f"{video.organization}/{video.id}")])
