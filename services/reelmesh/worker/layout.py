"""Finds where an MP4 or QuickTime file keeps its media data, reading a few bytes per box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from reelmesh.worker.errors import MediaError, Reason

_STARTS = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof", b"sidx"})
_MAX_BOXES = 1024
_MAX_GAP = 64
"""An mdat header and what little some writers leave before it."""


class RangeReader(Protocol):
    """Reads spans of a file of known size."""

    size: int

    async def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on, fewer at the end."""


@dataclass(frozen=True)
class Layout:
    """Where the parts of a file lie."""

    outside: tuple[tuple[int, int], ...]
    """(offset, size) in bytes of everything but the payload of media data boxes, in order."""
    fragmented: bool
    """True when the index is spread over the file, so that there is no index to plan by."""


def looks_like_mp4(head: bytes) -> bool:
    """Tell from the first 16 bytes whether a file is of the ISO base media or QuickTime family."""
    return head[4:8] in _STARTS


def looks_like_text(head: bytes) -> bool:
    """Tell from its start whether a file is text: a playlist, an edit script, a page. No container starts so."""
    if b"\0" in head:
        return False
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not just a character cut in two
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\t\r\n\f\ufeff" for character in text)


async def walk(source: RangeReader) -> Layout | None:
    """Walk the top-level boxes of an MP4 file; None when there are so many that the walk is not worth it.

    Sizes are as in ISO/IEC 14496-12, 4.2: 32 bits, 64 bits after a 1, or up to the end for a 0. A size that is too
    small to be true, or that leads beyond the end, ends the walk. Raises MediaError when the index is cut off or not
    there.
    """
    outside: list[tuple[int, int]] = []
    kinds: set[bytes] = set()
    offset = 0
    for _ in range(_MAX_BOXES):
        if offset + 8 > source.size:
            break
        head = await source.read(offset, 16)
        kind, size, header = head[4:8], int.from_bytes(head[:4]), 8
        if size == 1 and len(head) == 16:
            size, header = int.from_bytes(head[8:16]), 16
        elif size == 0:
            size = source.size - offset
        if size < header:
            break  # not a box: what follows the last one is fetched too, below
        complete = offset + size <= source.size
        if kind in {b"moov", b"moof"} and not complete:
            raise MediaError(Reason.SOURCE_TRUNCATED, "the file ends within its index")
        size = min(size, source.size - offset)
        kinds.add(kind)
        outside.append((offset, min(size, _MAX_GAP) if kind == b"mdat" else size))
        offset += size
        if kind == b"mdat" and not complete and b"moov" not in kinds:
            raise MediaError(Reason.SOURCE_TRUNCATED, "the file ends before its index")
    else:
        return None
    if offset < source.size:
        outside.append((offset, source.size - offset))
    if b"moov" not in kinds:
        raise MediaError(Reason.SOURCE_UNREADABLE, "the file has no index")
    return Layout(tuple(outside), fragmented=b"moof" in kinds)
