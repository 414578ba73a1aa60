"""Rows of CSV: a column for each field of a title, one for each language of what is localized. See docs/import.md."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reelmesh.catalog.rowcodecs.csv_fields import READERS, items, only, written
from reelmesh.catalog.rowcodecs.model import HeaderInvalid, Row, RowRefused, Unreadable, ValueInvalid
from reelmesh.catalog.v1.title_pb2 import Localization, Title

LOCALIZED = ("title", "sort_title", "synopsis", "description")
COLUMNS = (
    "kind", "external_id", "name", "parent_external_id", "parent_title", "number", "video", "state", "audience",
    "original_language", "release_date", "running_time", "genres", "tags", "credits", "age_ratings", "availabilities",
    "images", "member_external_ids", "members", "languages",
)  # fmt: skip
"""Columns of every export; those of what is localized follow them."""
_LOCALIZED = re.compile(rf"({'|'.join(LOCALIZED)})\[([A-Za-z0-9-]{{2,35}})\]")


@dataclass(frozen=True, slots=True)
class Header:
    """The columns of a file."""

    columns: tuple[str, ...]

    @classmethod
    def read(cls, data: bytes) -> Header:
        """Read the first row. Raises HeaderInvalid."""
        try:
            columns = tuple(column.strip() for column in _cells(data))
        except RowRefused as error:
            raise HeaderInvalid(f"the header cannot be read: {error.message}") from error
        faults = []
        for place, column in enumerate(columns):
            if column not in COLUMNS and not _LOCALIZED.fullmatch(column):
                faults.append((column[:100], "is no column of a title"))
            elif column in columns[:place]:
                faults.append((column, "stands there twice"))
        if faults:
            column, problem = faults[0]
            raise HeaderInvalid(f"column {column!r} {problem}", violations=faults[:20])
        return cls(columns)

    @classmethod
    def of(cls, languages: Iterable[str]) -> Header:
        """Return the columns of an export of titles that are told in some languages."""
        localized = [f"{part}[{language}]" for language in sorted(languages) for part in LOCALIZED]
        return cls((*COLUMNS, *localized))

    def encode(self) -> bytes:
        """Write the first row, with its line's end."""
        return _line(self.columns)


class CsvRows:
    """Reads and writes rows below a header."""

    def __init__(self, header: Header) -> None:
        self._columns = header.columns
        self._localized: dict[str, list[tuple[int, str]]] = {}
        """By language, where its values stand and what they are."""
        for place, column in enumerate(header.columns):
            found = _LOCALIZED.fullmatch(column)
            if found:
                self._localized.setdefault(found[2], []).append((place, found[1]))

    def decode(self, data: bytes) -> Row:
        """Read a row. Raises RowRefused."""
        cells = _cells(data)
        if len(cells) > len(self._columns):
            raise Unreadable(f"it has {len(cells)} values, and there are {len(self._columns)} columns")
        cells += [""] * (len(self._columns) - len(cells))  # what is left out at the end is empty
        given = dict(zip(self._columns, cells, strict=True))
        try:
            return self._row(given, cells)
        except RowRefused as error:
            error.external_id = given.get("external_id", "")
            raise

    def encode(self, row: Row) -> bytes:
        """Write a row, with its line's end."""
        given = written(row)
        by_language = {each.language: each for each in row.title.localizations}
        for language, places in self._localized.items():
            localization = by_language.get(language)
            if localization is not None:
                given.update({self._columns[place]: str(getattr(localization, part)) for place, part in places})
        return _line([given.get(column, "") for column in self._columns])

    def _row(self, given: Mapping[str, str], cells: Sequence[str]) -> Row:
        title = Title()
        for column, text in given.items():
            if text:
                read = READERS.get(column)
                if read is not None:
                    read(title, column, text)
        self._localize(title, given.get("languages", ""), cells)
        listed = items("member_external_ids", given.get("member_external_ids", ""))
        members = tuple(only(parts, "member_external_ids") for parts in listed)
        return Row(title, given.get("parent_external_id", ""), members)

    def _localize(self, title: Title, order: str, cells: Sequence[str]) -> None:
        filled = {
            language: {part: cells[place] for place, part in places if cells[place]}
            for language, places in self._localized.items()
        }
        there = [language for language, values in filled.items() if values]
        first = [only(parts, "languages") for parts in items("languages", order)]
        for language in first:
            if language not in there:
                raise ValueInvalid("languages", f"there is no title[{language}]"[:200])
        for language in dict.fromkeys([*first, *there]):
            title.localizations.append(Localization(language=language, **filled[language]))


def column_of(path: str, title: Title) -> str:
    """Return the column in which the field at a path of a title stands."""
    found = re.fullmatch(r"localizations\[(\d+)\](?:\.(\w+))?", path)
    if found and int(found[1]) < len(title.localizations):
        return f"{found[2] if found[2] in LOCALIZED else 'title'}[{title.localizations[int(found[1])].language}]"
    return "title[…]" if path == "localizations" else re.split(r"[.\[]", path, maxsplit=1)[0]


def _cells(data: bytes) -> list[str]:
    try:
        text = data.decode()
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except UnicodeDecodeError as error:
        raise Unreadable("it is no UTF-8") from error
    except csv.Error as error:
        raise Unreadable(str(error)) from error
    return rows[0] if rows else []


def _line(cells: Iterable[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().encode()
