"""How far a viewer is in a video, and when that counts as watched."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from reelmesh.mesh.errors import PageTokenInvalid
from reelmesh.mesh.names import VideoName
from reelmesh.playback.errors import PositionBeyondEnd

TOLERANCE = timedelta(seconds=1)
"""Players count a little differently from us: a position may lie so far behind the end."""
GLIMPSE = timedelta(seconds=1)
"""Who left a video before that has opened it, and not begun it."""
WATCHED_SHARE = 0.95
"""Who has seen this much of a video has seen it."""
CREDITS = timedelta(seconds=10)
"""Or all but so much, of a video of at least `LONG`."""
LONG = timedelta(minutes=1)
"""In a shorter video ten seconds are too much to miss."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a viewer is in a video."""

    organization: str
    viewer: str
    """Empty for nobody in particular."""
    video: VideoName
    position: timedelta
    duration: timedelta
    """Of the video."""
    update_time: datetime

    @property
    def begun(self) -> bool:
        """True when it was watched, and not opened only."""
        return self.position >= GLIMPSE

    @property
    def finished(self) -> bool:
        """True when it counts as watched to the end."""
        if self.position >= self.duration * WATCHED_SHARE:
            return True
        return self.duration >= LONG and self.position >= self.duration - CREDITS


@dataclass(frozen=True, slots=True)
class Watched:
    """A video that a viewer watched."""

    video: VideoName
    position: timedelta | None
    """Where they left off; None where they saw it to the end and have not begun again."""
    duration: timedelta
    finished: bool
    """True when they saw it to the end, this time or before."""
    update_time: datetime


class ProgressStore(Protocol):
    """What progress needs of a database; store.py is the one on Cassandra. Of two writes the later one wins."""

    async def load(self, organization: str, viewer: str, video: VideoName) -> Progress | None:
        """Return what was noted; None when there is nothing."""

    async def put(self, progress: Progress) -> None:
        """Note it, in place of what was noted of this viewer and video before `progress.update_time`."""

    async def finish(self, progress: Progress) -> None:
        """Note that a video was seen to the end, in place of what was noted up to `progress.update_time`."""

    async def all(self, organization: str, viewer: str) -> Sequence[Progress]:
        """Return all that is noted of a viewer, one for each video, in no order. Videos that are gone are left out."""

    async def finished(self, organization: str, viewer: str) -> Sequence[Progress]:
        """Return what a viewer saw to the end, one for each video, in no order; also videos that are gone."""

    async def remove_viewer(self, organization: str, viewer: str) -> None:
        """Take away all that is noted of a viewer."""

    async def bury(self, video: VideoName) -> None:
        """Remember that a video is gone, for as long as progress in it may be remembered."""


class Watching:
    """Progress of all viewers."""

    def __init__(self, store: ProgressStore) -> None:
        self._store = store

    async def resume_position(self, organization: str, viewer: str, video: VideoName) -> timedelta:
        """Return where a viewer left off; zero when never watched, or watched to the end."""
        if not viewer:
            return timedelta()
        progress = await self._store.load(organization, viewer, video)
        return timedelta() if progress is None or progress.finished else progress.position

    async def note(self, progress: Progress) -> Progress:
        """Remember how far a viewer is; nothing is remembered of nobody in particular. Raises PositionBeyondEnd."""
        if progress.position > progress.duration + TOLERANCE:
            message = f"position lies behind the end at {progress.duration.total_seconds():.3f} s"
            violations = [("position", "lies behind the end")]
            raise PositionBeyondEnd(message, violations=violations, duration=progress.duration.total_seconds())
        progress = replace(progress, position=min(progress.position, progress.duration))
        if progress.viewer and progress.finished:
            await self._store.finish(progress)
        elif progress.viewer:
            await self._store.put(progress)
        return progress

    async def forget(self, video: VideoName) -> None:
        """Take a deleted video out of every list, also where a session that is still open goes on noting it."""
        await self._store.bury(video)

    async def forget_viewer(self, organization: str, viewer: str) -> None:
        """Forget all that a viewer watched."""
        await self._store.remove_viewer(organization, viewer)

    async def unfinished(self, organization: str, viewer: str, size: int, after: str) -> tuple[Sequence[Progress], str]:
        """Return up to `size` videos that a viewer began and did not finish, latest first, and what asks for more.

        `after` is what the page before gave; a video that is watched meanwhile moves to the front and is not repeated
        behind. Raises PageTokenInvalid.
        """
        # All of a viewer is one small partition; sorted here it can neither hold a video twice nor be out of date.
        noted = await self._store.all(organization, viewer)
        found = [progress for progress in noted if progress.begun and not progress.finished]
        found.sort(key=_position, reverse=True)
        if after:
            bound = _parse(after)
            found = [progress for progress in found if _position(progress) < bound]
        page = found[:size]
        return page, "{} {}".format(*_position(page[-1])) if len(found) > size else ""

    async def history(self, organization: str, viewer: str, size: int) -> Sequence[Watched]:
        """Return the latest `size` videos that a viewer watched, each once, latest first."""
        noted, finished = await asyncio.gather(
            self._store.all(organization, viewer), self._store.finished(organization, viewer)
        )
        seen = {
            each.video: Watched(each.video, None, each.duration, finished=True, update_time=each.update_time)
            for each in finished
        }
        for each in (progress for progress in noted if progress.begun):
            before = seen.get(each.video)
            # A row of progress may outlive the note of the end by a moment: the later one says where it stands.
            if before is None or each.update_time > before.update_time:
                seen[each.video] = Watched(
                    each.video, each.position, each.duration, before is not None, each.update_time
                )
        latest = sorted(seen.values(), key=lambda each: (each.update_time, each.video.id), reverse=True)
        return latest[:size]


def _position(progress: Progress) -> tuple[int, str]:
    return (progress.update_time - EPOCH) // timedelta(milliseconds=1), progress.video.id


def _parse(position: str) -> tuple[int, str]:
    milliseconds, _, video = position.partition(" ")
    if not milliseconds.isdecimal() or not video:
        raise PageTokenInvalid("page_token was not made by this list")
    return int(milliseconds), video
