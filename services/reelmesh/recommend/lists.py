"""Lists that are nobody's in particular, asked for once for all who are shown them within some seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from reelmesh.discovery.v1.discovery_service_pb2 import BrowseRequest, TitleSummary
from reelmesh.mesh.lru import Lru
from reelmesh.recommend.viewing import Found, Viewer

SECONDS = 10.0
"""How long a list is kept: a title whose window has ended stands on pages for as much longer, and plays no more."""
KEPT = 1000
"""Lists that are kept: of organizations, countries, languages, ages and orders."""

_Key = tuple[str, bytes, int, int]


class Titles(Protocol):
    """Discovery's word on what a viewer may find. All raise Unavailable."""

    async def browse(self, viewer: Viewer, order: BrowseRequest.Order.ValueType, size: int) -> Sequence[TitleSummary]:
        """Return films and series in an order."""

    async def named(self, viewer: Viewer, titles: Sequence[str]) -> Found:
        """Return those of some titles, given by their ids, that the viewer may find."""


@dataclass(frozen=True, slots=True)
class _Asked:
    answer: asyncio.Task[Sequence[TitleSummary]]
    until: float


class Lists:
    """Remembers lists; what is a viewer's own is asked for each time."""

    def __init__(self, titles: Titles, monotonic: Callable[[], float]) -> None:
        self._titles = titles
        self._monotonic = monotonic
        self._asked: Lru[_Key, _Asked] = Lru(KEPT, lambda asked: 1)

    async def browse(self, viewer: Viewer, order: BrowseRequest.Order.ValueType, size: int) -> Sequence[TitleSummary]:
        """Return films and series in an order, as they were a moment ago. Raises Unavailable."""
        key = (viewer.organization, viewer.context.SerializeToString(deterministic=True), order, size)
        asked = self._asked.get(key)
        if asked is None or asked.until <= self._monotonic():
            asking = asyncio.ensure_future(self._titles.browse(viewer, order, size))
            asked = _Asked(asking, self._monotonic() + SECONDS)
            self._asked.put(key, asked)
            asking.add_done_callback(lambda done: self._settle(key, done))
        # Who gives up waiting leaves the answer to the others.
        return await asyncio.shield(asked.answer)

    async def named(self, viewer: Viewer, titles: Sequence[str]) -> Found:
        """Return those of some titles, given by their ids, that the viewer may find. Raises Unavailable."""
        return await self._titles.named(viewer, titles)

    def _settle(self, key: _Key, done: asyncio.Task[Sequence[TitleSummary]]) -> None:
        """Forget a list that was not told: the next one asks again."""
        if not done.cancelled() and done.exception() is None:
            return
        asked = self._asked.get(key)
        if asked is not None and asked.answer is done:
            self._asked.drop(key)
