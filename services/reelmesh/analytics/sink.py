"""Takes records from Kafka into the warehouse: each once, as they are.

A batch is inserted under a name that it always has, so that inserting it again does nothing; then the minutes that it
changed are marked; then its offset is committed. A crash between any two of these repeats what comes after. What
ClickHouse cannot read goes to the dead letters, and the rest of its batch goes on under the same name: it is the same
rest each time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar
from uuid import UUID

from google.protobuf.message import DecodeError, Message
from sqlalchemy import Insert, func, literal, select, tuple_
from sqlalchemy.sql.expression import ClauseElement

from reelmesh.analytics import columns
from reelmesh.analytics.columns import Stream
from reelmesh.analytics.schema import DIRTY, RECEIPTS
from reelmesh.mesh.clock import IdSource
from reelmesh.mesh.errors import Unavailable

EVENT_BYTES = 64
"""About what an event takes in a record."""
RETRY_SECONDS = 2.0
"""Longest time between two attempts to insert."""

log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Unreadable(Exception):
    """The warehouse cannot read what it was given."""


class Batch(Protocol):
    """Records that follow each other in one partition; see stores.batches."""

    @property
    def topic(self) -> str:
        """Topic that they lay on."""

    @property
    def partition(self) -> int:
        """Partition of it."""

    @property
    def offsets(self) -> Sequence[int]:
        """Offset of each record."""

    @property
    def values(self) -> Sequence[bytes]:
        """The records."""

    @property
    def first(self) -> int:
        """Offset of the first record."""

    @property
    def token(self) -> str:
        """A name that the same batch always has, and no other one ever."""


class Inserter(Protocol):
    """What the sink needs of the warehouse."""

    async def insert(self, table: str, data: bytes, form: str, settings: Mapping[str, Any]) -> None:
        """Insert. Raises Unavailable, Unreadable."""

    async def run(self, statement: ClauseElement) -> None:
        """Run a statement. Raises Unavailable."""


Bury = Callable[[str, int, int, bytes, str, str], Awaitable[None]]
"""Sends a record to the dead letters: topic, partition, offset, value, reason, message. Raises Unavailable."""


class Sink:
    """Inserts batches."""

    def __init__(
        self,
        warehouse: Inserter,
        streams: Mapping[str, tuple[Stream, type[Message]]],
        bury: Bury,
        ids: IdSource,
        marked: Callable[[], None] = lambda: None,
    ) -> None:
        """`streams` says by topic what its records are; `marked` is called when there are minutes to be counted."""
        self._warehouse = warehouse
        self._streams = streams
        self._bury = bury
        self._ids = ids
        self._marked = marked
        self._settings = {topic: settings_of(stream) for topic, (stream, _) in streams.items()}

    async def take(self, batches: Sequence[Batch]) -> None:
        """Insert batches of different partitions, and mark what they change; returns when all of that is safe."""
        await asyncio.gather(*(self._insert(batch) for batch in batches))
        counted = [batch for batch in batches if self._streams[batch.topic][0].table == columns.EVENTS.name]
        if counted:
            statement = mark([(batch.partition, batch.first) for batch in counted], UUID(self._ids.new()))
            await _until_done(lambda: self._warehouse.run(statement))
            self._marked()

    async def _insert(self, batch: Batch) -> None:
        tail = arrival_tail(batch.partition, batch.first)
        stream, kind = self._streams[batch.topic]
        settings = {**self._settings[batch.topic], "insert_deduplication_token": batch.token}
        try:
            await _until_done(lambda: self._into(stream.arrivals, framed(batch.values, tail), settings))
        except Unreadable as error:
            log.warning("%s %d/%d: %s", batch.topic, batch.partition, batch.first, error)
        else:
            return
        readable = await self._readable(batch, stream, kind)
        rest = framed([batch.values[index] for index in readable], tail)
        await _until_done(lambda: self._rest(batch, stream.arrivals, rest, settings))

    async def _rest(self, batch: Batch, table: str, data: bytes, settings: Mapping[str, Any]) -> None:
        try:
            await self._into(table, data, settings)
        except Unreadable as error:
            # Every record can be read by itself: it is not the records that are wrong but a table or a view, and who
            # mends that wants the batch.
            log.exception("%s %d/%d cannot be inserted", batch.topic, batch.partition, batch.first)
            raise Unavailable(str(error)) from error

    async def _into(self, table: str, data: bytes, settings: Mapping[str, Any]) -> None:
        if data:
            await self._warehouse.insert(table, data, "Protobuf", settings)

    async def _readable(self, batch: Batch, stream: Stream, kind: type[Message]) -> list[int]:
        """Return the indexes of the records that can be read; bury the others."""
        bad: dict[int, str] = {}
        for index, value in enumerate(batch.values):
            try:
                kind.FromString(value)
            except DecodeError as error:
                bad[index] = f"not a {kind.DESCRIPTOR.name}: {error}"
        left = [index for index in range(len(batch.values)) if index not in bad]
        bad.update(await self._refused(batch, stream, left))
        for index in sorted(bad):
            await self._dead(batch, index, bad[index])
        return [index for index in left if index not in bad]

    async def _dead(self, batch: Batch, index: int, message: str) -> None:
        offset, value = batch.offsets[index], batch.values[index]
        log.error("%s %d/%d is a dead letter: %s", batch.topic, batch.partition, offset, message)
        await _until_done(lambda: self._bury(batch.topic, batch.partition, offset, value, "RECORD_UNREADABLE", message))

    async def _refused(self, batch: Batch, stream: Stream, indexes: Sequence[int]) -> dict[int, str]:
        """Return those of the records that ClickHouse itself cannot read, found by halving.

        It reads them into a table without views.
        """
        if not indexes:
            return {}
        data = framed([batch.values[index] for index in indexes], b"")
        try:
            await _until_done(lambda: self._into(stream.trial, data, self._settings[batch.topic]))
        except Unreadable as error:
            if len(indexes) == 1:
                return {indexes[0]: str(error)}
        else:
            return {}
        half = len(indexes) // 2
        found = await self._refused(batch, stream, indexes[:half])
        return {**found, **await self._refused(batch, stream, indexes[half:])}


def mark(batches: Sequence[tuple[int, int]], name: UUID) -> Insert:
    """Return the statement that marks the minutes of batches, given by partition and first offset."""
    minutes = (
        select(RECEIPTS.c.organization, RECEIPTS.c.minute, literal(str(name)), func.now64(3, "UTC"), literal(0))
        .distinct()
        .where(tuple_(RECEIPTS.c.partition, RECEIPTS.c.first).in_(batches))
    )
    return DIRTY.insert().from_select(["organization", "minute", "mark", "marked", "done"], minutes)


def framed(values: Iterable[bytes], tail: bytes) -> bytes:
    """Join records as ClickHouse reads them: the length before each, `tail` added to each."""
    prefixes: dict[int, bytes] = {}
    parts: list[bytes] = []
    for value in values:
        length = len(value) + len(tail)
        prefix = prefixes.get(length)
        if prefix is None:
            prefix = prefixes[length] = varint(length)
        parts += (prefix, value, tail)
    return b"".join(parts)


def arrival_tail(partition: int, first: int) -> bytes:
    """Return the fields that say which batch a record came in, to be put behind it: protobuf joins what follows."""
    return b"".join(
        (varint(columns.PARTITION_FIELD << 3), varint(partition), varint(columns.FIRST_FIELD << 3), varint(first))
    )


def varint(number: int) -> bytes:
    """Encode a number as protobuf does."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def settings_of(stream: Stream) -> dict[str, Any]:
    """Return the settings that a stream's records are inserted with."""
    return {
        "format_schema_source": "string",
        "format_schema": columns.format_schema(stream),
        "format_schema_message_name": stream.message.name,
        # A batch is one block, whole or not at all: half of one under its name would be all that is ever taken of it.
        "max_insert_block_size": 100_000_000,
        "max_partitions_per_insert_block": 0,
        "async_insert": 0,
        "insert_deduplicate": 1,
        "deduplicate_blocks_in_dependent_materialized_views": 1,
    }


async def _until_done(action: Callable[[], Awaitable[_T]]) -> _T:
    """Call `action` until it is not Unavailable: a store that is away holds the records up, and loses none."""
    delay = 0.1
    while True:
        try:
            return await action()
        except Unavailable as error:
            log.warning("waiting: %s", error)
            await asyncio.sleep(delay)  # back-off
            delay = min(delay * 2, RETRY_SECONDS)
