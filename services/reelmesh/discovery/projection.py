"""Makes an index follow the catalog's topic: reads it all, once, and from then on what changes.

Positions are written down beside the index after each commit, so a crash repeats records and loses none; records may be
repeated. At the end of the topic each turn is committed at once, that a change may be found; far from it seldom, since
a commit costs as much as many records.

What cannot be read is logged and left out. It is no dead letter: the topic keeps it anyway, as the latest that its key
has, until the catalog writes the title again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from google.protobuf.message import DecodeError

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.discovery.folders import Folder
from reelmesh.discovery.model import Popularity
from reelmesh.events.v1.title_event_pb2 import TitleEvent
from reelmesh.mesh.clock import Clock
from reelmesh.mesh.errors import Unavailable

COMMIT_SECONDS = 10.0
"""Between two commits while there is much to be read."""
REST = 2.0
"""After a commit at the end of the topic, so many times as long as it took: a stream of changes costs a third of the
writer's time, and what comes meanwhile is committed together."""
MOST_REST_SECONDS = 0.25
NOTE_SECONDS = 60.0
"""At the end, it is written down at least this often that the index was up to date."""

TEND_SECONDS = 30.0
"""Between two looks for titles whose availability has changed."""

_NAME = re.compile("organizations/[a-z0-9-]{1,63}/titles/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

log = logging.getLogger(__name__)


class Record(Protocol):
    """A record of the topic."""

    @property
    def key(self) -> str:
        """Name of the title."""

    @property
    def value(self) -> bytes:
        """A TitleEvent; empty where the title was deleted."""

    @property
    def position(self) -> str:
        """Where it lies."""


class Turn(Protocol):
    """What was read at once."""

    @property
    def records(self) -> Sequence[Record]:
        """Records, in the order of their partitions."""

    @property
    def place(self) -> str:
        """Where reading goes on behind them."""

    @property
    def behind(self) -> int:
        """How much there is to be read yet."""

    @property
    def caught_up(self) -> bool:
        """Whether the end that the topic had when reading began is reached."""


Source = Callable[[str], AsyncGenerator[Turn, None]]
"""Reads from a place, or from the beginning where that is empty. Raises Unavailable, and PlaceLost of the store."""


class Writable(Protocol):
    """An index, as who fills it sees it. Its methods take long, and are called by one thread at a time."""

    def apply(self, changes: Iterable[tuple[str, Title | None]]) -> int:
        """Take up titles by name, None for one that was deleted; leave those of a revision that is known."""

    def commit(self) -> None:
        """Let all that be found, and survive."""

    def next_edge(self) -> datetime | None:
        """Return when the availability of some title changes next."""

    def refresh_edges(self) -> int:
        """Take up that availabilities have changed; return how many."""

    def set_popularity(self, popularity: Popularity) -> int:
        """Order by this popularity; return for how many titles there is something to be committed."""


@dataclass(slots=True)
class Progress:
    """How far a projection is."""

    records: int = 0
    """Records read since it began."""
    behind: int = 0
    """Offsets between them and the end of the topic."""
    skipped: int = 0
    """Records that nothing could be made of."""
    caught_up: bool = False
    """Whether the end that the topic had when the projection began was reached."""
    problem: str = ""
    """What it waits for; empty while all is well."""


class Projection:
    """Fills one index."""

    def __init__(
        self, index: Writable, folder: Folder, source: Source, clock: Clock, moved: Callable[[], None]
    ) -> None:
        """`moved` is called after every step."""
        self._index, self._source, self._clock, self._moved = index, source, clock, moved
        self.folder = folder
        """The index's folder, with what was written down last."""
        self.progress = Progress()
        self._place = folder.note.place
        self._uncommitted = False
        self._committed = self._noted = time.monotonic()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="index-writer")
        self._popularity = Popularity()
        self._untended = asyncio.Event()

    def popular(self, popularity: Popularity) -> None:
        """Let the index order by this popularity, soon."""
        self._popularity = popularity
        self._untended.set()

    async def run(self) -> None:
        """Follow the topic until cancelled. Raises what the index raises, and PlaceLost."""
        works = [asyncio.create_task(self._follow()), asyncio.create_task(self._tend())]
        try:
            done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
            for work in done:
                work.result()
        finally:
            for work in works:
                work.cancel()
            await asyncio.wait(works)
            # A write that goes on is waited for: nobody else may write meanwhile.
            await asyncio.shield(asyncio.to_thread(self._writer.shutdown))

    async def _follow(self) -> None:
        delay = 0.1
        while True:
            try:
                async with aclosing(self._source(self._place)) as turns:
                    async for turn in turns:
                        delay = 0.1
                        await self._take(turn)
            except Unavailable as error:
                log.warning("the index waits: %s", error)
                self.progress.problem = str(error)
                self._moved()
            await asyncio.sleep(delay)  # back-off
            delay = min(delay * 2, 2.0)

    async def _tend(self) -> None:
        """Take up what changes without the topic: how popular titles are, and when they may be watched."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TEND_SECONDS):
                    await self._untended.wait()
            told = self._untended.is_set()
            self._untended.clear()
            await loop.run_in_executor(self._writer, self._tidy, self._popularity if told else None)

    def _tidy(self, popularity: Popularity | None) -> None:
        changed = self._index.set_popularity(popularity) if popularity is not None else 0
        edge = self._index.next_edge()
        if edge is not None and edge <= self._clock.now():
            changed += self._index.refresh_edges()
        if changed:
            self._index.commit()

    async def _take(self, turn: Turn) -> None:
        """Put a turn into the index, and commit where it is time."""
        loop = asyncio.get_running_loop()
        if turn.records:
            await loop.run_in_executor(self._writer, self._apply, turn.records)
            self._uncommitted = True
        self._place = turn.place
        progress = self.progress
        progress.records += len(turn.records)
        progress.behind, progress.problem = turn.behind, ""
        reached = turn.caught_up and not progress.caught_up
        now = time.monotonic()
        if self._uncommitted and (turn.behind == 0 or reached or now - self._committed >= COMMIT_SECONDS):
            began = now
            await loop.run_in_executor(self._writer, self._index.commit)
            self._uncommitted = False
            self._committed = time.monotonic()
            self._note(caught_up=turn.caught_up)
            if turn.behind == 0:
                await asyncio.sleep(min(REST * (self._committed - began), MOST_REST_SECONDS))  # see REST
        elif reached or (turn.behind == 0 and not self._uncommitted and now - self._noted >= NOTE_SECONDS):
            self._note(caught_up=turn.caught_up)
        if reached:
            self._untended.set()  # what was told before was told of the titles that were there
        progress.caught_up = progress.caught_up or turn.caught_up
        self._moved()

    def _note(self, *, caught_up: bool) -> None:
        self._noted = time.monotonic()
        complete = self.folder.note.complete or caught_up
        self.folder = self.folder.written(self._place, self._clock.now(), complete=complete)

    def _apply(self, records: Sequence[Record]) -> None:
        changes = list(self._changes(records))
        try:
            self._index.apply(changes)
        except OSError:
            raise  # no room: that is nobody's title's fault
        except Exception:
            log.exception("%d changes cannot be taken up together, and are one by one", len(changes))
            self._apply_each(changes)

    def _apply_each(self, changes: Sequence[tuple[str, Title | None]]) -> None:
        """Leave out the titles that the index fails on. Raises what it raises where that is all of them."""
        failed = 0
        for name, title in changes:
            try:
                # Half of it may have been taken up.
                self._index.apply([(name, None)])
                self._index.apply([(name, title)])
            except Exception:
                log.exception("%s is left out", name)
                failed += 1
                if failed == len(changes):
                    raise
        self.progress.skipped += failed

    def _changes(self, records: Sequence[Record]) -> Iterator[tuple[str, Title | None]]:
        for record in records:
            try:
                yield record.key, title_in(record)
            except (DecodeError, ValueError) as error:
                log.warning("%s of %s is left out: %s", record.position, record.key, error)
                self.progress.skipped += 1


def title_in(record: Record) -> Title | None:
    """Read the title in a record; None where it was deleted. Raises DecodeError and ValueError for what is none."""
    if not _NAME.fullmatch(record.key):
        raise ValueError("its key is no title's name")
    if not record.value:
        return None
    title = TitleEvent.FromString(record.value).title
    if title.name != record.key:
        raise ValueError(f"it is about {title.name or 'nothing'}")
    if not title.localizations:
        raise ValueError("it is called nothing")
    return title
