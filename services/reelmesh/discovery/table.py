"""What is known of all titles in memory, in columns: what orders them, and what changes without their documents.

A title has an ordinal, its place in the columns, which it keeps as long as it is in the index. One thread writes;
readers see the columns of a moment ago or of now, which makes no difference to what they may show: that is decided by
the index.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.discovery import availability, ranking
from reelmesh.discovery.documents import organization_of, published

_FIRST_SIZE = 1024
UNKNOWN = -1
"""Ordinal of what is not there."""


@dataclass(slots=True)
class Columns:
    """The columns, all of one length."""

    revision: NDArray[np.int64]
    """0 for a place that is free."""
    organization: NDArray[np.int32]
    parent: NDArray[np.int32]
    """Ordinal of the title that this one is part of."""
    released: NDArray[np.float64]
    """Seconds since 1970."""
    weight: NDArray[np.float64]
    """Of the kind."""
    indexed: NDArray[np.float32]
    """Popularity that the document says, 0 to 1."""
    tie: NDArray[np.int64]
    """Orders what is alike otherwise: by the title's name, so that it is the same in every index."""

    @classmethod
    def of(cls, size: int) -> Columns:
        """Return columns of free places."""
        return cls(
            np.zeros(size, np.int64),
            np.zeros(size, np.int32),
            np.full(size, UNKNOWN, np.int32),
            np.full(size, -np.inf),
            np.zeros(size),
            np.zeros(size, np.float32),
            np.zeros(size, np.int64),
        )

    def grown(self, size: int) -> Columns:
        """Return the same with more free places."""
        larger = Columns.of(size)
        for name in Columns.__slots__:
            getattr(larger, name)[: len(self.revision)] = getattr(self, name)
        return larger


class Table:
    """Titles by ordinal. Written by one thread."""

    def __init__(self) -> None:
        self.columns = Columns.of(_FIRST_SIZE)
        self.size = 0
        """Ordinals given so far."""
        self.windows: dict[int, tuple[availability.Window, ...]] = {}
        """Of titles that have some that begin or end."""
        self.languages: frozenset[str] = frozenset()
        """That any title has texts in, without regions."""
        self.ages: frozenset[int] = frozenset({availability.ADULT})
        """That any title is rated with."""
        self.seasons: dict[str, tuple[str, int]] = {}
        """Of each season, by its name, the name of the series and the number."""
        self._ordinals: dict[bytes, int] = {}
        self._videos: dict[bytes, int] = {}
        self._video_of: dict[int, bytes] = {}
        self._waiting: dict[bytes, list[bytes]] = {}
        self._organizations: dict[str, int] = {}
        self._free: list[int] = []
        self._shared: dict[availability.Window, availability.Window] = {}

    def __len__(self) -> int:
        return len(self._ordinals)

    def ordinal(self, name: str) -> int:
        """Return the place of a title; UNKNOWN where there is none."""
        return self._ordinals.get(self._known(name), UNKNOWN)

    def by_video(self, video: str) -> int:
        """Return the place of the title that a video plays; UNKNOWN where there is none."""
        return self._videos.get(self._known(video), UNKNOWN)

    def put(self, title: Title, ordinal: int = UNKNOWN) -> int:
        """Note a title, at `ordinal` where it is known, and return its place."""
        key = self._key(title.name)
        place = self._ordinals.get(key, ordinal)
        if place == UNKNOWN:
            place = self._free.pop() if self._free else self.size
        if place >= len(self.columns.revision):
            self.columns = self.columns.grown(max(place + 1, 2 * len(self.columns.revision)))
        self.size = max(self.size, place + 1)
        self._ordinals[key] = place
        columns = self.columns
        columns.revision[place] = title.revision
        columns.organization[place] = self._organization(organization_of(title.name))
        columns.released[place] = released(title)
        columns.tie[place] = int.from_bytes(key[-8:]) >> 1
        columns.weight[place] = ranking.KIND_WEIGHTS.get(title.kind, 1.0)
        self._put_parent(title, key, place)
        self._put_video(title.video, place)
        spans = availability.windows(title)
        if any(each.start != -availability.NEVER or each.end != availability.NEVER for each in spans):
            self.windows[place] = tuple(self._shared.setdefault(each, each) for each in spans)
        else:
            self.windows.pop(place, None)
        told = {each.language.split("-", 1)[0].lower() for each in title.localizations}
        if not told <= self.languages:
            self.languages |= told
        ages = {each.minimum_age for each in title.age_ratings}
        if not ages <= self.ages:
            self.ages |= ages
        if title.kind == Title.KIND_SEASON:
            self.seasons[title.name] = (title.parent_title, title.number)
        return place

    def drop(self, name: str) -> int:
        """Forget a title, and return its place, UNKNOWN where it had none.

        Nobody gets that place before the index is opened again: what is remembered of it, such as messages that were
        read and orders of pages, is the old title's.
        """
        place = self._ordinals.pop(self._known(name), UNKNOWN)
        if place == UNKNOWN:
            return UNKNOWN
        self.seasons.pop(name, None)
        self.columns.revision[place] = 0
        self.columns.parent[self.columns.parent == place] = UNKNOWN
        self.columns.parent[place] = UNKNOWN
        self.windows.pop(place, None)
        self._put_video("", place)
        return place

    def find_free(self) -> None:
        """After all titles were noted at their places: find those between them."""
        taken = set(self._ordinals.values())
        self._free = [each for each in range(self.size) if each not in taken]

    def views(self, counts: Mapping[str, float]) -> NDArray[np.float64]:
        """Return how often each title was watched, from how often videos were.

        A season was watched as often as all its episodes, a series as its seasons and episodes.
        """
        size = self.size  # it may grow meanwhile
        found = np.zeros(size)
        for video, count in counts.items():
            place = self.by_video(video)
            if 0 <= place < size:
                found[place] += count
        moved = found
        parents = self.columns.parent[:size].copy()
        for _ in range(2):  # episode, season, series
            up = np.zeros(size)
            at = np.flatnonzero((parents != UNKNOWN) & (parents < size) & (moved > 0))
            np.add.at(up, parents[at], moved[at])
            found = found + up
            moved = up
        return found

    def popularity(self, views: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how popular each title is, 0 to 1, compared with its organization's most popular one."""
        organizations = self.columns.organization[: len(views)].copy()
        most = np.zeros(int(organizations.max(initial=0)) + 1)
        np.maximum.at(most, organizations, views)
        return ranking.popularity(views, most[organizations])

    def _put_video(self, video: str, place: int) -> None:
        before = self._video_of.pop(place, None)
        if before is not None and self._videos.get(before) == place:
            del self._videos[before]
        if video:
            key = self._key(video)
            self._videos[key] = place
            self._video_of[place] = key

    def _put_parent(self, title: Title, key: bytes, place: int) -> None:
        parent = UNKNOWN
        if title.parent_title and title.kind in {Title.KIND_SEASON, Title.KIND_EPISODE}:
            above = self._key(title.parent_title)
            parent = self._ordinals.get(above, UNKNOWN)
            if parent == UNKNOWN:
                self._waiting.setdefault(above, []).append(key)
        self.columns.parent[place] = parent
        for child in self._waiting.pop(key, ()):
            if child in self._ordinals:
                self.columns.parent[self._ordinals[child]] = place

    def _organization(self, id_: str) -> int:
        """Return the number of an organization; a new one where it has none yet."""
        return self._organizations.setdefault(id_, len(self._organizations))

    def _key(self, name: str) -> bytes:
        """Return a short key of the name of a resource whose organization is or becomes known: for who writes."""
        self._organization(organization_of(name))
        return self._known(name)

    def _known(self, name: str) -> bytes:
        """Return a short key of a resource's name; an empty one, which nothing has, of an unknown organization."""
        _, organization, _, id_ = name.split("/", 3)
        number = self._organizations.get(organization)
        return b"" if number is None else number.to_bytes(4) + bytes.fromhex(id_.replace("-", ""))


def released(title: Title) -> float:
    """Return when a title came out, seconds since 1970; in the middle of a year of which nothing more is known."""
    date = title.release_date
    if not date.year:
        return published(title)
    month, day = (date.month, date.day or 1) if date.month else (7, 1)
    return float(_days(date.year, month, day)) * ranking.SECONDS_PER_DAY


def _days(year: int, month: int, day: int) -> int:
    return int(np.datetime64(f"{year:04d}-{month:02d}", "D").astype(np.int64)) + day - 1
