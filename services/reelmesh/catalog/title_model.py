"""A title as the catalog knows it: the contract's message, and what is kept around it. Values only."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from google.protobuf.field_mask_pb2 import FieldMask

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.mesh.names import TitleName

OURS = frozenset({"name", "revision", "etag", "create_time", "update_time"})
"""Fields that only the platform writes."""
FIXED = frozenset({"kind", "parent_title", "external_id"})
"""Fields that are given when a title is made, and stay."""
WRITABLE = tuple(field.name for field in Title.DESCRIPTOR.fields if field.name not in OURS | FIXED)
"""Fields that an update mask may name."""

_NAMES = uuid.UUID("b6a2a7c5-93b2-4b53-9c2c-6f1f0c1d0e5a")


@dataclass(frozen=True, slots=True)
class Held:
    """A title, or what is left of one."""

    title: Title
    """As it is now, or was when it was deleted. Nobody changes it: a change is a copy."""
    deleted: bool = False
    request_id: str = ""
    """What it was made by."""

    @property
    def revision(self) -> int:
        """Number of its latest change, from 1."""
        return self.title.revision


@dataclass(frozen=True, slots=True)
class Revision:
    """A change of a title."""

    title: Title
    """As it was after the change; before it, for a deletion."""
    author: str
    """Who changed it: the resource name of a user or a service account; empty for the platform itself."""
    time: datetime
    fields: tuple[str, ...]
    """What was changed."""
    deleted: bool = False

    @property
    def name(self) -> TitleName:
        """The title's name."""
        return TitleName.parse(self.title.name)


@dataclass(frozen=True, slots=True)
class Change:
    """A note that a title is about to be changed, kept until that was announced."""

    id: str
    """UUID of version 7."""
    name: TitleName
    time: datetime


def minute_of(time: datetime) -> datetime:
    """Return the minute that `time` lies in."""
    return time.replace(second=0, microsecond=0)


class Effect(Enum):
    """What became of a title that was to be as given."""

    CREATED = "CREATED"
    UPDATED = "UPDATED"
    UNCHANGED = "UNCHANGED"


def imported_name(organization: str, external_id: str) -> TitleName:
    """Return the name of the title that an external id stands for: the same wherever and whenever it is asked for."""
    return TitleName(organization, str(uuid.uuid5(_NAMES, f"{organization} external {external_id}")))


def requested_name(organization: str, request_id: str) -> TitleName:
    """Return the name of the title that a request makes, however often it is sent."""
    return TitleName(organization, str(uuid.uuid5(_NAMES, f"{organization} request {request_id}")))


def etag_of(name: str, revision: int) -> str:
    """Return the etag of a revision. A hash, so that nobody is tempted to count with it."""
    return hashlib.blake2b(f"{name} {revision}".encode(), digest_size=12).hexdigest()


def overlaid(title: Title, given: Title, paths: Iterable[str]) -> Title:
    """Return `title` with the fields `paths` as `given` has them."""
    new = Title()
    new.CopyFrom(title)
    FieldMask(paths=paths).MergeMessage(given, new, replace_message_field=True, replace_repeated_field=True)
    return new


def differing(one: Title, other: Title, among: Collection[str] = WRITABLE) -> tuple[str, ...]:
    """Return which of the fields `among` differ."""
    return tuple(path for path in among if _value(one, path) != _value(other, path))


def filled(title: Title) -> tuple[str, ...]:
    """Return the writable fields that a title fills."""
    return differing(title, Title())


def _value(title: Title, path: str) -> object:
    return getattr(title, path)
