"""Titles in memory, with what a store on Cassandra promises."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from reelmesh.catalog.title_model import Change, Held, Revision
from reelmesh.catalog.titles import Position, Taken
from reelmesh.catalog.v1.title_pb2 import Localization, Title
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import TitleName, VideoName

ORGANIZATION = "acme"


def film(words: str = "The Long Way", **fields: Any) -> Title:
    return Title(kind=Title.KIND_FILM, localizations=[Localization(language="en", title=words)], **fields)


class MemoryTitleStore:
    """Titles by name, each with its revisions."""

    def __init__(self) -> None:
        self.revisions_of: dict[TitleName, list[Revision]] = {}
        self.requests: dict[TitleName, str] = {}
        self.notes: dict[str, Change] = {}
        self.owners: dict[VideoName, Taken] = {}
        self.indexed: dict[TitleName, Held] = {}

    async def load(self, name: TitleName) -> Held | None:
        if name not in self.revisions_of:
            return None
        last = self.revisions_of[name][-1]
        return Held(last.title, last.deleted, self.requests.get(name, ""))

    async def intend(self, change: Change) -> None:
        self.notes[change.id] = change

    async def put(self, revision: Revision, request_id: str | None) -> bool:
        earlier = self.revisions_of.setdefault(revision.name, [])
        if len(earlier) != revision.title.revision - 1:
            return False
        earlier.append(revision)
        if request_id is not None:
            self.requests[revision.name] = request_id
        return True

    async def index(self, held: Held) -> None:
        self.indexed[TitleName.parse(held.title.name)] = held

    async def heads(self, names: Sequence[TitleName]) -> Mapping[TitleName, int]:
        return {name: len(self.revisions_of[name]) for name in names if name in self.revisions_of}

    async def forget(self, *changes: Change) -> None:
        for change in changes:
            self.notes.pop(change.id, None)

    async def intended(self, minute: datetime) -> Sequence[Change]:
        return [note for note in self.notes.values() if note.time.replace(second=0, microsecond=0) == minute]

    async def revision(self, name: TitleName, number: int) -> Revision | None:
        return next((each for each in self.revisions_of.get(name, ()) if each.title.revision == number), None)

    async def revisions(self, name: TitleName, before: int, size: int) -> Sequence[Revision]:
        kept = [each for each in self.revisions_of[name] if not before or each.title.revision < before]
        return kept[::-1][:size]

    async def of_kind(self, organization: str, kind: int, behind: Position | None, size: int) -> Sequence[Position]:
        positions = sorted(
            (
                Position(kind, held.title.create_time.ToDatetime(UTC), name.id)
                for name, held in self.indexed.items()
                if name.organization == organization and held.title.kind == kind and not held.deleted
            ),
            key=lambda position: (position.made, position.id),
            reverse=True,
        )
        if behind is not None:
            positions = [each for each in positions if (each.made, each.id) < (behind.made, behind.id)]
        return positions[:size]

    async def parts(self, parent: TitleName) -> Sequence[tuple[int, TitleName]]:
        return [
            (held.title.number, name)
            for name, held in self.indexed.items()
            if held.title.parent_title == str(parent) and not held.deleted
        ]

    async def take(self, video: VideoName, title: TitleName, now: datetime) -> Taken | None:
        taken = self.owners.setdefault(video, Taken(title, now))
        return None if taken.title == title else taken

    async def owner(self, video: VideoName) -> TitleName | None:
        return self.owners[video].title if video in self.owners else None

    async def seize(self, video: VideoName, title: TitleName, before: Taken, now: datetime) -> bool:
        if self.owners.get(video) != before:
            return False
        self.owners[video] = Taken(title, now)
        return True

    async def release(self, video: VideoName, title: TitleName) -> None:
        if video in self.owners and self.owners[video].title == title:
            del self.owners[video]


class Topic:
    """What was published, and a fault that can be put in its way."""

    def __init__(self) -> None:
        self.records: list[Held] = []
        self.faults = 0

    async def publish(self, titles: Iterable[tuple[str, Held]]) -> None:
        if self.faults:
            self.faults -= 1
            raise Unavailable("Kafka does not answer")
        self.records += [held for _, held in titles]


class Notebook:
    """Notes what is to be announced."""

    def __init__(self) -> None:
        self.said: list[tuple[Change, Held]] = []

    def announce(self, change: Change, held: Held) -> None:
        self.said.append((change, held))
