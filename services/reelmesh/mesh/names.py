"""Resource names (AIP-122) and page tokens (AIP-158)."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import ClassVar, Self

from reelmesh.mesh.errors import InvalidArgument, PageTokenInvalid


@dataclass(frozen=True, slots=True)
class ResourceName:
    """A resource of an organization: ``organizations/{organization}/{collection}/{id}``.

    A subclass names its collection. The contracts' rules have checked the form before a name is parsed.
    """

    collection: ClassVar[str]

    organization: str
    id: str

    @classmethod
    def parse(cls, name: str) -> Self:
        """Take a name apart. Raises ValueError when it is not of this collection."""
        match name.split("/"):
            case ["organizations", organization, cls.collection, id_]:
                return cls(organization, id_)
        raise ValueError(f"not a name of {cls.collection}: {name!r}")

    @classmethod
    def asked(cls, name: str, field: str) -> Self:
        """Take the name in a field apart whose rule cannot demand a form. Raises InvalidArgument."""
        try:
            return cls.parse(name)
        except ValueError as error:
            problem = f"must be organizations/{{organization}}/{cls.collection}/{{{cls.collection.removesuffix('s')}}}"
            raise InvalidArgument(f"{field}: {problem}", violations=[(field, problem)]) from error

    def __str__(self) -> str:
        return f"organizations/{self.organization}/{self.collection}/{self.id}"


class VideoName(ResourceName):
    """Name of a video."""

    __slots__ = ()
    collection = "videos"


class TitleName(ResourceName):
    """Name of a title."""

    __slots__ = ()
    collection = "titles"


class UploadName(ResourceName):
    """Name of an upload."""

    __slots__ = ()
    collection = "uploads"


class JobName(ResourceName):
    """Name of a job."""

    __slots__ = ()
    collection = "jobs"


class SessionName(ResourceName):
    """Name of a playback session."""

    __slots__ = ()
    collection = "sessions"


class ModelName(ResourceName):
    """Name of a model that chooses what viewers are shown."""

    __slots__ = ()
    collection = "models"


def organization_of(parent: str) -> str:
    """Return the organization of ``organizations/{organization}``."""
    return parent.removeprefix("organizations/")


def encode_page_token(position: str) -> str:
    """Make an opaque token of the last position of a page; an empty position means that there is no next page."""
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def decode_page_token(token: str) -> str:
    """Return the position in a token. Raises PageTokenInvalid."""
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise PageTokenInvalid("page_token was not made by this list") from error
