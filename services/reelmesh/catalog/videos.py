"""Videos: the rules. No gRPC, no driver, no clock of its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Protocol

from reelmesh.catalog.errors import EtagMismatch, FieldNotWritable, VideoUnknown
from reelmesh.catalog.model import Deletion, Details, Video
from reelmesh.mesh.clock import Clock, IdSource
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import VideoName

WRITABLE = tuple(field.name for field in fields(Details))
"""Fields that an update mask may name."""
ATTEMPTS = 8
"""Times that a change is tried anew because someone else changed the video in between."""

log = logging.getLogger(__name__)


class VideoStore(Protocol):
    """What videos need of a database; store.py is the one on Cassandra. Every method may raise Unavailable."""

    async def claim(self, organization: str, request_id: str, video_id: str) -> str:
        """Return the video that `request_id` made first: `video_id`, or an earlier one."""

    async def create(self, video: Video) -> bool:
        """Create it; False when a video of that name is there, or was and has been deleted."""

    async def load(self, name: VideoName) -> Video | None:
        """Return a video; None when there is none or it has been deleted."""

    async def replace(self, old: Video, new: Video) -> bool:
        """Put `new` in place of `old`; False when what is there is no longer `old`."""

    async def page(self, organization: str, before: str, size: int) -> tuple[Sequence[Video], str]:
        """Return up to `size` videos, newest first, older than the id `before` when it is not empty.

        The second value asks for what follows; it is empty when nothing does.
        """

    async def intend(self, deletion: Deletion) -> None:
        """Note that a deletion is about to be tried."""

    async def bury(self, video: Video, deletion: Deletion) -> bool:
        """Delete `video`, and keep it from coming back for a while; False when what is there is no longer `video`."""

    async def announce(self, deletion: Deletion) -> None:
        """In one logged batch: the event into the outbox, the video out of the list, the note away."""

    async def forget(self, deletion: Deletion) -> None:
        """Take the note away: nothing was deleted."""


class Videos:
    """Videos of all organizations."""

    def __init__(self, store: VideoStore, clock: Clock, ids: IdSource) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids

    async def create(self, organization: str, details: Details, request_id: str) -> Video:
        """Make a draft, or return the video that `request_id` made before.

        Raises VideoUnknown when that one has been deleted since.
        """
        id_ = self._ids.new()
        if request_id:
            id_ = await self._store.claim(organization, request_id, id_)
        now = self._clock.now()
        video = Video(VideoName(organization, id_), create_time=now, update_time=now, details=details)
        if await self._store.create(video):
            return video
        return await self.get(video.name)

    async def get(self, name: VideoName) -> Video:
        """Return a video. Raises VideoUnknown."""
        video = await self._store.load(name)
        if video is None:
            raise VideoUnknown("there is no such video")
        return video

    async def list(self, organization: str, size: int, before: str) -> tuple[Sequence[Video], str]:
        """Return a page of videos, newest first, and what asks for the next one; it is empty on the last."""
        return await self._store.page(organization, before, size)

    async def update(self, name: VideoName, given: Details, mask: Sequence[str], etag: str) -> Video:
        """Change the fields in `mask`, all that `given` fills when it is empty; others stay as others left them.

        Raises VideoUnknown, EtagMismatch, FieldNotWritable.
        """
        wrong = [path for path in mask if path not in WRITABLE]
        if wrong:
            message = f"update_mask: {wrong[0]!r} cannot be written; {', '.join(WRITABLE)} can"
            raise FieldNotWritable(
                message, violations=[("update_mask", f"{path!r} cannot be written") for path in wrong]
            )
        chosen = mask or [field for field in WRITABLE if getattr(given, field)]
        change = {field: getattr(given, field) for field in chosen}
        for _ in range(ATTEMPTS):
            video = await self._guarded(name, etag)
            details = replace(video.details, **change)
            if details == video.details:
                return video
            new = replace(video, details=details, update_time=self._clock.now(), revision=video.revision + 1)
            if await self._store.replace(video, new):
                return new
        raise Unavailable("too many change the video at once")

    async def delete(self, name: VideoName, etag: str, *, allow_missing: bool) -> None:
        """Remove a video and say so to everyone. Raises VideoUnknown, EtagMismatch."""
        for _ in range(ATTEMPTS):
            try:
                video = await self._guarded(name, etag)
            except VideoUnknown:
                if allow_missing:
                    return
                raise
            # The conditional delete and the event lie in different partitions, so no one statement covers both. The
            # note comes first: should we die in between, the sweep finds it and announces what was deleted.
            deletion = Deletion(name, self._ids.new(), self._clock.now())
            await self._store.intend(deletion)
            if not await self._store.bury(video, deletion):
                await self._store.forget(deletion)
                continue
            try:
                await self._store.announce(deletion)
            except Unavailable as error:
                log.warning("%s is deleted; the sweep will announce it: %s", name, error)
            return
        raise Unavailable("too many change the video at once")

    async def _guarded(self, name: VideoName, etag: str) -> Video:
        video = await self.get(name)
        if etag and etag != video.etag:
            raise EtagMismatch("the video has changed since it was read", etag=video.etag)
        return video
