"""Presentations, read from where they are made and remembered for a moment: players ask far more than they grow."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from reelmesh.mesh import deadline
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.lru import Lru
from reelmesh.mesh.names import VideoName
from reelmesh.playback.errors import NothingToPlay
from reelmesh.playback.presentation import Presentation

GROWING_SECONDS = 0.5
"""A presentation that grows is read anew after this long."""
COMPLETE_SECONDS = 60.0
"""A complete one too: its video may have been encoded anew or deleted."""
CAPACITY = 500_000
"""Segments held by one process, about 100 MB; a film of two hours in six tracks has 11,000."""
READ_SECONDS = 5.0
"""A read that many wait for takes at most this long, whatever time the first of them had left."""

log = logging.getLogger(__name__)


class IndexSource(Protocol):
    """Where presentations come from; peers.py has the one that asks transcode."""

    async def read(self, video: VideoName) -> Presentation:
        """Return what can be played of a video now. Raises NothingToPlay, Unavailable."""


@dataclass(frozen=True, slots=True)
class _Held:
    presentation: Presentation
    time: float


class Presentations:
    """Presentations of all videos. One read at a time for each, however many ask."""

    def __init__(self, source: IndexSource, monotonic: Callable[[], float], capacity: int = CAPACITY) -> None:
        self._source = source
        self._monotonic = monotonic
        self._held: Lru[VideoName, _Held] = Lru(capacity, lambda held: 16 + held.presentation.segment_count)
        self._reads: dict[VideoName, asyncio.Task[Presentation]] = {}

    async def get(self, video: VideoName) -> Presentation:
        """Return what can be played of a video. Raises NothingToPlay, Unavailable."""
        held = self._held.get(video)
        if held is not None:
            fresh = COMPLETE_SECONDS if held.presentation.complete else GROWING_SECONDS
            if self._monotonic() - held.time < fresh:
                return held.presentation
        try:
            return await self._read(video)
        except Unavailable as error:
            if held is None:
                raise
            # What was there is there still: who watches goes on while transcode is away.
            log.warning("%s is served as it was: %s", video, error)
            return held.presentation

    def forget(self, video: VideoName) -> None:
        """Read a presentation anew when it is asked for next."""
        self._held.drop(video)

    async def _read(self, video: VideoName) -> Presentation:
        task = self._reads.get(video)
        if task is None:
            # Its own copy of the context, so that the deadline set within is not that of the first who asks.
            task = asyncio.create_task(self._fetch(video), context=contextvars.copy_context())
            self._reads[video] = task
            task.add_done_callback(lambda done: self._settle(video, done))
        # One who gives up must not end the read for the others.
        return await asyncio.shield(task)

    async def _fetch(self, video: VideoName) -> Presentation:
        deadline.begin(READ_SECONDS)
        try:
            presentation = await self._source.read(video)
        except NothingToPlay:
            self._held.drop(video)
            raise
        self._held.put(video, _Held(presentation, self._monotonic()))
        return presentation

    def _settle(self, video: VideoName, task: asyncio.Task[Presentation]) -> None:
        del self._reads[video]
        if not task.cancelled():
            task.exception()  # taken note of, should all who asked have given up
