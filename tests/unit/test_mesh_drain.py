"""A server that stops cuts its streams, and says that they may be resumed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from reelmesh.mesh.channel import channel
from reelmesh.mesh.identity import Identity
from reelmesh.mesh.server import DRAIN_SECONDS, Server, Target
from reelmesh_tools.stack import certificates


async def test_what_is_left_to_do_is_done_after_the_last_call(tmp_path: Path) -> None:
    certificates.ensure(tmp_path, datetime.now(UTC))
    identity = Identity.load(tmp_path, "catalog", "reelmesh.local")
    done: list[str] = []
    entered, leave = asyncio.Event(), asyncio.Event()

    class Slow(health_pb2_grpc.HealthServicer):
        async def Check(self, request: object, context: object) -> health_pb2.HealthCheckResponse:  # noqa: N802
            entered.set()
            await leave.wait()
            done.append("call")
            return health_pb2.HealthCheckResponse()

    async def finish() -> None:
        done.append("finish")

    server = Server(Target("catalog", finish=[finish]), identity, "127.0.0.1:0")
    health_pb2_grpc.add_HealthServicer_to_server(Slow(), server._server)
    serving = asyncio.Event()
    running = asyncio.create_task(server.run(serving.set))
    await serving.wait()
    caller = Identity.load(tmp_path, "gateway", "reelmesh.local")
    async with channel("catalog", {"catalog": [f"127.0.0.1:{server.port}"]}, caller, None) as opened:
        stub: Any = health_pb2_grpc.HealthStub(opened)
        call = asyncio.ensure_future(stub.Check(health_pb2.HealthCheckRequest()))
        await entered.wait()
        running.cancel()
        assert done == []
        leave.set()
        await call
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert done == ["call", "finish"]


async def test_a_stream_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    certificates.ensure(tmp_path, datetime.now(UTC))
    identity = Identity.load(tmp_path, "catalog", "reelmesh.local")
    server = Server(Target("catalog"), identity, "127.0.0.1:0")
    serving = asyncio.Event()
    running = asyncio.create_task(server.run(serving.set))
    await serving.wait()
    caller = Identity.load(tmp_path, "gateway", "reelmesh.local")
    async with channel("catalog", {"catalog": [f"127.0.0.1:{server.port}"]}, caller, None) as opened:
        stub: Any = health_pb2_grpc.HealthStub(opened)
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        began = time.monotonic()
        running.cancel()
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watch.read()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        assert time.monotonic() - began < DRAIN_SECONDS / 2
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    error: Any = caught.value
    status = rpc_status.from_call(error)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    assert info.reason == "SERVER_STOPPING"
