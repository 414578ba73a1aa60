"""A reader of a whole compacted topic: from its beginning, or from a place that was written down, and on as it grows.

It reads beside all groups and commits nothing: whoever keeps what it read writes down, with it, the place where it goes
on. A place is good for one topic, by its id; where it leads nowhere, all must be read anew.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.aio import AIOConsumer

from reelmesh.mesh.config import KafkaConfig
from reelmesh.mesh.errors import Unavailable
from reelmesh.stores.events import CLOSE_SECONDS, Record, close_within, connection, is_record, record_of

TURN_RECORDS, TURN_SECONDS = 5000, 0.1
"""Records that are read at once, and how long it waits for that many."""
CONNECT_SECONDS = 5.0
"""How long it waits for the brokers, when it begins and when it looks."""
LOOK_SECONDS = 10.0
"""Between two looks for new partitions, and for another topic of the same name."""

_END: int = KafkaError._PARTITION_EOF  # noqa: SLF001 - the library's public errors begin with an underscore
_NOWHERE: int = KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001 - as above

log = logging.getLogger(__name__)


class PlaceLost(Exception):
    """Reading cannot go on from that place: the topic is another one, or has lost records."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What was read at once."""

    records: Sequence[Record]
    """In order within a partition. One with an empty value deletes its key."""
    place: str
    """Where reading goes on behind them."""
    behind: int
    """How many offsets lie between that and the end of the topic; 0 when there was nothing more."""
    caught_up: bool
    """Whether the end that the topic had when reading began is reached."""


@dataclass(slots=True)
class _Place:
    topic_id: str
    offsets: dict[int, int] = field(default_factory=dict)
    """The next to be read, by partition."""

    @classmethod
    def parse(cls, text: str) -> _Place:
        """Raises PlaceLost."""
        try:
            read = json.loads(text)
            return cls(str(read["topic"]), {int(key): int(value) for key, value in read["offsets"].items()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PlaceLost("the place cannot be read") from error

    def __str__(self) -> str:
        return json.dumps({"topic": self.topic_id, "offsets": self.offsets})


async def follow(config: KafkaConfig, client: str, topic: str, place: str = "") -> AsyncGenerator[Turn, None]:
    """Yield what a topic holds, and then what comes to it; from its beginning where `place` is empty.

    The first turn brings nothing and says how much there is to be read. At the end, a turn comes with records, when the
    end is reached, and every LOOK_SECONDS while the brokers answer. Raises Unavailable, and PlaceLost.
    """
    try:
        async with _consumer(config, client) as consumer:
            reading = _Reading(consumer, AdminClient(connection(config)), topic)
            yield await reading.begin(place)
            while True:
                turn = await reading.turn()
                if turn is not None:
                    yield turn
    except KafkaException as error:
        raise Unavailable(f"Kafka does not answer: {error.args[0].name()}") from error


@asynccontextmanager
async def _consumer(config: KafkaConfig, client: str) -> AsyncGenerator[AIOConsumer, None]:
    settings = {
        **connection(config),
        "client.id": f"{client}-whole",
        "group.id": f"{client}-whole",  # the library wants one
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "queued.max.messages.kbytes": 32 << 10,
    }
    thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-whole")
    consumer = AIOConsumer(settings, executor=thread)
    try:
        yield consumer
    finally:
        await close_within(CLOSE_SECONDS, consumer.close())
        thread.shutdown(wait=False)


class _Reading:
    """A topic that is being read."""

    def __init__(self, consumer: AIOConsumer, admin: AdminClient, topic: str) -> None:
        self._consumer, self._admin, self._topic = consumer, admin, topic
        self._place = _Place("")
        self._ends: dict[int, int] = {}
        self._goal: dict[int, int] = {}
        self._told = False
        self._looked = 0.0

    async def begin(self, text: str) -> Turn:
        """Find the place."""
        known = _Place.parse(text) if text else None
        topic_id, partitions = await self._describe()
        if known is not None and known.topic_id != topic_id:
            raise PlaceLost(f"{self._topic} is another topic now")
        self._place = _Place(topic_id, dict(known.offsets) if known else {})
        await self._add(partitions)
        self._goal = dict(self._ends)
        return self._turn([])

    async def turn(self) -> Turn | None:
        """Read what comes within a moment; None where there is nothing to be said."""
        messages = await self._consumer.consume(TURN_RECORDS, TURN_SECONDS)
        records = [record_of(message) for message in messages if self._came(message)]
        if time.monotonic() - self._looked >= LOOK_SECONDS and await self._look():
            self._told = False
        behind = self._behind()
        if behind:
            await self._measure()
        return None if not records and (behind or self._told) else self._turn(records)

    def _turn(self, records: Sequence[Record]) -> Turn:
        behind = self._behind()
        self._told = not behind
        caught_up = all(self._place.offsets[partition] >= end for partition, end in self._goal.items())
        return Turn(records, str(self._place), behind, caught_up)

    def _came(self, message: Message) -> bool:
        """Note where a message leads; say whether it is a record. Raises PlaceLost and KafkaException."""
        fault, partition, offset = message.error(), message.partition() or 0, message.offset() or 0
        if fault is not None and fault.code() == _NOWHERE:
            raise PlaceLost(f"{self._topic} {partition} has lost records: {fault.str()}")
        if fault is not None and fault.code() == _END:
            # Compaction may have taken the last records: the place behind the last that came is not always the end.
            self._place.offsets[partition] = self._ends[partition] = offset
            return False
        if not is_record(message):
            return False
        self._place.offsets[partition] = offset + 1
        self._ends[partition] = max(self._ends[partition], offset + 1)
        return True

    def _behind(self) -> int:
        return sum(max(0, end - self._place.offsets[partition]) for partition, end in self._ends.items())

    async def _measure(self) -> None:
        """Note the ends that the last fetches told of."""
        for partition in self._ends:
            place = TopicPartition(self._topic, partition)
            _, end = await self._consumer.get_watermark_offsets(place, CONNECT_SECONDS, cached=True)
            self._ends[partition] = max(self._ends[partition], end)

    async def _look(self) -> bool:
        """Look for new partitions, and for another topic; say whether the brokers answer. Raises PlaceLost."""
        self._looked = time.monotonic()
        try:
            topic_id, partitions = await self._describe()
            if topic_id != self._place.topic_id:
                raise PlaceLost(f"{self._topic} is another topic now")
            await self._add(sorted(set(partitions) - set(self._ends)))
        except (KafkaException, Unavailable) as error:
            log.warning("kafka: %s", error)  # what is known goes on as soon as the brokers do
            return False
        return True

    async def _add(self, partitions: Iterable[int]) -> None:
        """Read these partitions too. Raises PlaceLost."""
        added = []
        for partition in partitions:
            low, high = await self._consumer.get_watermark_offsets(
                TopicPartition(self._topic, partition), CONNECT_SECONDS
            )
            offset = self._place.offsets.get(partition, low)
            if not low <= offset <= high:
                raise PlaceLost(f"{self._topic} {partition} has lost records: it has {low} to {high}, not {offset}")
            self._ends[partition], self._place.offsets[partition] = high, offset
            added.append(TopicPartition(self._topic, partition, offset))
        if added:
            await self._consumer.incremental_assign(added)
        self._looked = time.monotonic()

    async def _describe(self) -> tuple[str, list[int]]:
        """Return the topic's id and its partitions. Raises Unavailable."""
        # The consumer keeps what it knows of a topic for minutes, unless it is asked.
        await self._consumer.list_topics(self._topic, CONNECT_SECONDS)
        asked = self._admin.describe_topics(TopicCollection([self._topic]), request_timeout=CONNECT_SECONDS)
        found: Any = await asyncio.wrap_future(asked[self._topic])
        return str(found.topic_id), [each.id for each in found.partitions]
