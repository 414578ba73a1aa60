"""Keeps the library in memory as the catalog's topic has it: all of it when a process begins, and then what changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

from google.protobuf.message import DecodeError

from reelmesh.events.v1.title_event_pb2 import TitleEvent
from reelmesh.mesh.errors import Unavailable
from reelmesh.recommend.library import Library

TOGETHER = 500
"""Records that are taken in before others have their turn: about 20 ms."""

log = logging.getLogger(__name__)


class Record(Protocol):
    """A record of the topic."""

    @property
    def key(self) -> str:
        """Name of the title."""

    @property
    def value(self) -> bytes:
        """A TitleEvent; empty where the title was deleted."""


class Turn(Protocol):
    """What was read at once."""

    @property
    def records(self) -> Sequence[Record]:
        """Records, in the order of their partitions."""

    @property
    def place(self) -> str:
        """Where reading goes on behind them."""

    @property
    def caught_up(self) -> bool:
        """Whether the end that the topic had when reading began is reached."""


Source = Callable[[str], AsyncGenerator[Turn, None]]
"""Reads from a place, or from the beginning where that is empty. Raises Unavailable, and `lost` of Following."""


class Following:
    """Fills a library."""

    def __init__(self, library: Library, source: Source, changed: Callable[[], None], lost: type[Exception]) -> None:
        """`changed` is called when there is something new; `lost` says that reading cannot go on from a place."""
        self._library = library
        self._source = source
        self._changed = changed
        self._lost = lost
        self._place = ""
        self.caught_up = False
        """Whether all is here that the topic had when reading began; it stays so from then on."""

    async def check(self) -> None:
        """Raises Unavailable until the library is whole."""
        if not self.caught_up:
            raise Unavailable(f"{len(self._library)} titles of the library are read, and there are more")

    async def run(self) -> None:
        """Follow the topic until cancelled."""
        delay = 0.1
        while True:
            try:
                async with aclosing(self._source(self._place)) as turns:
                    async for turn in turns:
                        await self._take(turn)
                        delay = 0.1
            except self._lost as error:
                log.warning("the library is read anew: %s", error)
                self._library.clear()
                self._place = ""
            except Unavailable as error:
                log.warning("waiting: %s", error)
            await asyncio.sleep(delay)  # back-off
            delay = min(delay * 2, 2.0)

    async def _take(self, turn: Turn) -> None:
        for start in range(0, len(turn.records), TOGETHER):
            for record in turn.records[start : start + TOGETHER]:
                self._put(record)
            await asyncio.sleep(0)  # those who ask meanwhile
        self._place = turn.place
        if turn.caught_up and not self.caught_up:
            self.caught_up = True
            log.info("the library is whole: %d titles", len(self._library))
        if self.caught_up and (turn.records or turn.caught_up):
            self._changed()

    def _put(self, record: Record) -> None:
        try:
            if record.value:
                self._library.put(TitleEvent.FromString(record.value).title)
            else:
                self._library.drop(record.key)
        except (DecodeError, ValueError) as error:
            # The topic keeps it as the latest of its key; the catalog writes the title again with its next change.
            log.warning("a title cannot be read: %s", error)
