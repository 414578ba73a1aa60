"""Reads a source that lies in the object store as an ordered list of parts, byte range by byte range."""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from reelmesh.media.v1.media_pb2 import ByteRange, SourceManifest
from reelmesh.worker.errors import MediaError, Reason, unwrapped

GAP = 4096
"""Holes up to this many bytes between two ranges are read along: cheaper than one more request."""


class ObjectReader(Protocol):
    """Reads spans of objects."""

    async def read(self, key: str, offset: int, size: int) -> bytes:
        """Return `size` bytes of object `key` from `offset` on. Raises FileNotFoundError when there is none."""


class HeadCache:
    """Keeps what every task of a source needs (its index above all), so that a worker reads it once and not per chunk.

    Least recently used entries leave when more than `max_bytes` are held.
    """

    def __init__(self, max_bytes: int = 64 << 20) -> None:
        self._max_bytes = max_bytes
        self._held = 0
        self._entries: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()

    def get(self, source: str, offset: int, size: int) -> bytes | None:
        """Return the bytes of a range, or None when they are not held."""
        data = self._entries.get((source, offset, size))
        if data is not None:
            self._entries.move_to_end((source, offset, size))
        return data

    def put(self, source: str, offset: int, data: bytes) -> None:
        """Hold the bytes of a range; one that alone exceeds a quarter of the space is not held."""
        key = (source, offset, len(data))
        if len(data) > self._max_bytes // 4 or key in self._entries:
            return
        self._entries[key] = data
        self._held += len(data)
        while self._held > self._max_bytes:
            _, old = self._entries.popitem(last=False)
            self._held -= len(old)


class Source:
    """One source file. `size` is its length in bytes, `bytes_read` what was asked of the object store so far."""

    def __init__(
        self,
        name: str,
        manifest: SourceManifest,
        reader: ObjectReader,
        *,
        cache: HeadCache | None = None,
        piece: int = 1 << 20,
        concurrency: int = 8,
    ) -> None:
        self._name = name
        self._parts = tuple(manifest.parts)
        self._offsets = [part.offset for part in self._parts]
        self._reader = reader
        self._cache = cache
        self._piece = piece
        self._concurrency = concurrency
        self.size = manifest.total_size
        self.bytes_read = 0
        end = 0
        for part in self._parts:
            if part.offset != end or part.size <= 0:
                raise MediaError(Reason.SOURCE_UNREADABLE, "the parts of the source leave a gap")
            end += part.size
        if end != self.size:
            raise MediaError(Reason.SOURCE_UNREADABLE, "the parts of the source do not add up to its size")

    async def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on, fewer at the end of the source. Raises MediaError."""
        end = min(offset + size, self.size)
        pieces: list[bytes] = []
        while offset < end:
            part = self._parts[bisect_right(self._offsets, offset) - 1]
            take = min(end, part.offset + part.size) - offset
            pieces.append(await self._read(part.key, offset - part.offset, take))
            offset += take
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def fetch(
        self,
        path: Path,
        ranges: Sequence[ByteRange] | None,
        *,
        always: Sequence[ByteRange] = (),
        gap: int = GAP,
    ) -> None:
        """Make a sparse file at `path` of the source's size that holds `always` and `ranges`; the rest reads as zeros.

        For `ranges` of None the whole source is fetched. Ranges not further apart than `gap` bytes are read as one;
        `always` is remembered between sources of one name. At most `concurrency` pieces are in memory at a time. Raises
        MediaError, OSError.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, max(self.size, os.fstat(descriptor).st_size))
            for span in always:
                await self._fetch_kept(descriptor, span)
            wanted = [(0, self.size)]
            if ranges is not None:
                wanted = coalesce(((span.offset, span.size) for span in ranges), gap)
            pieces = self._pieces(wanted)

            async def work() -> None:
                for offset, size in pieces:
                    await self._write(descriptor, offset, await self.read(offset, size))

            async with unwrapped(), asyncio.TaskGroup() as group:
                for _ in range(self._concurrency):
                    group.create_task(work())
        finally:
            os.close(descriptor)

    async def _fetch_kept(self, descriptor: int, span: ByteRange) -> None:
        size = min(span.size, self.size - span.offset)
        data = self._cache.get(self._name, span.offset, size) if self._cache else None
        if data is None:
            data = await self.read(span.offset, size)
            if self._cache:
                self._cache.put(self._name, span.offset, data)
        await self._write(descriptor, span.offset, data)

    @staticmethod
    async def _write(descriptor: int, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = await asyncio.to_thread(os.pwrite, descriptor, view, offset)
            view, offset = view[written:], offset + written

    def _pieces(self, ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        for offset, size in ranges:
            end = min(offset + size, self.size)
            for start in range(offset, end, self._piece):
                yield start, min(self._piece, end - start)

    async def _read(self, key: str, offset: int, size: int) -> bytes:
        self.bytes_read += size
        try:
            data = await self._reader.read(key, offset, size)
        except FileNotFoundError:
            raise MediaError(Reason.SOURCE_MISSING, "a part of the source is gone") from None
        if len(data) != size:
            raise MediaError(Reason.SOURCE_UNREADABLE, "a part of the source is shorter than it was", retryable=True)
        return data


def coalesce(ranges: Iterable[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    """Return (offset, size) pairs in order, those that overlap or lie at most `gap` bytes apart made one."""
    merged: list[tuple[int, int]] = []
    for offset, size in sorted(ranges):
        if merged and offset <= sum(merged[-1]) + gap:
            start = merged[-1][0]
            merged[-1] = (start, max(sum(merged[-1]), offset + size) - start)
        else:
            merged.append((offset, size))
    return merged
