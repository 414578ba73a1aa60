"""UploadService: proto in, one domain call, proto out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import google_crc32c
import grpc

from reelmesh.ingest.errors import ChecksumMismatch, SliceTooLarge
from reelmesh.ingest.model import NewUpload, State, Upload, shown
from reelmesh.ingest.parts import MAX_PART_BYTES, MIB, Piece
from reelmesh.ingest.uploads import Uploads
from reelmesh.ingest.v1 import upload_pb2
from reelmesh.ingest.v1 import upload_service_pb2 as pb
from reelmesh.ingest.v1.upload_service_pb2_grpc import UploadServiceServicer
from reelmesh.mesh.errors import DomainError, InvalidArgument
from reelmesh.mesh.names import UploadName, VideoName, decode_page_token, encode_page_token, organization_of

Context = grpc.aio.ServicerContext[Any, Any]
PAGE_SIZE = 50
_PROTECTED = {upload_pb2.Upload.PROTECTION_CLEAR: False, upload_pb2.Upload.PROTECTION_DRM: True}
_DRAIN_BYTES = 64 * MIB


class UploadService(UploadServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads

    async def CreateUpload(self, request: pb.CreateUploadRequest, context: Context) -> pb.CreateUploadResponse:
        """Start an upload."""
        asked = request.upload
        new = NewUpload(
            display_name=asked.display_name,
            title=asked.title,
            total_size=asked.total_size if asked.HasField("total_size") else None,
            crc32c=asked.crc32c if asked.HasField("crc32c") else None,
            video=VideoName.parse(asked.video) if asked.video else None,
            protected=_PROTECTED.get(asked.protection),
        )
        upload = await self._uploads.create(organization_of(request.parent), new, request.request_id)
        return pb.CreateUploadResponse(upload=to_proto(upload))

    async def WriteUpload(
        self, requests: AsyncIterator[pb.WriteUploadRequest], context: Context
    ) -> pb.WriteUploadResponse:
        """Append a stream of bytes."""
        head = await _first(requests)
        upload = await self._uploads.write(UploadName.parse(head.name), _pieces(head, requests))
        return pb.WriteUploadResponse(upload=to_proto(upload))

    async def PutUpload(self, requests: AsyncIterator[pb.PutUploadRequest], context: Context) -> pb.PutUploadResponse:
        """Append the body of an HTTP PUT."""
        head = await _first(requests)
        slice_ = _checked_slice(head, requests) if head.HasField("crc32c") else _slice(head, requests)
        try:
            upload = await self._uploads.write(UploadName.parse(head.name), slice_)
        except DomainError:
            await _drain(requests)
            raise
        return pb.PutUploadResponse(upload=to_proto(upload))

    async def GetUpload(self, request: pb.GetUploadRequest, context: Context) -> pb.GetUploadResponse:
        """Say how far an upload is."""
        return pb.GetUploadResponse(upload=to_proto(await self._uploads.get(UploadName.parse(request.name))))

    async def ListUploads(self, request: pb.ListUploadsRequest, context: Context) -> pb.ListUploadsResponse:
        """List an organization's uploads."""
        before = decode_page_token(request.page_token)
        size = request.page_size or PAGE_SIZE
        uploads, further = await self._uploads.list(organization_of(request.parent), size, before)
        return pb.ListUploadsResponse(
            uploads=[to_proto(upload) for upload in uploads], next_page_token=encode_page_token(further)
        )

    async def CancelUpload(self, request: pb.CancelUploadRequest, context: Context) -> pb.CancelUploadResponse:
        """End an upload."""
        return pb.CancelUploadResponse(upload=to_proto(await self._uploads.cancel(UploadName.parse(request.name))))


async def _first(requests: AsyncIterator[Any]) -> Any:
    async for request in requests:
        if not request.name:
            raise InvalidArgument("name: must be set in the first message", violations=[("name", "must be set")])
        return request
    raise InvalidArgument("the stream has no message")


async def _drain(requests: AsyncIterator[pb.PutUploadRequest]) -> None:
    """Read what is left of a body: HTTP clients that are still sending do not look for an answer."""
    left = _DRAIN_BYTES
    async for request in requests:
        left -= len(request.body.data)
        if left < 0:
            return


async def _pieces(head: pb.WriteUploadRequest, rest: AsyncIterator[pb.WriteUploadRequest]) -> AsyncIterator[Piece]:
    yield _piece(head)
    async for request in rest:
        if request.name not in {"", head.name}:
            raise InvalidArgument("name: a stream writes to one upload", violations=[("name", "must not change")])
        yield _piece(request)


def _piece(request: pb.WriteUploadRequest) -> Piece:
    crc32c = request.crc32c if request.HasField("crc32c") else None
    return Piece(request.offset, request.data, crc32c, request.finish)


async def _slice(head: pb.PutUploadRequest, rest: AsyncIterator[pb.PutUploadRequest]) -> AsyncIterator[Piece]:
    offset = head.offset
    data = head.body.data
    yield Piece(offset, data)
    offset += len(data)
    async for request in rest:
        data = request.body.data
        yield Piece(offset, data)
        offset += len(data)
    # Only the end of the body ends the slice, so finish is said after it.
    yield Piece(offset, b"", finish=head.finish)


async def _checked_slice(head: pb.PutUploadRequest, rest: AsyncIterator[pb.PutUploadRequest]) -> AsyncIterator[Piece]:
    pieces = []
    size = crc32c = 0
    async for piece in _slice(head, rest):
        size += len(piece.data)
        if size > MAX_PART_BYTES:
            raise SliceTooLarge(
                f"a slice with crc32c has at most {MAX_PART_BYTES // MIB} MiB", max_bytes=MAX_PART_BYTES
            )
        crc32c = google_crc32c.extend(crc32c, piece.data)
        pieces.append(piece)
    if crc32c != head.crc32c:
        raise ChecksumMismatch(f"the {size} bytes at {head.offset} do not have the CRC-32C given")
    for piece in pieces:
        yield piece


def to_proto(upload: Upload) -> upload_pb2.Upload:
    """Write an upload as the contract does."""
    upload = shown(upload)
    crc32c = upload.declared_crc32c
    if crc32c is None and upload.state is State.SUCCEEDED:
        crc32c = upload.persisted_crc32c
    message = upload_pb2.Upload(
        name=str(upload.name),
        display_name=upload.display_name,
        title=upload.title,
        total_size=upload.total_size,
        persisted_size=upload.persisted_size,
        crc32c=crc32c,
        state=upload_pb2.Upload.State.Value(f"STATE_{upload.state.value}"),
        video=str(upload.video),
        failure_reason=upload.failure_reason,
        protection=upload_pb2.Upload.PROTECTION_DRM if upload.protected else upload_pb2.Upload.PROTECTION_CLEAR,
    )
    message.create_time.FromDatetime(upload.create_time)
    message.expire_time.FromDatetime(upload.expire_time)
    return message
