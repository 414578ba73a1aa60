"""Holds the index that answers, and has another one built beside it where that is needed.

A build reads the catalog's topic from its beginning into a folder of its own. When it has caught up it takes the place
of the one that answers: from then on searches go to it, those under way end where they began, and the old folder goes.
A build that was cut off goes on where it was. The same is done when the process starts and finds no index that this
code can serve: then nothing answers until the build is there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from reelmesh.discovery.errors import IndexNotReady
from reelmesh.discovery.folders import Folder, Folders
from reelmesh.discovery.model import Popularity
from reelmesh.discovery.projection import Progress, Projection, Source, Writable
from reelmesh.mesh.clock import Clock, IdSource

RETRY_SECONDS = 2.0
"""Between two tries of a build that failed."""

log = logging.getLogger(__name__)


class Reason(StrEnum):
    """Why an index is built."""

    FIRST = "FIRST"
    ASKED = "ASKED"
    SCHEMA_CHANGED = "SCHEMA_CHANGED"
    PLACE_LOST = "PLACE_LOST"
    AWAY_TOO_LONG = "AWAY_TOO_LONG"
    UNREADABLE = "UNREADABLE"


class Held(Writable, Protocol):
    """An index that is filled, and asked by who uses it."""

    @property
    def titles(self) -> int:
        """Titles that can be found."""

    def close(self) -> None:
        """Write no more; searches under way go on."""


IndexT = TypeVar("IndexT", bound=Held)


@dataclass(frozen=True, slots=True)
class Kind(Generic[IndexT]):
    """What indexes are, for who builds them."""

    version: int
    """Version of the schema of new ones."""
    served: Collection[int]
    """Versions that this code can open, fill and ask; `version` is one of them."""
    open: Callable[[Path, int], IndexT]
    """Opens one in a folder, of a version, or makes it where the folder is empty. Raises OSError and ValueError."""
    lost: type[Exception]
    """What a source raises when a topic cannot be read on from a place."""
    longest_away: timedelta
    """How long an index may not have been kept up to date: after that, deletions may have been missed."""


@dataclass(slots=True)
class Build:
    """A build of an index."""

    reason: Reason
    start_time: datetime
    end_time: datetime | None = None
    progress: Progress = field(default_factory=Progress)


@dataclass(slots=True)
class _Feed(Generic[IndexT]):
    """An index, and what fills it."""

    index: IndexT
    projection: Projection
    task: asyncio.Task[None]
    given_up: bool = False
    """Whether it is known that its task has ended."""

    @property
    def folder(self) -> Folder:
        """Where it lies."""
        return self.projection.folder

    @property
    def caught_up(self) -> bool:
        """Whether it has been up to date since it was opened."""
        return self.projection.progress.caught_up


class Indexes(Generic[IndexT]):
    """The index of a replica, and the one that is to take its place."""

    def __init__(self, folders: Folders, kind: Kind[IndexT], source: Source, clock: Clock, ids: IdSource) -> None:
        self._folders, self._kind, self._source = folders, kind, source
        self._clock, self._ids = clock, ids
        self._serving: _Feed[IndexT] | None = None
        self._building: _Feed[IndexT] | None = None
        self._wanted: Reason | None = None
        self._changed = asyncio.Event()
        self._popularity = Popularity()
        self.build: Build | None = None
        """The build that goes on, or the last one."""

    @property
    def current(self) -> IndexT:
        """The index that answers. Raises IndexNotReady."""
        feed = self._serving
        if feed is None or not feed.caught_up:
            raise IndexNotReady("the index has not caught up with the catalog yet", retry_after=timedelta(seconds=1))
        return feed.index

    @property
    def folder(self) -> Folder | None:
        """Folder of the index that answers, or will once it has caught up."""
        return self._serving.folder if self._serving else None

    @property
    def held(self) -> IndexT | None:
        """The index that answers, or will once it has caught up."""
        return self._serving.index if self._serving else None

    @property
    def built(self) -> IndexT | None:
        """The index that is being built."""
        return self._building.index if self._building else None

    @property
    def going_on(self) -> bool:
        """Whether an index is being built."""
        return self._building is not None or self._wanted is not None

    def popular(self, popularity: Popularity) -> None:
        """Let every index order by this popularity, soon; also those that are opened later."""
        self._popularity = popularity
        for feed in (self._serving, self._building):
            if feed is not None:
                feed.projection.popular(popularity)

    async def check(self) -> None:
        """Raises IndexNotReady while nothing can answer."""
        _ = self.current

    def rebuild(self) -> Build:
        """Begin to build anew, unless that goes on already; return the build."""
        if not self.going_on or self.build is None:
            return self._want(Reason.ASKED)
        return self.build

    async def changes(self) -> AsyncGenerator[None, None]:
        """Yield once, and then whenever something was done."""
        while True:
            changed = self._changed
            yield
            await changed.wait()

    async def run(self) -> None:
        """Keep an index up to date, and build what is wanted, until cancelled."""
        try:
            await self._find()
            while True:
                changed = self._changed
                await self._look()
                await changed.wait()
        finally:
            for feed in (self._serving, self._building):
                if feed is not None:
                    await _stop(feed)

    def _moved(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _want(self, reason: Reason) -> Build:
        self._wanted = reason
        self.build = Build(reason, self._clock.now())
        self._moved()
        return self.build

    async def _find(self) -> None:
        """Open what is there, and see what is wanted."""
        reason, unfinished = Reason.FIRST, None
        # The newest of the version that is wanted comes first.
        folders = sorted(self._folders.all(), key=lambda folder: folder.note.version != self._kind.version)
        for folder in folders:
            refusal = self._refusal(folder)
            if refusal is not None:
                reason = refusal
            elif not folder.note.complete:
                ours = self._serving is None and folder.note.version == self._kind.version
                unfinished = folder if ours and unfinished is None else unfinished
            elif self._serving is None:
                self._serving = await self._open(folder)
                reason = Reason.UNREADABLE if self._serving is None else reason
        if self._serving is not None and self._serving.folder.note.version != self._kind.version:
            reason = Reason.SCHEMA_CHANGED
        elif self._serving is not None and unfinished is None:
            self._folders.keep(self._serving.folder)
            return
        elif self._serving is not None:
            reason = Reason.ASKED
        if unfinished is not None:
            self._building = await self._open(unfinished)
        if self._building is not None:
            log.info("the build in %s goes on", self._building.folder.path)
            self.build = Build(
                reason, self._building.folder.note.build_time, progress=self._building.projection.progress
            )
        else:
            self._want(reason)

    def _refusal(self, folder: Folder) -> Reason | None:
        """Say why a folder cannot be used."""
        note = folder.note
        if note.version not in self._kind.served:
            log.warning("%s has version %d, which this code cannot serve", folder.path, note.version)
            return Reason.SCHEMA_CHANGED
        if note.time is not None and self._clock.now() - note.time > self._kind.longest_away:
            log.warning("%s was not kept for too long: it may hold what was deleted", folder.path)
            return Reason.AWAY_TOO_LONG
        return None

    async def _open(self, folder: Folder) -> _Feed[IndexT] | None:
        """Open an index and fill it; None where it cannot be read."""
        try:
            index = await asyncio.to_thread(self._kind.open, folder.index, folder.note.version)
        except (OSError, ValueError):
            log.exception("%s cannot be read", folder.path)
            return None
        projection = Projection(index, folder, self._source, self._clock, self._moved)
        projection.popular(self._popularity)
        task = asyncio.create_task(projection.run())
        task.add_done_callback(lambda _: self._moved())
        return _Feed(index, projection, task)

    async def _look(self) -> None:
        """Do what is to be done now."""
        if self._serving is not None and self._serving.task.done() and not self._serving.given_up:
            await self._broken(self._serving)
        if self._building is not None and self._building.task.done():
            await self._failed(self._building)
        if self._building is not None and self._building.caught_up:
            await self._swap(self._building)
        if self._wanted is not None and self._building is None:
            await self._begin(self._wanted)

    async def _begin(self, reason: Reason) -> None:
        """Begin a build."""
        try:
            folder = await asyncio.to_thread(self._folders.make, self._kind.version, self._clock.now(), self._ids.new())
            self._building = await self._open(folder)
        except OSError:
            log.exception("no index can be made")
        if self._building is None:
            await self._again()
            return
        log.info("an index is built in %s: %s", self._building.folder.path, reason)
        self._wanted = None
        if self.build is not None:
            self.build.progress = self._building.projection.progress

    async def _swap(self, new: _Feed[IndexT]) -> None:
        """Let a build that has caught up answer, in place of the one that did."""
        old, self._serving, self._building = self._serving, new, None
        if self.build is not None:
            self.build.end_time = self._clock.now()
        log.info("%s answers from now on", new.folder.path)
        self._moved()
        if old is not None:
            await _stop(old)
        await asyncio.to_thread(self._folders.keep, new.folder)

    async def _broken(self, feed: _Feed[IndexT]) -> None:
        """See that another is built where the one that answers is kept up to date no longer."""
        error = feed.task.exception()
        log.error("%s cannot be kept up to date", feed.folder.path, exc_info=error)
        feed.given_up = True
        if not feed.caught_up:
            # What it would answer may never have been true.
            self._serving = None
            await _stop(feed)
        if not self.going_on:
            self._want(self._reason_of(error))

    async def _failed(self, feed: _Feed[IndexT]) -> None:
        """Begin a build that failed once more."""
        error = feed.task.exception()
        log.error("the build in %s failed", feed.folder.path, exc_info=error)
        self._building = None
        await _stop(feed)
        await asyncio.to_thread(feed.folder.remove)
        await self._again()
        self._wanted = self.build.reason if self.build is not None else self._reason_of(error)

    async def _again(self) -> None:
        await asyncio.sleep(RETRY_SECONDS)  # back-off: there may be no room, say
        self._moved()

    def _reason_of(self, error: BaseException | None) -> Reason:
        return Reason.PLACE_LOST if isinstance(error, self._kind.lost) else Reason.UNREADABLE


async def _stop(feed: _Feed[IndexT]) -> None:
    """Fill an index no longer."""
    feed.task.cancel()
    await asyncio.wait({feed.task})
    await asyncio.to_thread(feed.index.close)
