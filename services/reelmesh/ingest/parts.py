"""The bytes of an upload as part objects: gathered, checked, and stored in order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import google_crc32c

from reelmesh.ingest.errors import ChecksumMismatch

MIB = 1 << 20
PART_BYTES = 14 * MIB
"""A part is stored once it has this much; with messages of at most 2 MiB none exceeds 16 MiB."""
MAX_PART_BYTES = 16 * MIB
"""Largest part."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes that a client sent."""

    offset: int
    """Position in the file, in bytes."""
    data: bytes
    crc32c: int | None = None
    """CRC-32C of data as the client computed it."""
    finish: bool = False
    """True on the last piece of the file."""


@dataclass(frozen=True, slots=True)
class Part:
    """A durable span of the source, one object in the raw store."""

    key: str
    offset: int
    """Bytes from the start of the file."""
    size: int
    """Bytes."""
    crc32c: int


class PartSink(Protocol):
    """What uploads need of an object store."""

    async def put(self, key: str, data: Sequence[bytes]) -> None:
        """Store an object whole. Raises Unavailable."""

    def list(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys below `prefix`. Raises Unavailable."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove objects. Raises Unavailable."""


class PartBuffer:
    """The bytes after the durable end that are not yet stored.

    A piece is checked as a whole before any of it enters, so a damaged one leaves nothing behind.
    """

    def __init__(self, start: int, file_crc32c: int) -> None:
        self._pieces: list[bytes] = []
        self.start = start
        """Position of the first buffered byte in the file."""
        self.size = 0
        """Bytes buffered."""
        self.crc32c = 0
        """CRC-32C of the buffered bytes."""
        self.file_crc32c = file_crc32c
        """CRC-32C of the file up to the end of the buffer."""

    @property
    def end(self) -> int:
        """Position after the last buffered byte."""
        return self.start + self.size

    @property
    def full(self) -> bool:
        """True when it is time to store the part."""
        return self.size >= PART_BYTES

    def add(self, data: bytes) -> None:
        """Take bytes that begin at `end`."""
        if not data:
            return
        self._pieces.append(data)
        self.size += len(data)
        self.crc32c = google_crc32c.extend(self.crc32c, data)
        self.file_crc32c = google_crc32c.extend(self.file_crc32c, data)

    def take(self) -> tuple[list[bytes], int, int]:
        """Empty the buffer: its pieces, their size, and their CRC-32C."""
        taken = self._pieces, self.size, self.crc32c
        self.start += self.size
        self._pieces, self.size, self.crc32c = [], 0, 0
        return taken


def check(piece: Piece) -> None:
    """Raise ChecksumMismatch when a piece is not what its client sent."""
    if piece.crc32c is not None and google_crc32c.value(piece.data) != piece.crc32c:
        raise ChecksumMismatch(f"the {len(piece.data)} bytes at {piece.offset} do not have the CRC-32C given")
