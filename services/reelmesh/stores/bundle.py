"""The stores of a process, opened when a target's wiring first asks for them and shared by all targets."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

import grpc

from reelmesh.mesh.channel import channel
from reelmesh.mesh.clock import Clock, IdSource, SystemClock, TimeOrderedIds
from reelmesh.mesh.config import Config, KafkaConfig
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.identity import Identity
from reelmesh.stores.cassandra import Cassandra
from reelmesh.stores.events import Publisher, Sending
from reelmesh.stores.objects import Objects

log = logging.getLogger(__name__)


class Connections:
    """What a process opens once. `service_config` gives gRPC's configuration (JSON) for channels to a service."""

    def __init__(self, config: Config, process: str, service_config: Callable[[str], str | None]) -> None:
        self.config = config
        self.process = process
        """Name of the process, unique on its machine."""
        self._service_config = service_config
        self._cassandra: Cassandra | None = None
        self._publishers: dict[Sending, Publisher] = {}
        self._channels: list[grpc.aio.Channel] = []

    async def cassandra(self) -> Cassandra:
        """Connect, waiting until the cluster answers."""
        while self._cassandra is None:
            try:
                self._cassandra = await Cassandra.connect(self.config.cassandra)
            except Unavailable as error:
                log.info("waiting: %s", error)
                await asyncio.sleep(0.2)  # it is starting beside us
        return self._cassandra

    def publisher(self, sending: Sending) -> Publisher:
        """Return the producer of the process that sends so."""
        if sending not in self._publishers:
            client = f"{socket.gethostname()}-{self.process}"
            self._publishers[sending] = Publisher(self.config.kafka, client, sending=sending)
        return self._publishers[sending]

    def channel(self, service: str, identity: Identity) -> grpc.aio.Channel:
        """Open a channel to a service."""
        opened = channel(service, self.config.services, identity, self._service_config(service))
        self._channels.append(opened)
        return opened

    async def close(self) -> None:
        """Close everything that was opened."""
        for opened in self._channels:
            await opened.close()
        for publisher in self._publishers.values():
            await publisher.close()
        if self._cassandra is not None:
            await self._cassandra.close()


class Stores:
    """The stores as one target sees them."""

    def __init__(self, connections: Connections, identity: Identity) -> None:
        self._connections = connections
        self._identity = identity
        self.clock: Clock = SystemClock()
        self.ids: IdSource = TimeOrderedIds(self.clock)

    @property
    def process(self) -> str:
        """Name of the process, unique on its machine."""
        return self._connections.process

    @property
    def kafka(self) -> KafkaConfig:
        """Where Kafka is."""
        return self._connections.config.kafka

    async def cassandra(self) -> Cassandra:
        """Return the process's session, once the cluster answers."""
        return await self._connections.cassandra()

    def publisher(self, batch: int = 1, **sending: Any) -> Publisher:
        """Return the process's producer that sends so many records together; see Sending for what else may be said."""
        return self._connections.publisher(Sending(batch, **sending))

    def channel(self, service: str) -> grpc.aio.Channel:
        """Open a channel to another service, under the target's own identity."""
        return self._connections.channel(service, self._identity)

    def raw(self) -> Objects:
        """Open the store of sources."""
        return Objects.at(self._connections.config.objects.raw)

    def media(self) -> Objects:
        """Open the store of presentations."""
        return Objects.at(self._connections.config.objects.media)

    def models(self) -> Objects:
        """Open the store of what recommendations are made with."""
        places = self._connections.config.objects
        return Objects.at(places.models or places.raw)
