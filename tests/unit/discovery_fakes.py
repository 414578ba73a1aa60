"""A topic and an index in memory, for who fills the one from the other."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.discovery.model import Popularity
from reelmesh.events.v1.title_event_pb2 import TitleEvent

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


class Lost(Exception):
    """What the topic raises for a place that it does not know."""


@dataclass
class Record:
    key: str
    value: bytes
    position: str = "0/0"


@dataclass
class Turn:
    records: Sequence[Record]
    place: str
    behind: int
    caught_up: bool


def name(number: int) -> str:
    return f"organizations/default/titles/{uuid.UUID(int=number)}"


def title(number: int, revision: int = 1, text: str = "A title") -> Record:
    made = Title(name=name(number), revision=revision)
    made.localizations.add(language="en", title=text)
    return Record(made.name, TitleEvent(title=made).SerializeToString())


class Topic:
    """Records in their order; `follow` is a source."""

    def __init__(self, *records: Record) -> None:
        self.id = "1"
        self.records = list(records)
        self.turn = 2
        self.fault: Exception | None = None
        self.began: list[str] = []
        self.free = self.free_readers = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._more = asyncio.Event()

    def add(self, *records: Record) -> None:
        self.records.extend(records)
        self.wake()

    def wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

    async def follow(self, place: str) -> AsyncGenerator[Turn, None]:
        reader = len(self.began)
        self.began.append(place)
        known, at = json.loads(place) if place else (self.id, 0)
        if known != self.id:
            raise Lost
        end = len(self.records)
        yield self._at(at, at, end)
        while True:
            more = self._more
            if self.fault is not None:
                fault, self.fault = self.fault, None
                raise fault
            if at < len(self.records):
                if at >= self.free and reader >= self.free_readers:
                    await self.gate.wait()
                before, at = at, min(at + self.turn, len(self.records))
                yield self._at(before, at, end)
            else:
                await more.wait()

    def _at(self, before: int, at: int, end: int) -> Turn:
        return Turn(self.records[before:at], json.dumps([self.id, at]), len(self.records) - at, at >= end)


@dataclass
class Index:
    """Titles in a folder; `shown` are those that were committed."""

    path: Path
    version: int
    waiting: dict[str, Title] = field(default_factory=dict)
    shown: dict[str, Title] = field(default_factory=dict)
    commits: int = 0
    closed: bool = False
    poison: str = ""
    fault: Exception = field(default_factory=lambda: OSError("no room"))
    edge: datetime | None = None
    told: list[Popularity] = field(default_factory=list)

    def __post_init__(self) -> None:
        file = self.path / "titles"
        if file.exists():
            for line in file.read_text().splitlines():
                found = Title.FromString(bytes.fromhex(line))
                self.waiting[found.name] = found
            self.shown = dict(self.waiting)

    def apply(self, changes: Iterable[tuple[str, Title | None]]) -> int:
        for name, title in changes:
            if name == self.poison and title is not None:
                raise self.fault
            if title is None:
                self.waiting.pop(name, None)
            else:
                self.waiting[name] = title
        return 1

    @property
    def titles(self) -> int:
        return len(self.shown)

    def next_edge(self) -> datetime | None:
        return self.edge

    def refresh_edges(self) -> int:
        self.edge = None
        return 1

    def set_popularity(self, popularity: Popularity) -> int:
        self.told.append(popularity)
        return 0

    def commit(self) -> None:
        self.commits += 1
        self.shown = dict(self.waiting)
        (self.path / "titles").write_text("\n".join(each.SerializeToString().hex() for each in self.waiting.values()))

    def close(self) -> None:
        self.closed = True

    def texts(self) -> dict[str, str]:
        return {each.name: each.localizations[0].title for each in self.shown.values()}


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        self.time += timedelta(milliseconds=1)
        return self.time


async def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until a condition holds, which something else makes true."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a test looks from outside
            await asyncio.sleep(0.005)
