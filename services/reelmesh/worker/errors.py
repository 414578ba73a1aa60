"""What can go wrong with media, with reasons that programs may depend on."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from enum import StrEnum


class Reason(StrEnum):
    """Why a task failed; the value travels in `Failure.reason`."""

    SOURCE_EMPTY = "SOURCE_EMPTY"
    SOURCE_MISSING = "SOURCE_MISSING"
    SOURCE_UNREADABLE = "SOURCE_UNREADABLE"
    SOURCE_NOT_MEDIA = "SOURCE_NOT_MEDIA"
    SOURCE_NO_VIDEO = "SOURCE_NO_VIDEO"
    SOURCE_TOO_LARGE = "SOURCE_TOO_LARGE"
    SOURCE_TOO_LONG = "SOURCE_TOO_LONG"
    SOURCE_TRUNCATED = "SOURCE_TRUNCATED"
    ENCODE_FAILED = "ENCODE_FAILED"
    ENCODE_TIMEOUT = "ENCODE_TIMEOUT"
    ENCRYPT_FAILED = "ENCRYPT_FAILED"
    FRAME_COUNT_MISMATCH = "FRAME_COUNT_MISMATCH"
    KEYS_UNKNOWN = "KEYS_UNKNOWN"
    TASK_INVALID = "TASK_INVALID"
    TASK_TIMEOUT = "TASK_TIMEOUT"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    WORKER_ERROR = "WORKER_ERROR"


class MediaError(Exception):
    """A task cannot be done.

    `message` is a sentence for people; `retryable` is true when the same task may succeed elsewhere or later, and false
    when the source is at fault.
    """

    def __init__(self, reason: Reason, message: str, *, retryable: bool = False) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.retryable = retryable


@contextlib.asynccontextmanager
async def unwrapped() -> AsyncIterator[None]:
    """Around a task group: raise its first error by itself; the others are echoes of the same trouble."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
