"""The way to Kafka: confirmed, or refused within a few seconds."""

from __future__ import annotations

import asyncio

from reelmesh.mesh import deadline
from reelmesh.mesh.errors import Unavailable
from reelmesh.stores.events import Publisher, Record
from reelmesh.telemetry.errors import BrokerUnavailable

SECONDS = 4.0
"""How long a record is tried; whoever sent it has it still, and sends it again."""
WAIT_SECONDS = 5.0
"""How long a caller waits at most."""
WAITING_BYTES = 64 << 20
"""How much may wait for Kafka in one process: a few seconds of what it can take. More is refused at once, so that an
outage costs no memory."""
BATCH = 1000
"""Records that are sent together."""


class KafkaBroker:
    """Kafka, by a producer that tries for SECONDS."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def confirm(self, topic: str, key: str, *values: bytes) -> None:
        """Return when all records are on the topic, on all replicas. Raises BrokerUnavailable."""
        records = [Record(topic, key, value) for value in values]
        try:
            async with asyncio.timeout(deadline.for_call(WAIT_SECONDS)):
                await self._publisher.publish(*records)
        except (Unavailable, TimeoutError) as error:
            raise BrokerUnavailable("Kafka does not confirm: send it again") from error
