"""Errors of the domain, and the one place that turns them into a gRPC status.

Services raise `DomainError`s with a stable reason; `to_status` renders them as google.rpc.Status with ErrorInfo.
Anything else that is raised becomes INTERNAL without a word of what went wrong inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar

from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2


class DomainError(Exception):
    """Something that a caller is told, with a reason that programs may depend on.

    A subclass names `code` (a google.rpc.Code) and `reason` (upper snake case); `metadata` says more to programs.
    """

    code: ClassVar[int] = code_pb2.UNKNOWN
    reason: str = "UNKNOWN"

    def __init__(self, message: str, *, retry_after: timedelta | None = None, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        """When asking again makes sense; None when it does not by itself."""
        self.metadata = {key: str(value) for key, value in metadata.items()}


class InvalidArgument(DomainError):
    """The request is wrong whatever the state of the system."""

    code = code_pb2.INVALID_ARGUMENT
    reason = "INVALID_REQUEST"

    def __init__(self, message: str, *, violations: Sequence[tuple[str, str]] = (), **metadata: object) -> None:
        super().__init__(message, retry_after=None, **metadata)
        self.violations = tuple(violations)
        """Pairs of field path and what is wrong with it."""


class NotFound(DomainError):
    """What the request names does not exist."""

    code = code_pb2.NOT_FOUND
    reason = "NOT_FOUND"


class AlreadyExists(DomainError):
    """What the request would make is there already."""

    code = code_pb2.ALREADY_EXISTS
    reason = "ALREADY_EXISTS"


class FailedPrecondition(DomainError):
    """The request is right, but not in this state."""

    code = code_pb2.FAILED_PRECONDITION
    reason = "FAILED_PRECONDITION"


class Aborted(DomainError):
    """Someone else was faster; read again and decide anew."""

    code = code_pb2.ABORTED
    reason = "ABORTED"


class OutOfRange(DomainError):
    """A position lies outside what is there."""

    code = code_pb2.OUT_OF_RANGE
    reason = "OUT_OF_RANGE"


class Unauthenticated(DomainError):
    """It is not known, or not believed, who calls."""

    code = code_pb2.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class PermissionDenied(DomainError):
    """The caller may not do this."""

    code = code_pb2.PERMISSION_DENIED
    reason = "CALLER_NOT_ALLOWED"


class ResourceExhausted(DomainError):
    """A limit is reached."""

    code = code_pb2.RESOURCE_EXHAUSTED
    reason = "QUOTA_EXCEEDED"


class DeadlineTooShort(DomainError):
    """So little time is left that starting would be waste."""

    code = code_pb2.DEADLINE_EXCEEDED
    reason = "DEADLINE_TOO_SHORT"


class Unavailable(DomainError):
    """A store or a peer does not answer; the same request may succeed later."""

    code = code_pb2.UNAVAILABLE
    reason = "STORE_UNAVAILABLE"


class Stopping(Unavailable):
    """The server is about to stop; another one, or this one later, goes on with what was cut off."""

    reason = "SERVER_STOPPING"


class PageTokenInvalid(InvalidArgument):
    """A page token was not made by this list."""

    reason = "PAGE_TOKEN_INVALID"


def to_status(error: DomainError, domain: str) -> status_pb2.Status:
    """Render `error` with ErrorInfo of `domain`, and BadRequest and RetryInfo where they fit."""
    status = status_pb2.Status(code=error.code, message=error.message)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=domain, metadata=error.metadata)
    details: list[error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo] = [info]
    if isinstance(error, InvalidArgument) and error.violations:
        bad = error_details_pb2.BadRequest()
        for field, description in error.violations:
            bad.field_violations.add(field=field, description=description)
        details.append(bad)
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromTimedelta(error.retry_after)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status
