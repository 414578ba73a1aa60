"""What can go wrong with finding titles; the reasons are part of the contract."""

from __future__ import annotations

from reelmesh.mesh.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted, Unavailable


class QueryInvalid(InvalidArgument):
    """A query cannot be read; `position` is the character, from 0, where the fault is."""

    reason = "QUERY_INVALID"

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"{message}, at character {position + 1}", position=position)
        self.position = position


class QueryTooLong(InvalidArgument):
    """A query is longer than anybody types."""

    reason = "QUERY_TOO_LONG"


class FacetUnknown(InvalidArgument):
    """There is no such facet."""

    reason = "FACET_UNKNOWN"


class PageTooDeep(InvalidArgument):
    """Nobody turns so many pages: something narrower is to be asked for."""

    reason = "PAGE_TOO_DEEP"


class ModelMissing(FailedPrecondition):
    """The installation has no model that knows what words mean."""

    reason = "MODEL_MISSING"


class TitleUnknown(NotFound):
    """There is no such title, or the viewer may not find it."""

    reason = "TITLE_UNKNOWN"


class TooBusy(ResourceExhausted):
    """More searches wait than the replica can do soon."""

    reason = "TOO_BUSY"


class IndexNotReady(Unavailable):
    """The replica's index has not caught up with the catalog yet; another one's may have."""

    reason = "INDEX_NOT_READY"
