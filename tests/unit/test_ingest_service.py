"""UploadService over gRPC: what the contract says of messages, slices and errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import google_crc32c
import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from ingest_fakes import World
from ports import free_port

from reelmesh.ingest.service import UploadService
from reelmesh.ingest.v1 import upload_service_pb2 as pb
from reelmesh.ingest.v1.upload_pb2 import Upload
from reelmesh.ingest.v1.upload_service_pb2_grpc import UploadServiceStub, add_UploadServiceServicer_to_server
from reelmesh.mesh.interceptors import Errors, Validation

Stub = Callable[[], AbstractAsyncContextManager[Any]]
MIB = 1 << 20


@pytest.fixture
def world() -> World:
    return World()


# What pytest-grpc-aio asks for.
@pytest.fixture
def grpc_addr() -> str:
    """Its own fixture leaves the socket open that it looked for a port with."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def grpc_servicer(world: World) -> UploadService:
    return UploadService(world.uploads)


@pytest.fixture
def grpc_add_to_server() -> Any:
    return add_UploadServiceServicer_to_server


@pytest.fixture
def grpc_stub_cls() -> Any:
    return UploadServiceStub


@pytest.fixture
def grpc_interceptors() -> list[grpc.aio.ServerInterceptor]:
    return [Errors(), Validation(b"key")]


async def create(stub: Any, **fields: Any) -> Upload:
    request = pb.CreateUploadRequest(parent="organizations/acme", upload=Upload(display_name="a.mp4", **fields))
    upload: Upload = (await stub.CreateUpload(request)).upload
    return upload


def slice_of(name: str, data: bytes, *, offset: int = 0, finish: bool = False, crc32c: int | None = None) -> Any:
    """Yield messages as the gateway's transcoder makes them: path and query in the first one only."""
    head = pb.PutUploadRequest(name=name, offset=offset, finish=finish, crc32c=crc32c)
    head.body.content_type = "application/octet-stream"
    head.body.data = data[:MIB]
    yield head
    for start in range(MIB, len(data), MIB):
        piece = pb.PutUploadRequest()
        piece.body.data = data[start : start + MIB]
        yield piece


async def refused(call: Any) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status: Any = rpc_status.from_call(caught.value)  # type: ignore[arg-type]  # it has what this reads
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "reelmesh.ingest"
    return caught.value.code(), info.reason, dict(info.metadata)


async def test_slices_make_the_file(grpc_aio_stub: Stub, world: World) -> None:
    data = bytes(range(256)) * 4096 * 20  # 20 MiB
    async with grpc_aio_stub() as stub:
        upload = await create(stub, total_size=len(data))
        for offset in range(0, len(data), 8 * MIB):
            part = data[offset : offset + 8 * MIB]
            end = offset + len(part) == len(data)
            messages = slice_of(upload.name, part, offset=offset, finish=end, crc32c=google_crc32c.value(part))
            answer = (await stub.PutUpload(messages)).upload
    assert answer.state == Upload.STATE_SUCCEEDED
    assert answer.crc32c == google_crc32c.value(data)
    assert b"".join(world.parts.objects[key] for key in sorted(world.parts.objects)) == data


async def test_a_damaged_slice_persists_nothing(grpc_aio_stub: Stub) -> None:
    async with grpc_aio_stub() as stub:
        upload = await create(stub)
        call = stub.PutUpload(slice_of(upload.name, b"x" * 3 * MIB, crc32c=1))
        assert (await refused(call))[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "CHECKSUM_MISMATCH")
        assert (await stub.GetUpload(pb.GetUploadRequest(name=upload.name))).upload.persisted_size == 0


async def test_a_slice_with_a_checksum_fits_into_memory(grpc_aio_stub: Stub) -> None:
    async with grpc_aio_stub() as stub:
        upload = await create(stub)
        assert (await refused(stub.PutUpload(slice_of(upload.name, b"x" * 17 * MIB, crc32c=1))))[1] == "SLICE_TOO_LARGE"


async def test_an_empty_last_slice_finishes(grpc_aio_stub: Stub) -> None:
    async with grpc_aio_stub() as stub:
        upload = await create(stub)
        await stub.PutUpload(slice_of(upload.name, b"abc"))
        answer = (await stub.PutUpload(slice_of(upload.name, b"", offset=3, finish=True))).upload
    assert (answer.state, answer.persisted_size) == (Upload.STATE_SUCCEEDED, 3)


async def test_the_first_message_names_the_upload(grpc_aio_stub: Stub) -> None:
    async with grpc_aio_stub() as stub:
        call = stub.WriteUpload(iter([pb.WriteUploadRequest(data=b"abc")]))
        assert (await refused(call))[1] == "INVALID_REQUEST"
        assert (await refused(stub.WriteUpload(iter([]))))[1] == "INVALID_REQUEST"


async def test_a_stream_writes_to_one_upload(grpc_aio_stub: Stub) -> None:
    async with grpc_aio_stub() as stub:
        first, second = await create(stub), await create(stub)
        messages = [
            pb.WriteUploadRequest(name=first.name, data=b"a"),
            pb.WriteUploadRequest(name=second.name, offset=1),
        ]
        assert (await refused(stub.WriteUpload(iter(messages))))[1] == "INVALID_REQUEST"


async def test_a_message_above_the_limit_is_refused(grpc_aio_stub: Stub) -> None:
    async with grpc_aio_stub() as stub:
        upload = await create(stub)
        message = pb.WriteUploadRequest(name=upload.name, data=b"x" * (2 * MIB + 1))
        assert (await refused(stub.WriteUpload(iter([message]))))[1] == "INVALID_REQUEST"


async def test_a_gap_tells_where_to_go_on(grpc_aio_stub: Stub) -> None:
    async with grpc_aio_stub() as stub:
        upload = await create(stub)
        messages = [pb.WriteUploadRequest(name=upload.name, data=b"abc"), pb.WriteUploadRequest(offset=9, data=b"x")]
        code, reason, metadata = await refused(stub.WriteUpload(iter(messages)))
    assert (code, reason, metadata) == (grpc.StatusCode.OUT_OF_RANGE, "OFFSET_MISMATCH", {"persisted_size": "3"})


@pytest.mark.parametrize("name", ["../etc/passwd", "a/b", "a\\b", "tab\t", "x" * 256])
async def test_illegal_names_are_refused(grpc_aio_stub: Stub, name: str) -> None:
    async with grpc_aio_stub() as stub:
        request = pb.CreateUploadRequest(parent="organizations/acme", upload=Upload(display_name=name))
        assert (await refused(stub.CreateUpload(request)))[1] == "INVALID_REQUEST"


async def test_a_client_that_vanishes_leaves_what_arrived(grpc_aio_stub: Stub, world: World) -> None:
    async def endless(name: str) -> AsyncIterator[pb.WriteUploadRequest]:
        yield pb.WriteUploadRequest(name=name, data=b"abc")
        while world.store.uploads and not world.store.recorded:
            call.cancel()
            yield pb.WriteUploadRequest(offset=3)

    async with grpc_aio_stub() as stub:
        upload = await create(stub)
        call = stub.WriteUpload(endless(upload.name))
        with pytest.raises(BaseException):  # noqa: B017, PT011 - cancelled here or told so by the server
            await call
        # A new writer sees the bytes, or takes over before they are stored; either way it may go on where it is told.
        size = (await stub.GetUpload(pb.GetUploadRequest(name=upload.name))).upload.persisted_size
        messages = [pb.WriteUploadRequest(name=upload.name, offset=size, data=b"abcdef"[size:], finish=True)]
        assert (await stub.WriteUpload(iter(messages))).upload.persisted_size == 6


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (Upload.PROTECTION_UNSPECIFIED, Upload.PROTECTION_CLEAR),  # the default of this installation
        (Upload.PROTECTION_CLEAR, Upload.PROTECTION_CLEAR),
        (Upload.PROTECTION_DRM, Upload.PROTECTION_DRM),
    ],
)
async def test_what_protection_was_chosen_is_told(grpc_aio_stub: Stub, asked: int, told: int) -> None:
    async with grpc_aio_stub() as stub:
        assert (await create(stub, protection=asked)).protection == told
