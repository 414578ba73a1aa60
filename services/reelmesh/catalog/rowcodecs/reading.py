"""Reads the rows of a file that comes in pieces, each by itself, and writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from reelmesh.catalog.rowcodecs.csv_rows import CsvRows, Header, column_of
from reelmesh.catalog.rowcodecs.json_rows import JsonRows
from reelmesh.catalog.rowcodecs.model import Row, RowFormat, RowRefused, Unreadable
from reelmesh.catalog.rowcodecs.splitting import Broken, splitter
from reelmesh.catalog.v1.title_pb2 import Title

_UNDERSCORE = re.compile("_([a-z])")


@dataclass(frozen=True, slots=True)
class Numbered:
    """A row of a file."""

    number: int
    """From 1; a header is none."""
    row: Row | RowRefused
    """What it holds, or why nobody can tell."""


class Reader:
    """Takes pieces of a file, gives its rows."""

    def __init__(self, row_format: RowFormat) -> None:
        self._format = row_format
        self._splitter = splitter(row_format)
        self._rows: JsonRows | CsvRows | None = JsonRows() if row_format is RowFormat.JSON else None
        self._count = 0

    def feed(self, data: bytes) -> Iterator[Numbered]:
        """Yield the rows that are whole now. Raises HeaderInvalid."""
        for each in self._splitter.feed(data):
            yield from self._read(each)

    def finish(self) -> Iterator[Numbered]:
        """Yield what is left at the end of the file. Raises HeaderInvalid."""
        for each in self._splitter.finish():
            yield from self._read(each)

    def field(self, path: str, title: Title) -> str:
        """Return what rows call the field at a path of a title."""
        return column_of(path, title) if self._format is RowFormat.CSV else _UNDERSCORE.sub(_capital, path)

    def _read(self, data: bytes) -> Iterator[Numbered]:
        if self._rows is None:
            header = Header.read(data)
            self._splitter.columns = len(header.columns)
            self._rows = CsvRows(header)
            return
        self._count += 1
        try:
            if isinstance(data, Broken):
                raise Unreadable(data.decode())
            yield Numbered(self._count, self._rows.decode(data))
        except RowRefused as error:
            yield Numbered(self._count, error)


def _capital(found: re.Match[str]) -> str:
    return found[1].upper()
