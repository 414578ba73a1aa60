"""Time and identifiers, injected so that tests may choose them."""

from __future__ import annotations

import hashlib
import os
import uuid
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the time in UTC, to the millisecond: what Cassandra keeps."""


class IdSource(Protocol):
    """Makes identifiers."""

    def new(self) -> str:
        """Return a new UUID version 7 in its usual form; later ones sort after earlier ones."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the time in UTC, to the millisecond."""
        now = datetime.now(UTC)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)


class TimeOrderedIds:
    """UUID version 7 (RFC 9562, section 5.7) from a clock and the system's randomness."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def new(self) -> str:
        """Return a new UUID version 7."""
        milliseconds = int(self._clock.now().timestamp() * 1000)
        return _uuid7(milliseconds, int.from_bytes(os.urandom(10)))


def derived_id(base: str, purpose: str) -> str:
    """Return the UUID that `purpose` always gets from `base`, with the same time in it.

    What follows from one event gets the same name however often the event is delivered.
    """
    milliseconds = uuid.UUID(base).int >> 80
    return _uuid7(milliseconds, int.from_bytes(hashlib.sha256(f"{base} {purpose}".encode()).digest()[:10]))


def _uuid7(milliseconds: int, random: int) -> str:
    value = (milliseconds & (1 << 48) - 1) << 80 | random & (1 << 80) - 1
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))
