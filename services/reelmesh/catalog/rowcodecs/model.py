"""A row of a library: a title, and what it says of others by their external ids. Values only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from reelmesh.catalog.title_model import OURS, imported_name
from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.mesh.errors import InvalidArgument

ROW_BYTES = 256 << 10
"""Bytes that a row may have."""
LEFT_OUT = OURS - {"name"}
"""Fields of a title that no row has. A name stands in rows of titles that have no external id."""


class RowFormat(Enum):
    """How rows are written."""

    JSON = "json"
    CSV = "csv"


class RowRefused(Exception):
    """A row is wrong; the others are not."""

    def __init__(self, reason: str, field: str, message: str, external_id: str = "") -> None:
        super().__init__(f"{reason} {field}: {message}")
        self.reason = reason
        """Stable, as the contract has it."""
        self.field = field
        """What of the row is wrong, as the row calls it; empty for all of it."""
        self.message = message
        self.external_id = external_id
        """Which title it was to be, where that could be read."""


class Unreadable(RowRefused):
    """Nothing can be read of a row."""

    def __init__(self, message: str) -> None:
        super().__init__("ROW_UNREADABLE", "", message)


class HeaderInvalid(InvalidArgument):
    """The first row of CSV names columns that there are not, or one twice."""

    reason = "HEADER_INVALID"


class FieldUnknown(RowRefused):
    """A row has a field that no title has."""

    def __init__(self, field: str, message: str = "no title has such a field") -> None:
        super().__init__("FIELD_UNKNOWN", field, message)


class ValueInvalid(RowRefused):
    """A field of a row has a value that it cannot have."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__("VALUE_INVALID", field, message)


@dataclass(frozen=True, slots=True)
class Row:
    """A title as a row has it."""

    title: Title
    parent_external_id: str = ""
    """What it is part of, by external id in place of `parent_title`."""
    member_external_ids: Sequence[str] = ()
    """What it is made of, by external ids in place of `members`."""


def resolved(row: Row, organization: str) -> Title:
    """Return a row's title with the names that its external ids stand for. Raises RowRefused."""
    title = row.title
    if row.parent_external_id:
        if title.parent_title:
            raise ValueInvalid("parent_external_id", "stands beside parent_title; give one of them")
        title.parent_title = str(imported_name(organization, row.parent_external_id))
    if row.member_external_ids:
        if title.members:
            raise ValueInvalid("member_external_ids", "stands beside members; give one of them")
        title.members.extend(str(imported_name(organization, each)) for each in row.member_external_ids)
    return title
