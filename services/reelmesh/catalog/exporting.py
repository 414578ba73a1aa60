"""Gives an organization's titles out as rows that an import takes, whatever they are part of before them."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from typing import IO

from reelmesh.catalog.rowcodecs.csv_rows import CsvRows, Header
from reelmesh.catalog.rowcodecs.json_rows import JsonRows
from reelmesh.catalog.rowcodecs.model import Row, RowFormat
from reelmesh.catalog.titles import Titles
from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.mesh.lru import Lru
from reelmesh.mesh.names import TitleName

PART_BYTES = 256 << 10
"""A part of the file has about so many bytes."""
PAGE = 200
"""Titles that are read together."""
MEMORY = 8 << 20
"""Bytes of an export in CSV that stay in memory until its header is known; what is more waits in a file."""
PARENTS = 10_000
"""External ids of parents that are remembered."""
_SIZE_BYTES = 4
_WHOLES = (Title.KIND_FILM, Title.KIND_SERIES)
_PARTS = (Title.KIND_SEASON, Title.KIND_EPISODE, Title.KIND_EXTRA)


class Export:
    """One file that is being written."""

    def __init__(self, titles: Titles, organization: str, row_format: RowFormat) -> None:
        self._titles = titles
        self._organization = organization
        self._format = row_format
        self._parents: Lru[str, str] = Lru(PARENTS, lambda _: 1)

    async def run(self) -> AsyncGenerator[bytes]:
        """Yield the file in parts. Parts without a byte say that there is more to come. Raises Unavailable."""
        if self._format is RowFormat.CSV:
            async for part in self._csv():
                yield part
            return
        codec, waiting = JsonRows(), bytearray()
        async for row in self._rows():
            waiting += codec.encode(row)
            if len(waiting) >= PART_BYTES:
                yield bytes(waiting)
                waiting.clear()
        if waiting:
            yield bytes(waiting)

    async def _csv(self) -> AsyncIterator[bytes]:
        """Write the rows twice: which languages the header names is known when all of them were seen."""
        languages: set[str] = set()
        with tempfile.SpooledTemporaryFile(MEMORY) as spool:
            unsaid = 0
            async for row in self._rows():
                languages.update(localization.language for localization in row.title.localizations)
                unsaid += _keep(spool, row)
                if unsaid >= PART_BYTES:
                    yield b""
                    unsaid = 0
            header = Header.of(languages)
            codec, waiting = CsvRows(header), bytearray(header.encode())
            spool.seek(0)
            for row in _kept(spool):
                waiting += codec.encode(row)
                if len(waiting) >= PART_BYTES:
                    yield bytes(waiting)
                    waiting.clear()
            yield bytes(waiting)

    async def _rows(self) -> AsyncIterator[Row]:
        async for title in self._all((*_WHOLES, *_PARTS)):
            yield Row(title, parent_external_id=await self._parent(title))
        # A collection may be of collections: those come first. Of two that hold each other, one has to be.
        collections = {title.name: title async for title in self._all((Title.KIND_COLLECTION,))}
        for title in ordered(collections):
            yield Row(title, member_external_ids=await self._members(title))

    async def _all(self, kinds: Sequence[int]) -> AsyncIterator[Title]:
        behind = None
        while True:
            titles, behind = await self._titles.list(self._organization, kinds, PAGE, behind)
            for title in titles:
                if title.kind != Title.KIND_EPISODE:
                    self._parents.put(title.name, title.external_id)
                yield title
            if behind is None:
                return

    async def _parent(self, title: Title) -> str:
        if not title.parent_title:
            return ""
        known = self._parents.get(title.parent_title)
        if known is None:
            (parent,) = await self._titles.load_all([TitleName.parse(title.parent_title)])
            known = parent.external_id if parent is not None else ""
            self._parents.put(title.parent_title, known)
        return known

    async def _members(self, title: Title) -> Sequence[str]:
        """Return the external ids of what a collection is made of; none where one of them has none."""
        members = await self._titles.load_all(map(TitleName.parse, title.members))
        found = [member.external_id if member is not None else "" for member in members]
        return found if all(found) else []


def ordered(collections: Mapping[str, Title]) -> Iterator[Title]:
    """Yield collections, each behind those that it holds, as far as that can be."""
    done: set[str] = set()
    for first in collections:
        stack = [first]
        while stack:
            name = stack[-1]
            waits = [] if name in done else _unseen(collections[name].members, collections, {*done, *stack})
            if waits:
                stack.append(waits[0])
                continue
            stack.pop()
            if name not in done:
                done.add(name)
                yield collections[name]


def _unseen(members: Iterable[str], among: Collection[str], seen: Collection[str]) -> list[str]:
    return [member for member in members if member in among and member not in seen]


def _keep(spool: IO[bytes], row: Row) -> int:
    found = 0
    for text in (row.title.SerializeToString(), row.parent_external_id.encode()):
        found += spool.write(len(text).to_bytes(_SIZE_BYTES) + text)
    members = [each.encode() for each in row.member_external_ids]
    found += spool.write(len(members).to_bytes(_SIZE_BYTES))
    for member in members:
        found += spool.write(len(member).to_bytes(_SIZE_BYTES) + member)
    return found


def _kept(spool: IO[bytes]) -> Iterator[Row]:
    while size := spool.read(_SIZE_BYTES):
        title = Title.FromString(spool.read(int.from_bytes(size)))
        parent = spool.read(_number(spool)).decode()
        yield Row(title, parent, [spool.read(_number(spool)).decode() for _ in range(_number(spool))])


def _number(spool: IO[bytes]) -> int:
    return int.from_bytes(spool.read(_SIZE_BYTES))
