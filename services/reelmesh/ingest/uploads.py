"""Resumable uploads: the rules. No gRPC, no driver, no clock of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol

from reelmesh.ingest import errors
from reelmesh.ingest.parts import Part, PartBuffer, PartSink, Piece, check
from reelmesh.mesh.clock import Clock, IdSource, derived_id
from reelmesh.mesh.names import UploadName, VideoName


class State(Enum):
    """Where an upload stands."""

    ACTIVE = "ACTIVE"
    FINISHING = "FINISHING"
    """All bytes are checked, and the event that says so is about to be written; clients see it as ACTIVE."""
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class NewUpload:
    """What a client asks for."""

    display_name: str
    title: str
    total_size: int | None
    """Bytes; None when the client does not know."""
    crc32c: int | None
    """CRC-32C of the whole file; None when the client does not know."""
    video: VideoName | None
    """The video it becomes the source of; None makes one."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload as it stands."""

    name: UploadName
    display_name: str
    title: str
    total_size: int | None
    declared_crc32c: int | None
    video: VideoName
    create_time: datetime
    expire_time: datetime
    state: State = State.ACTIVE
    persisted_size: int = 0
    """Bytes that are durable, from the start without a gap."""
    persisted_crc32c: int = 0
    """CRC-32C of the durable bytes."""
    writer: str = ""
    """Who may append."""
    failure_reason: str = ""

    @property
    def folder(self) -> str:
        """Prefix of its objects in the raw store."""
        return f"{self.name.organization}/{self.name.id}"

    @property
    def source(self) -> str:
        """Key of its SourceManifest."""
        return f"{self.folder}/source.binpb"


class UploadStore(Protocol):
    """What uploads need of a database; store.py is the one on Cassandra."""

    async def claim(self, organization: str, request_id: str, upload_id: str) -> str:
        """Return the upload that `request_id` made first: `upload_id`, or an earlier one."""

    async def create(self, upload: Upload) -> Upload:
        """Create it, or return the one of that name."""

    async def load(self, name: UploadName) -> Upload:
        """Return an upload. Raises UploadUnknown."""

    async def list(self, organization: str, size: int, before: str) -> Sequence[Upload]:
        """Return up to `size` uploads, newest first, older than the id `before` when it is not empty."""

    async def take_over(self, upload: Upload, writer: str) -> Upload:
        """Make `writer` the only one that may append. Raises the error that its state calls for."""

    async def append(self, upload: Upload, part: Part, crc32c: int, expire_time: datetime) -> Upload:
        """Record a durable part at the end. Raises WriterReplaced when another writer has taken over."""

    async def settle(self, upload: Upload, state: State, failure_reason: str = "") -> Upload:
        """Move from ACTIVE to `state` unless it grew or was settled meanwhile; return it as it stands."""

    async def parts(self, name: UploadName) -> Sequence[Part]:
        """Return its parts in order."""

    async def finish(self, upload: Upload) -> Upload:
        """Mark a FINISHING upload SUCCEEDED and write its event, in one logged batch. Repeating it changes nothing."""

    async def due(self, day: datetime) -> Sequence[UploadName]:
        """Return the uploads that were to be looked at on `day`."""

    async def look_again(self, name: UploadName, day: datetime, at: datetime | None) -> None:
        """Move an upload from `day` to the day of `at`, or from the list altogether."""


class SourceWriter(Protocol):
    """Writes the manifest that says which parts make the file."""

    async def write(self, upload: Upload, parts: Sequence[Part]) -> None:
        """Store it under `upload.source`. Raises Unavailable."""


class Uploads:
    """Uploads of all organizations."""

    def __init__(
        self,
        store: UploadStore,
        parts: PartSink,
        sources: SourceWriter,
        clock: Clock,
        ids: IdSource,
        *,
        max_bytes: int,
        idle: timedelta,
    ) -> None:
        self._store = store
        self._parts = parts
        self._sources = sources
        self._clock = clock
        self._ids = ids
        self._max_bytes = max_bytes
        self._idle = idle

    async def create(self, organization: str, new: NewUpload, request_id: str) -> Upload:
        """Start an upload; the same `request_id` returns the same one. Raises WrongOrganization, UploadTooLarge."""
        if new.video is not None and new.video.organization != organization:
            raise errors.WrongOrganization("the video belongs to another organization")
        if (new.total_size or 0) > self._max_bytes:
            raise errors.UploadTooLarge(f"at most {self._max_bytes} bytes are accepted", max_bytes=self._max_bytes)
        upload_id = self._ids.new()
        if request_id:
            upload_id = await self._store.claim(organization, request_id, upload_id)
        now = self._clock.now()
        return await self._store.create(
            Upload(
                name=UploadName(organization, upload_id),
                display_name=new.display_name,
                title=new.title or new.display_name,
                total_size=new.total_size,
                declared_crc32c=new.crc32c,
                video=new.video or VideoName(organization, derived_id(upload_id, "video")),
                create_time=now,
                expire_time=now + self._idle,
            )
        )

    async def get(self, name: UploadName) -> Upload:
        """Return an upload. Raises UploadUnknown."""
        return await self._store.load(name)

    async def list(self, organization: str, size: int, before: str) -> tuple[Sequence[Upload], str]:
        """Return a page, newest first, and the id to go on before; empty on the last page."""
        page = await self._store.list(organization, size + 1, before)
        return page[:size], page[size - 1].name.id if len(page) > size else ""

    async def cancel(self, name: UploadName) -> Upload:
        """End an upload and remove its bytes. Raises UploadUnknown, UploadFinished."""
        upload = await self._store.load(name)
        while upload.state is State.ACTIVE:
            upload = await self._store.settle(upload, State.CANCELLED)
        if upload.state in {State.SUCCEEDED, State.FINISHING}:
            raise errors.UploadFinished("the upload is complete; delete its video instead")
        await self.remove_bytes(upload)
        return upload

    async def write(self, name: UploadName, pieces: AsyncIterator[Piece]) -> Upload:
        """Append `pieces` and return the upload as it stands.

        Bytes below the durable size are skipped. What was received before `pieces` fails is kept, also when the
        caller goes away. Raises OffsetMismatch, SizeExceeded, SizeMismatch, ChecksumMismatch, EmptyUpload,
        UploadTooLarge, WriterReplaced, UploadUnknown, UploadExpired, UploadCancelled, UploadFailed, Unavailable.
        """
        upload = await self._store.load(name)
        if upload.state is State.FINISHING:
            upload = await self.complete(upload)
        if upload.state is State.SUCCEEDED:
            return upload
        self._refuse_ended(upload)
        upload = await self._store.take_over(upload, self._ids.new())
        appender = _Appender(upload, self._store, self._parts, self._clock, self._idle)
        finish = False
        try:
            async for piece in pieces:
                check(piece)
                await appender.add(await self._fresh(piece, appender))
                if piece.finish:
                    finish = True
                    break
        except errors.WriterReplaced:
            raise
        except BaseException:
            # The grace after the client left or failed: what arrived whole is made durable before the call ends.
            await asyncio.shield(appender.flush())
            raise
        await asyncio.shield(appender.flush())
        return await self._finish(appender.upload) if finish else appender.upload

    async def complete(self, upload: Upload) -> Upload:
        """Do what is left of a FINISHING upload. Repeating it changes nothing."""
        await self._sources.write(upload, await self._store.parts(upload.name))
        return await self._store.finish(upload)

    async def remove_bytes(self, upload: Upload) -> None:
        """Remove the parts of an upload that ended without success."""
        await self._parts.delete([part.key for part in await self._store.parts(upload.name)])

    async def _finish(self, upload: Upload) -> Upload:
        if upload.persisted_size == 0:
            raise errors.EmptyUpload("the file is empty")
        if upload.total_size is not None and upload.persisted_size != upload.total_size:
            raise errors.SizeMismatch(
                f"{upload.persisted_size} of {upload.total_size} bytes are there", persisted_size=upload.persisted_size
            )
        if upload.declared_crc32c not in {None, upload.persisted_crc32c}:
            failed = await self._store.settle(upload, State.FAILED, errors.ChecksumMismatch.reason)
            if failed.state is State.FAILED:
                await self.remove_bytes(failed)
            raise errors.ChecksumMismatch("the file does not have the CRC-32C given; upload it anew")
        # Should this process die before the end, the sweeper finds the upload today, not when it would have expired.
        await self._store.look_again(upload.name, upload.expire_time, self._clock.now())
        upload = await self._store.settle(upload, State.FINISHING)
        if upload.state is State.ACTIVE:
            raise errors.WriterReplaced("a newer writer has taken over")
        return await self.complete(upload) if upload.state is State.FINISHING else upload

    def _refuse_ended(self, upload: Upload) -> None:
        if upload.state is State.EXPIRED or upload.expire_time <= self._clock.now():
            raise errors.UploadExpired("nothing was written for too long; start anew")
        if upload.state is State.CANCELLED:
            raise errors.UploadCancelled("the upload was cancelled")
        if upload.state is State.FAILED:
            raise errors.UploadFailed("the upload failed; start anew", failure_reason=upload.failure_reason)

    async def _fresh(self, piece: Piece, appender: _Appender) -> bytes:
        """Return what of `piece` is not there yet. Raises OffsetMismatch, SizeExceeded, UploadTooLarge."""
        fresh = piece.data[max(appender.end - piece.offset, 0) :]
        total = appender.upload.total_size
        limit = self._max_bytes if total is None else total
        if piece.offset <= appender.end and appender.end + len(fresh) <= limit:
            return fresh
        await appender.flush()  # so that the size in the error is where to go on
        size = appender.upload.persisted_size
        if piece.offset > size:
            raise errors.OffsetMismatch(f"offset {piece.offset} leaves a gap; go on at {size}", persisted_size=size)
        if total is None:
            raise errors.UploadTooLarge(f"at most {limit} bytes are accepted", max_bytes=limit)
        raise errors.SizeExceeded(f"more than the {total} bytes that were declared", persisted_size=size)


class _Appender:
    """Stores parts in order, one on its way while the next is received."""

    def __init__(self, upload: Upload, store: UploadStore, parts: PartSink, clock: Clock, idle: timedelta) -> None:
        self.upload = upload
        self._store = store
        self._parts = parts
        self._clock = clock
        self._idle = idle
        self._buffer = PartBuffer(upload.persisted_size, upload.persisted_crc32c)
        self._storing: asyncio.Task[None] | None = None
        self._failed = False

    @property
    def end(self) -> int:
        """Position after the last byte taken."""
        return self._buffer.end

    async def add(self, data: bytes) -> None:
        self._buffer.add(data)
        if self._buffer.full:
            await self._next()

    async def flush(self) -> None:
        """Make everything taken durable."""
        if self._failed:
            return  # what could not be stored leaves a gap before the rest
        if self._buffer.size:
            await self._next()
        await self._settled()

    async def _next(self) -> None:
        await self._settled()
        start, file_crc32c = self._buffer.start, self._buffer.file_crc32c
        pieces, size, crc32c = self._buffer.take()
        # The writer is part of the key, so a writer that was replaced cannot overwrite its successor's part.
        key = f"{self.upload.folder}/{start:016d}-{self.upload.writer}"
        self._storing = asyncio.create_task(self._store_part(Part(key, start, size, crc32c), pieces, file_crc32c))

    async def _settled(self) -> None:
        if self._storing is not None:
            storing, self._storing = self._storing, None
            try:
                await asyncio.shield(storing)
            except asyncio.CancelledError:
                self._storing = storing  # the caller left; the part goes on and is waited for by flush
                raise
            except Exception:
                self._failed = True
                raise

    async def _store_part(self, part: Part, pieces: Sequence[bytes], file_crc32c: int) -> None:
        await self._parts.put(part.key, pieces)
        expire_time = self._clock.now() + self._idle
        self.upload = await self._store.append(self.upload, part, file_crc32c, expire_time)


def shown(upload: Upload) -> Upload:
    """Return `upload` as clients see it: FINISHING is a matter of ours."""
    return replace(upload, state=State.ACTIVE) if upload.state is State.FINISHING else upload
