"""The server builder over real mTLS: who may call, deadlines, validation, errors, health."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from reelmesh.catalog.v1 import video_service_pb2 as pb
from reelmesh.catalog.v1.video_service_pb2_grpc import (
    VideoServiceServicer,
    VideoServiceStub,
    add_VideoServiceServicer_to_server,
)
from reelmesh.mesh import deadline
from reelmesh.mesh.channel import channel
from reelmesh.mesh.errors import DeadlineTooShort, NotFound, Unavailable
from reelmesh.mesh.identity import Identity
from reelmesh.mesh.person import HEADER
from reelmesh.mesh.server import Server, Service, Target
from reelmesh_tools.stack import certificates

OPERATOR = base64.urlsafe_b64encode(b'{"iss": "reelmesh", "sub": "users/1", "operator": true}').decode().rstrip("=")
"""What the gateway says of someone who may do everything."""
VIDEO = "organizations/acme/videos/01920000-0000-7000-8000-000000000000"


class Videos(VideoServiceServicer):
    def __init__(self) -> None:
        self.remaining: float | None = None
        self.behave: Callable[[], Any] = pb.GetVideoResponse

    async def GetVideo(self, request: pb.GetVideoRequest, context: Any) -> Any:  # noqa: N802 - the contract's name
        self.remaining = deadline.for_call(60)
        answer = self.behave()
        return await answer if asyncio.iscoroutine(answer) else answer


class World:
    """A server, and channels to it under any identity."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.videos = Videos()  # type: ignore[abstract]  # the tests call two of its rpcs
        self.store_answers = True
        self.port = 0

    def identity(self, service: str) -> Identity:
        return Identity.load(self.folder, service, "reelmesh.local")

    @contextlib.asynccontextmanager
    async def stub(self, caller: str = "gateway") -> AsyncIterator[Any]:
        async with self.open(caller) as opened:
            yield VideoServiceStub(opened)

    @contextlib.asynccontextmanager
    async def open(self, caller: str = "gateway") -> AsyncIterator[grpc.aio.Channel]:
        addresses = {"catalog": [f"127.0.0.1:{self.port}"]}
        async with channel("catalog", addresses, self.identity(caller), None) as opened:
            yield opened

    async def check(self) -> None:
        if not self.store_answers:
            raise Unavailable("gone")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("certs")
    certificates.ensure(made, datetime.now(UTC))
    return made


@pytest.fixture
async def world(folder: Path) -> AsyncIterator[World]:
    made = World(folder)
    target = Target(
        "catalog",
        [Service("reelmesh.catalog.v1.VideoService", lambda s: add_VideoServiceServicer_to_server(made.videos, s))],
        checks=[made.check],
    )
    server = Server(target, made.identity("catalog"), "127.0.0.1:0")
    made.port = server.port
    ready = asyncio.Event()
    running = asyncio.create_task(server.run(ready.set))
    await ready.wait()
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def reason(error: grpc.aio.AioRpcError) -> tuple[str, str]:
    status: Any = rpc_status.from_call(error)  # type: ignore[arg-type]  # it has what this reads
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info.domain, info.reason


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_people_and_named_services_may_call(world: World) -> None:
    for caller in ("gateway", "playback"):
        async with world.stub(caller) as stub:
            await stub.GetVideo(pb.GetVideoRequest(name=VIDEO))


async def test_others_may_not(world: World) -> None:
    async with world.stub("ingest") as stub:
        error = await refused(stub.GetVideo(pb.GetVideoRequest(name=VIDEO)))
    assert error.code() == grpc.StatusCode.PERMISSION_DENIED
    assert reason(error) == ("reelmesh.catalog", "CALLER_NOT_ALLOWED")


async def test_a_service_may_not_do_what_only_people_may(world: World) -> None:
    async with world.stub("playback") as stub:
        error = await refused(stub.DeleteVideo(pb.DeleteVideoRequest(name=VIDEO)))
    assert error.code() == grpc.StatusCode.PERMISSION_DENIED


async def test_without_a_certificate_there_is_no_connection(world: World) -> None:
    credentials = grpc.ssl_channel_credentials(world.identity("gateway").ca)
    options = [("grpc.ssl_target_name_override", "catalog.mesh")]
    async with grpc.aio.secure_channel(f"127.0.0.1:{world.port}", credentials, options) as opened:
        stub: Any = VideoServiceStub(opened)
        error = await refused(stub.GetVideo(pb.GetVideoRequest(name=VIDEO), timeout=5))
    assert error.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_broken_rule_of_the_contract_names_the_field(world: World) -> None:
    async with world.stub() as stub:
        error = await refused(stub.GetVideo(pb.GetVideoRequest(name="no")))
    status: Any = rpc_status.from_call(error)  # type: ignore[arg-type]  # it has what this reads
    bad = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(bad)
    assert [v.field for v in bad.field_violations] == ["name"]
    assert reason(error) == ("reelmesh.catalog", "INVALID_REQUEST")


async def test_nested_fields_have_a_path(world: World) -> None:
    request = pb.CreateVideoRequest(parent="organizations/acme")
    request.video.tags.extend(["fine", ""])
    async with world.stub() as stub:
        error = await refused(stub.CreateVideo(request, metadata=((HEADER, OPERATOR),)))
    assert (error.details() or "").startswith("video.tags[1]")


async def test_domain_errors_keep_their_reason_and_metadata(world: World) -> None:
    def missing() -> None:
        raise NotFound("no such video", tried=3)

    world.videos.behave = missing
    async with world.stub() as stub:
        error = await refused(stub.GetVideo(pb.GetVideoRequest(name=VIDEO)))
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no such video")


async def test_nothing_of_a_fault_inside_leaks(world: World) -> None:
    def fault() -> None:
        raise RuntimeError("password=hunter2")

    world.videos.behave = fault
    async with world.stub() as stub:
        error = await refused(stub.GetVideo(pb.GetVideoRequest(name=VIDEO)))
    assert error.code() == grpc.StatusCode.INTERNAL
    assert "hunter2" not in str(error.details())


async def test_a_call_without_a_deadline_gets_one(world: World) -> None:
    async with world.stub() as stub:
        await stub.GetVideo(pb.GetVideoRequest(name=VIDEO))
    assert world.videos.remaining is not None
    assert 10 < world.videos.remaining <= deadline.DEFAULT_SECONDS


async def test_each_hop_keeps_a_share_of_the_deadline(world: World) -> None:
    async with world.stub() as stub:
        await stub.GetVideo(pb.GetVideoRequest(name=VIDEO), timeout=3)
    assert world.videos.remaining is not None
    assert world.videos.remaining <= 3 - deadline.HOP_SECONDS


async def test_the_deadline_ends_the_work(world: World) -> None:
    ended = asyncio.Event()

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    world.videos.behave = slow
    async with world.stub() as stub:
        error = await refused(stub.GetVideo(pb.GetVideoRequest(name=VIDEO), timeout=0.3))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(ended.wait(), 2)


async def test_too_little_time_is_refused_before_the_call() -> None:
    deadline.begin(0.03)
    with pytest.raises(DeadlineTooShort):
        deadline.for_call()


async def test_health_follows_the_store(world: World) -> None:
    async with world.open() as opened:
        stub: Any = health_pb2_grpc.HealthStub(opened)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="reelmesh.catalog.v1.VideoService"))
        serving = health_pb2.HealthCheckResponse.SERVING
        assert (await watch.read()).status == serving
        world.store_answers = False
        assert (await asyncio.wait_for(watch.read(), 10)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        world.store_answers = True
        assert (await asyncio.wait_for(watch.read(), 10)).status == serving
        watch.cancel()


async def test_reflection_shows_the_contract(world: World) -> None:
    async with world.open() as opened:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(cast("Any", opened))
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        call = stub.ServerReflectionInfo(iter([request]))
        async for answer in call:
            names = {service.name for service in answer.list_services_response.service}
        assert "reelmesh.catalog.v1.VideoService" in names


async def test_another_trust_domain_is_a_stranger(world: World, folder: Path) -> None:
    strangers = Videos()  # type: ignore[abstract]  # nobody gets through to it
    other = replace(world.identity("catalog"), trust_domain="elsewhere")
    target = Target(
        "catalog",
        [Service("reelmesh.catalog.v1.VideoService", lambda s: add_VideoServiceServicer_to_server(strangers, s))],
    )
    server = Server(target, other, "127.0.0.1:0")
    ready = asyncio.Event()
    running = asyncio.create_task(server.run(ready.set))
    await ready.wait()
    addresses = {"catalog": [f"127.0.0.1:{server.port}"]}
    async with channel("catalog", addresses, world.identity("gateway"), None) as opened:
        stub: Any = VideoServiceStub(opened)
        error = await refused(stub.GetVideo(pb.GetVideoRequest(name=VIDEO)))
    assert error.code() == grpc.StatusCode.PERMISSION_DENIED
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
