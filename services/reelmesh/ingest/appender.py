"""Stores the parts of an upload while the next ones are received, and records them in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from reelmesh.ingest.model import Upload
from reelmesh.ingest.parts import Part, PartBuffer, PartSink
from reelmesh.mesh.clock import Clock

PARTS_AT_ONCE = 2
"""Parts on their way to the object store while the next one is received: three parts in memory at most."""
UNRECORDED = 16
"""Parts that may wait to be recorded. Should the database stay away, so many are stored in vain at most."""
RECORD_SECONDS = 0.1
"""From one record to the next. A record is a transaction of the database: what a fast client sends meanwhile shares
one. A slow client's parts, and the last ones of every stream, are recorded at once."""


class Ledger(Protocol):
    """What this needs of a database."""

    async def append(self, upload: Upload, parts: Sequence[Part], crc32c: int, expire_time: datetime) -> Upload:
        """Record durable parts at the end. Raises WriterReplaced when another writer has taken over."""


@dataclass(frozen=True, slots=True)
class _Stored:
    part: Part
    file_crc32c: int
    """Of the file up to the end of the part."""
    put: asyncio.Task[None]


class Appender:
    """One writer's end of an upload. `upload` is how it stands: only what is recorded counts as durable."""

    def __init__(self, upload: Upload, ledger: Ledger, parts: PartSink, clock: Clock, idle: timedelta) -> None:
        self.upload = upload
        self._ledger = ledger
        self._parts = parts
        self._clock = clock
        self._idle = idle
        self._buffer = PartBuffer(upload.persisted_size, upload.persisted_crc32c)
        self._unrecorded: deque[_Stored] = deque()
        self._recorder: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._moved = asyncio.Event()
        """Set when a part was stored or recorded, or could not be."""
        self._failed = False

    @property
    def end(self) -> int:
        """Position after the last byte taken."""
        return self._buffer.end

    async def add(self, data: bytes) -> None:
        """Take bytes that begin at `end`. Raises Unavailable, WriterReplaced for parts that were taken before."""
        self._buffer.add(data)
        if self._buffer.full:
            await self._begin_part()

    async def flush(self) -> None:
        """Make everything taken durable. Raises Unavailable, WriterReplaced, each only once."""
        if self._failed:
            return  # what could not be stored leaves a gap before the rest
        if self._buffer.size:
            await self._begin_part()
        self._hurry.set()
        if self._recorder is not None:
            await self._recorded(self._recorder)
        self._hurry.clear()

    async def _begin_part(self) -> None:
        while self._recorder is not None and not self._recorder.done() and self._crowded():
            self._moved.clear()
            await self._moved.wait()
        if self._recorder is not None and self._recorder.done():
            await self._recorded(self._recorder)
        start, file_crc32c = self._buffer.start, self._buffer.file_crc32c
        pieces, size, crc32c = self._buffer.take()
        # The writer is part of the key, so a writer that was replaced cannot overwrite its successor's part.
        key = f"{self.upload.folder}/{start:016d}-{self.upload.writer}"
        put = asyncio.create_task(self._parts.put(key, pieces))
        put.add_done_callback(self._note_move)
        self._unrecorded.append(_Stored(Part(key, start, size, crc32c), file_crc32c, put))
        if self._recorder is None:
            self._recorder = asyncio.create_task(self._record())
            self._recorder.add_done_callback(self._note_move)

    def _crowded(self) -> bool:
        under_way = sum(not stored.put.done() for stored in self._unrecorded)
        return under_way >= PARTS_AT_ONCE or len(self._unrecorded) >= UNRECORDED

    def _note_move(self, _: asyncio.Task[None]) -> None:
        self._moved.set()

    async def _recorded(self, recorder: asyncio.Task[None]) -> None:
        try:
            await asyncio.shield(recorder)  # the caller may leave; the parts go on, and flush waits for them
        except Exception:
            self._failed = True
            await asyncio.gather(*(stored.put for stored in self._unrecorded), return_exceptions=True)
            raise
        self._recorder = None

    async def _record(self) -> None:
        while self._unrecorded:
            await self._unrecorded[0].put
            ready: list[_Stored] = []
            while self._unrecorded and self._unrecorded[0].put.done() and not self._unrecorded[0].put.exception():
                ready.append(self._unrecorded.popleft())
            parts = [stored.part for stored in ready]
            expire_time = self._clock.now() + self._idle
            self.upload = await self._ledger.append(self.upload, parts, ready[-1].file_crc32c, expire_time)
            self._moved.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), RECORD_SECONDS)
