"""The library as rows of a page need it: little of each title, all of it in memory, from the catalog's compacted topic.

A title takes about 0.7 kB here, so 200,000 of them take about 140 MB; what is only shown stays with discovery.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from reelmesh.catalog.v1.title_pb2 import Title as TitleMessage
from reelmesh.recommend.features import features_of

FILM, SERIES, SEASON, EPISODE = (
    TitleMessage.KIND_FILM,
    TitleMessage.KIND_SERIES,
    TitleMessage.KIND_SEASON,
    TitleMessage.KIND_EPISODE,
)
PEOPLE = 12
"""People of a title that are kept, the most important first."""


@dataclass(frozen=True, slots=True)
class Title:
    """A title."""

    id: str
    kind: int
    """As the contract numbers kinds."""
    published: bool
    revision: int
    parent: str
    """Id of the title that it is part of; empty for none."""
    number: int
    """Place within that; 0 for none."""
    video: str
    """Id of what plays; empty for none."""
    year: int
    """Of its release; 0 where nobody knows."""
    created: float
    """When it was made, seconds since 1970."""
    genres: tuple[str, ...]
    people: tuple[str, ...]
    features: array[int]
    """What it is, as features.py writes it; of films and series only."""

    @property
    def is_work(self) -> bool:
        """True for what is chosen for viewers: films, and series as a whole."""
        return self.kind in (FILM, SERIES)


class Holdings:
    """The library of one organization."""

    def __init__(self) -> None:
        self.revision = 0
        """Counts changes."""
        self._titles: dict[str, Title] = {}
        self._by_video: dict[str, str] = {}
        self._parts: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._titles)

    def get(self, title: str) -> Title | None:
        """Return a title; None when there is none."""
        return self._titles.get(title)

    def of_video(self, video: str) -> Title | None:
        """Return the title that a video plays; None when there is none."""
        return self._titles.get(self._by_video.get(video, ""))

    def work_of(self, title: Title) -> Title | None:
        """Return what a title belongs to as viewers are shown it: itself, or its series. None where that is missing."""
        found: Title | None = title
        for _ in range(3):  # an extra of an episode of a season of a series
            if found is None or found.is_work:
                return found
            found = self._titles.get(found.parent)
        return found if found is not None and found.is_work else None

    def works(self) -> list[Title]:
        """Return all that may be chosen: published films and series."""
        return [title for title in self._titles.values() if title.is_work and title.published]

    def next_episode(self, episode: Title) -> Title | None:
        """Return what follows an episode, in its season or at the beginning of the next one; None after the last.

        Only published episodes that have a video count, and those without a number are in no order.
        """
        work = self.work_of(episode)
        if work is None:
            return None
        order = self.episodes(work)
        ids = [each.id for each in order]
        if episode.id in ids:
            following = order[ids.index(episode.id) + 1 :]
        else:  # it was withdrawn, but was seen
            place = self._place(episode)
            following = [each for each in order if self._place(each) > place]
        return following[0] if following else None

    def episodes(self, series: Title) -> Sequence[Title]:
        """Return the episodes of a series that can be played, in their order. Season 0 is of specials, and is last."""
        found = [
            part
            for part in self._below(series.id)
            if part.kind == EPISODE and part.published and part.video and part.number
        ]
        return sorted(found, key=self._place)

    def _place(self, episode: Title) -> tuple[bool, int, int]:
        season = self._titles.get(episode.parent)
        number = season.number if season is not None and season.kind == SEASON else 1
        return number == 0, number, episode.number

    def _below(self, title: str) -> Iterator[Title]:
        for id_ in self._parts.get(title, ()):
            part = self._titles.get(id_)
            if part is None:
                continue
            if part.kind == SEASON:
                if part.published:
                    yield from self._below(id_)
            else:
                yield part

    def put(self, title: Title) -> None:
        """Take a title in, in place of an earlier revision; a later one stays."""
        earlier = self._titles.get(title.id)
        if earlier is not None:
            if earlier.revision >= title.revision:
                return
            self._unlink(earlier)
        self._titles[title.id] = title
        if title.video:
            self._by_video[title.video] = title.id
        if title.parent:
            self._parts.setdefault(title.parent, set()).add(title.id)
        self.revision += 1

    def drop(self, title: str) -> None:
        """Take a title out; one that is not there is no error."""
        earlier = self._titles.pop(title, None)
        if earlier is not None:
            self._unlink(earlier)
            self.revision += 1

    def _unlink(self, title: Title) -> None:
        if self._by_video.get(title.video) == title.id:
            del self._by_video[title.video]
        parts = self._parts.get(title.parent)
        if parts is not None:
            parts.discard(title.id)
            if not parts:
                del self._parts[title.parent]


class Library:
    """The libraries of all organizations, by organization."""

    def __init__(self) -> None:
        self._held: dict[str, Holdings] = {}

    def of(self, organization: str) -> Holdings:
        """Return an organization's library; an empty one where nothing is known of it."""
        return self._held.get(organization) or Holdings()

    def put(self, message: TitleMessage) -> None:
        """Take in a title as the catalog tells it; one of an earlier revision than is there is left."""
        organization, _ = parse(message.name)
        held = self._held.setdefault(organization, Holdings())
        held.put(from_proto(message))

    def drop(self, name: str) -> None:
        """Take out a title, given by its name, that was deleted."""
        organization, id_ = parse(name)
        if organization in self._held:
            self._held[organization].drop(id_)

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()

    def __len__(self) -> int:
        return sum(map(len, self._held.values()))

    def organizations(self) -> Sequence[str]:
        """Return who has a library."""
        return list(self._held)


def parse(name: str) -> tuple[str, str]:
    """Return the organization and the id in the name of a title or a video. Raises ValueError."""
    match name.split("/"):
        case ["organizations", organization, "titles" | "videos", id_]:
            return organization, id_
    raise ValueError(f"not a name of a title or a video: {name!r}")


def from_proto(message: TitleMessage) -> Title:
    """Take what is needed of a title. Raises ValueError for a name that is none."""
    work = message.kind in (FILM, SERIES)
    return Title(
        id=parse(message.name)[1],
        kind=message.kind,
        published=message.state == TitleMessage.STATE_PUBLISHED,
        revision=message.revision,
        parent=_id(message.parent_title),
        number=message.number,
        video=_id(message.video),
        year=message.release_date.year,
        created=message.create_time.seconds + message.create_time.nanos / 1e9,
        # Few words and names make up all of a library: one string of each is enough.
        genres=_interned(message.genres) if work else (),
        people=_interned(credit.person for credit in message.credits[:PEOPLE]) if work else (),
        features=features_of(message) if work else array("I"),
    )


def _interned(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(sys.intern(word) for word in words))


def _id(name: str) -> str:
    return name.rpartition("/")[2]
