"""The one builder of every server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc
from grpc_channelz.v1 import channelz
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from opentelemetry.instrumentation.grpc import aio_server_interceptor

from reelmesh.mesh.health import Check, Health
from reelmesh.mesh.identity import Identity
from reelmesh.mesh.interceptors import Caller, Deadline, Drain, Errors, Validation
from reelmesh.mesh.people import People

DRAIN_SECONDS = 8.0
"""Calls under way may take this long when the server stops."""
STREAM_SECONDS = 0.5
"""Streams under way are cut after this long: a file or a watcher would outlast any drain, and both resume."""
MESSAGE_BYTES = 4 << 20
"""Largest message taken, where a target does not say."""
METADATA_BYTES = 64 << 10
"""Largest headers taken."""

log = logging.getLogger(__name__)


class Background(Protocol):
    """Work that goes on beside the rpcs."""

    async def run(self) -> None:
        """Work until cancelled."""


@dataclass(frozen=True, slots=True)
class Service:
    """One gRPC service of a target: its full name, and what adds it to a server."""

    name: str
    add: Callable[[grpc.aio.Server], None]


@dataclass(frozen=True, slots=True)
class Target:
    """What `reelmesh serve NAME` runs: rpcs, work beside them, and the stores that both need."""

    name: str
    services: Sequence[Service] = ()
    background: Sequence[Background] = ()
    checks: Sequence[Check] = field(default_factory=list)
    finish: Sequence[Callable[[], Awaitable[None]]] = ()
    """What is to be done yet when the last call has ended, such as writing down what the calls left behind."""
    message_bytes: int = MESSAGE_BYTES
    """Largest message taken. One that is larger never reaches the service: it is refused without a reason."""


class Server:
    """A gRPC server with everything that the mesh demands of one."""

    def __init__(self, target: Target, identity: Identity, address: str) -> None:
        self._target = target
        names = [service.name for service in target.services]
        self._health = Health(names, target.checks)
        self._drain = Drain()
        interceptors: list[Any] = [
            aio_server_interceptor(),  # type: ignore[no-untyped-call]  # the library has no types
            Errors(),
            self._drain,
            Deadline(),
            Caller(identity.trust_domain),
            People(identity.trust_domain),
            Validation(identity.key),
        ]
        self._server = grpc.aio.server(
            interceptors=interceptors,
            options=[
                ("grpc.max_receive_message_length", target.message_bytes),
                # A request by HTTP comes with its path, which may be long and comes twice; the gateway bounds both.
                ("grpc.max_metadata_size", METADATA_BYTES),
                # Two processes must never share a port: Envoy would pin its one connection to either.
                ("grpc.so_reuseport", 0),
            ],
        )
        for service in target.services:
            service.add(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health.servicer, self._server)
        channelz.add_channelz_servicer(self._server)
        reflection.enable_server_reflection([*names, reflection.SERVICE_NAME, "grpc.health.v1.Health"], self._server)
        self.port = self._server.add_secure_port(address, identity.server_credentials())

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until cancelled, then drain."""
        await self._health.look()
        await self._server.start()
        ready()
        watch = asyncio.create_task(self._health.run())
        try:
            # Shielded: what it waits for is what a stop waits for, and being cancelled it would end both.
            await asyncio.shield(self._server.wait_for_termination())
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
            await self._health.drain()
            self._drain.begin(STREAM_SECONDS)
            await self._server.stop(DRAIN_SECONDS)
            for last in self._target.finish:
                await last()
            log.info("%s stopped", self._target.name)
