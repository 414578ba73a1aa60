"""Questions that only a working server answers, one protocol each; every one ends within its timeout."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped, unused-ignore]
import grpc.aio  # type: ignore[import-untyped, unused-ignore]
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped, unused-ignore]

Probe = Callable[[], Awaitable[bool]]
"""Says whether the server answers; never raises, never takes longer than a second or two."""

_TIMEOUT = 1.0


def http_ok(port: int, path: str) -> Probe:
    """Ask http://127.0.0.1:port/path; healthy when the status is 200."""

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        status = await reader.readline()
        return status.split(b" ")[1:2] == [b"200"]

    return lambda: _talk(port, exchange)


def cql_answers(port: int) -> Probe:
    """Send CQL's OPTIONS frame (version 4, no body); healthy when SUPPORTED comes back."""

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(struct.pack(">BBhBI", 4, 0, 0, 0x05, 0))
        header = await reader.readexactly(9)
        return header[4] == 0x06

    return lambda: _talk(port, exchange)


def kafka_answers(port: int) -> Probe:
    """Send Kafka's ApiVersions request (version 0); healthy when it is answered without an error.

    A broker opens this listener only once it is registered and unfenced, so an answer means that it serves.
    """

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = struct.pack(">hhih", 18, 0, 7, -1)
        writer.write(struct.pack(">i", len(request)) + request)
        _size, correlation, error = struct.unpack(">iih", await reader.readexactly(10))
        return bool(correlation == 7 and error == 0)

    return lambda: _talk(port, exchange)


def file_exists(path: Path) -> Probe:
    """Look for a file that a process writes once it serves."""

    async def look() -> bool:
        return path.exists()

    return look


def grpc_serving(address: str, certificates: Path, identity: str) -> Probe:
    """Ask grpc.health.v1 for the whole server at `address` over mTLS, as `identity`; healthy when SERVING."""

    async def ask() -> bool:
        try:
            credentials = grpc.ssl_channel_credentials(
                (certificates / "ca.pem").read_bytes(),
                (certificates / f"{identity}.key").read_bytes(),
                (certificates / f"{identity}.pem").read_bytes(),
            )
            # Every certificate of the mesh names localhost beside its own service.
            options = (("grpc.ssl_target_name_override", "localhost"), ("grpc.use_local_subchannel_pool", 1))
            async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
                stub: Any = health_pb2_grpc.HealthStub(channel)
                answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT)
        except (grpc.aio.AioRpcError, OSError):
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    return ask


def every(probes: Sequence[Probe]) -> Probe:
    """Healthy when all are, asked in order and no further than the first that is not."""

    async def ask() -> bool:
        for probe in probes:
            if not await probe():
                return False
        return True

    return ask


async def _talk(port: int, exchange: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]) -> bool:
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(_TIMEOUT):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            return await exchange(reader, writer)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, struct.error):
        return False
    finally:
        if writer is not None:
            writer.transport.abort()
