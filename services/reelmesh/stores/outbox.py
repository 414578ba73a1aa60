"""Events that must not be lost: written in the same logged batch as the change they tell of, then relayed to Kafka.

An event may be published more than once (a crash between publishing and deleting, two processes at the same row); its
consumers are idempotent. Rows lie in partitions of an hour, so that a relay never reads over old tombstones.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from opentelemetry import propagate, trace

from reelmesh.mesh.clock import Clock
from reelmesh.mesh.errors import Unavailable
from reelmesh.stores.cassandra import Cassandra, Statement
from reelmesh.stores.events import Publisher, Record
from reelmesh.stores.migrations import keyspace_of

SWEEP_SECONDS = 1.0
"""Between two looks for rows that another process left behind; our own rows are relayed at once."""
LOOK_BACK = timedelta(hours=48)
"""How old a row a starting relay still looks for."""

log = logging.getLogger(__name__)
tracer = trace.get_tracer(__name__)


class Outbox:
    """The outbox of one service, a table of its keyspace."""

    def __init__(self, area: str, cassandra: Cassandra, publisher: Publisher, clock: Clock) -> None:
        self._table = f"{keyspace_of(area)}.outbox"
        self._cassandra = cassandra
        self._publisher = publisher
        self._clock = clock
        self._written = asyncio.Event()

    def add(self, event_id: str, record: Record) -> Statement:
        """Return the insert to put into the batch of the change. The same id replaces the same event."""
        headers: dict[str, str] = dict(record.headers)
        propagate.inject(headers)
        return Statement(
            f"INSERT INTO {self._table} (hour, id, topic, key, value, headers) VALUES (?, ?, ?, ?, ?, ?)",
            (hour_of(self._clock.now()), event_id, record.topic, record.key, record.value, headers),
        )

    def wake(self) -> None:
        """Say that a batch with an event was written, so that it is relayed at once."""
        self._written.set()

    async def run(self) -> None:
        """Relay until cancelled."""
        since = hour_of(self._clock.now() - LOOK_BACK)
        while True:
            self._written.clear()
            try:
                async for hour in self._hours(since):
                    await self._relay(hour)
                since = hour_of(self._clock.now() - timedelta(hours=1))
            except Unavailable as error:
                log.warning("the outbox waits: %s", error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._written.wait(), SWEEP_SECONDS)

    async def _hours(self, since: datetime) -> AsyncIterator[datetime]:
        hour = since
        # One hour ahead as well: the clock of the process that wrote may be a little before ours.
        while hour <= self._clock.now() + timedelta(hours=1):
            yield hour
            hour += timedelta(hours=1)

    async def _relay(self, hour: datetime) -> None:
        rows = await self._cassandra.execute(
            f"SELECT id, topic, key, value, headers FROM {self._table} WHERE hour = ?", hour
        )
        for row in rows:
            with tracer.start_as_current_span("outbox relay", propagate.extract(row.headers or {})):
                await self._publisher.publish(Record(row.topic, row.key, row.value, row.headers or {}))
            await self._cassandra.execute(f"DELETE FROM {self._table} WHERE hour = ? AND id = ?", hour, row.id)


def hour_of(time: datetime) -> datetime:
    """Return the hour that `time` lies in."""
    return time.replace(minute=0, second=0, microsecond=0)
