"""Deadlines: every call has one, each hop keeps a share for its answer, and too little left is refused at once."""

from __future__ import annotations

import time
from contextvars import ContextVar

from reelmesh.mesh.errors import DeadlineTooShort

DEFAULT_SECONDS = 15.0
"""For a unary call that came without one."""
HOP_SECONDS = 0.05
"""What a hop keeps back from the calls that it makes, to answer in time itself."""
LEAST_SECONDS = 0.02
"""With less than this left nothing is begun."""

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def begin(remaining: float | None) -> None:
    """Note that the call being served has `remaining` seconds; None for a stream without an end.

    Raises DeadlineTooShort.
    """
    if remaining is not None and remaining < LEAST_SECONDS:
        raise DeadlineTooShort("too little time is left to begin")
    _deadline.set(None if remaining is None else time.monotonic() + remaining)


def for_call(wanted: float | None = None) -> float:
    """Return the timeout, in seconds, of a call made on behalf of the one being served. Raises DeadlineTooShort."""
    timeout = DEFAULT_SECONDS if wanted is None else wanted
    deadline = _deadline.get()
    if deadline is not None:
        timeout = min(timeout, deadline - time.monotonic() - HOP_SECONDS)
    if timeout < LEAST_SECONDS:
        raise DeadlineTooShort("too little time is left to ask another service")
    return timeout
