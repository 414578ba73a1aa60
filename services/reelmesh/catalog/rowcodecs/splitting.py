"""Cuts a file that comes in pieces into rows: lines of JSON, or records of CSV with line breaks between quotes."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Protocol

from reelmesh.catalog.rowcodecs.model import ROW_BYTES, RowFormat

_FIELD = rb'(?>"(?>[^"]++|"")*+"|[^,\r\n"][^,\r\n]*+|)'
_RECORD = re.compile(rb"(?>" + _FIELD + rb",)*+" + _FIELD + rb"(?:\r\n|\n|\r(?!\Z))")
_LINE = re.compile(rb"[^\r\n]*+(?:\r\n|\n|\r(?!\Z))")
_JSON_LINE = re.compile(rb"[^\n]*+\n")

_VALUE = re.compile(rb"(?>\A|,)" + _FIELD)


class Broken(bytes):
    """A row of which no bytes are of use; what it holds is what is wrong, in words."""

    __slots__ = ()


_UNCLOSED = Broken(b"a quote is not closed, or stands where none may")
_TOO_LARGE = Broken(b"a row may have %d bytes" % ROW_BYTES)


class Splitter(Protocol):
    """Takes pieces of a file, gives its rows: bytes without a line's end, or Broken. Blank lines are no rows."""

    columns: int
    """How many values a record of several lines must have; 0 while that is not known."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the rows that are whole now."""

    def finish(self) -> Iterator[bytes]:
        """Yield what is left at the end of the file."""


def splitter(row_format: RowFormat) -> Splitter:
    """Return what cuts a file of a format."""
    return _Splitter(_RECORD, _LINE) if row_format is RowFormat.CSV else _Splitter(_JSON_LINE, _JSON_LINE)


class _Splitter:
    """Finds records by their pattern.

    What is no record, such as a quote that nothing closes, costs its line: the search goes on behind that.
    """

    def __init__(self, record: re.Pattern[bytes], line: re.Pattern[bytes]) -> None:
        self._record = record
        self._line = line
        self.columns = 0
        self._rest = b""
        self._begun = False
        self._skipping = False
        """Within a row that is too large already."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the rows that are whole now."""
        rest = self._rest + data
        if not self._begun:
            if len(rest) < len(codecs.BOM_UTF8) and codecs.BOM_UTF8.startswith(rest):
                self._rest = rest
                return
            rest = rest.removeprefix(codecs.BOM_UTF8)
            self._begun = True
        yield from self._split(rest, last=False)

    def finish(self) -> Iterator[bytes]:
        """Yield what is left at the end of the file."""
        if self._rest:
            yield from self._split(self._rest + b"\n", last=True)

    def _split(self, data: bytes, *, last: bool) -> Iterator[bytes]:
        at = 0
        while at < len(data):
            line = self._line.match(data, at)
            if self._skipping:
                if line is None:
                    at = len(data)
                    break
                at, self._skipping = line.end(), False
                continue
            record = self._record.match(data, at)
            if record is not None and self._fits(record[0]):
                row = record[0].rstrip(b"\r\n")
                at = record.end()
                if row.strip():
                    yield row
                continue
            if record is None and not last and len(data) - at <= ROW_BYTES:
                break  # what comes may complete it
            if line is not None and line.end() - at <= ROW_BYTES:
                at = line.end()
                yield _UNCLOSED
                continue
            yield _TOO_LARGE
            self._skipping = True
        self._rest = data[at:]

    def _fits(self, record: bytes) -> bool:
        if len(record) > ROW_BYTES:
            return False
        lines = record.rstrip(b"\r\n")
        if not self.columns or (b"\n" not in lines and b"\r" not in lines):
            return True
        # A quote that nobody closed may have run into one of a later row: the record has too many values, or too few.
        return len(_VALUE.findall(lines)) == self.columns
