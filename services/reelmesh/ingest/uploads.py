"""Resumable uploads: the rules. No gRPC, no driver, no clock of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from reelmesh.ingest import errors
from reelmesh.ingest.appender import Appender, Ledger
from reelmesh.ingest.model import NewUpload, State, Upload, folder_of
from reelmesh.ingest.parts import Part, PartSink, Piece, check
from reelmesh.mesh.clock import Clock, IdSource, derived_id
from reelmesh.mesh.names import UploadName, VideoName


class UploadStore(Ledger, Protocol):
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
        protected: bool = False,
    ) -> None:
        """`protected` says whether a presentation is encrypted where nobody asks for one or the other."""
        self._store = store
        self._parts = parts
        self._sources = sources
        self._clock = clock
        self._ids = ids
        self._max_bytes = max_bytes
        self._idle = idle
        self._protected = protected

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
                protected=self._protected if new.protected is None else new.protected,
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
        await self.remove_bytes(name)
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
        appender = Appender(upload, self._store, self._parts, self._clock, self._idle)
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

    async def remove_bytes(self, name: UploadName) -> None:
        """Remove every object of an upload: its parts, its manifest and index, and parts that nobody recorded."""
        await self._parts.delete([key async for key in self._parts.list(folder_of(name))])

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
                await self.remove_bytes(failed.name)
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

    async def _fresh(self, piece: Piece, appender: Appender) -> bytes:
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
