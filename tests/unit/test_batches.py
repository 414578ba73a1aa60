"""Batches keep their bounds: what was planned before a crash is taken after it. The client library is a fake."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from reelmesh.mesh.config import KafkaConfig
from reelmesh.stores import batches
from reelmesh.stores.batches import Batch, Batches

TOPIC = "records"
PARTITIONS = 2
NOW_MS = 1_700_000_000_000


@dataclass
class Broker:
    """A topic, and how far a group has come."""

    topic_id: str = "first"
    logs: dict[int, list[bytes]] = field(default_factory=lambda: {number: [] for number in range(PARTITIONS)})
    committed: dict[int, tuple[int, str]] = field(default_factory=dict)
    burst: int = 1000
    changed: threading.Condition = field(default_factory=threading.Condition)

    def publish(self, partition: int, count: int) -> None:
        with self.changed:
            at = len(self.logs[partition])
            self.logs[partition] += [b"%d/%d" % (partition, at + number) for number in range(count)]
            self.changed.notify_all()

    def make_anew(self) -> None:
        with self.changed:
            self.topic_id = "second"
            self.logs = {number: [] for number in range(PARTITIONS)}

    async def until(self, wanted: Callable[[], bool]) -> None:
        def wait() -> bool:
            with self.changed:
                return self.changed.wait_for(wanted, 5)

        assert await asyncio.to_thread(wait)


class Client:
    """A consumer, and an administrator, of a broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._positions: dict[int, int] = {}
        self._assign: Callable[..., None] | None = None

    def subscribe(self, _topics: Sequence[str], on_assign: Callable[..., None], **_others: object) -> None:
        self._assign = on_assign

    def assign(self, places: Sequence[TopicPartition]) -> None:
        self._positions = {place.partition: place.offset for place in places}

    def unassign(self) -> None:
        self._positions = {}

    def committed(self, places: Sequence[TopicPartition], **_others: object) -> list[TopicPartition]:
        known = self._broker.committed
        return [TopicPartition(TOPIC, each.partition, *known.get(each.partition, (-1001, ""))) for each in places]

    def get_watermark_offsets(self, place: TopicPartition, **_others: object) -> tuple[int, int]:
        return 0, len(self._broker.logs[place.partition])

    def commit(self, offsets: Sequence[TopicPartition], **_others: object) -> list[TopicPartition]:
        with self._broker.changed:
            for each in offsets:
                self._broker.committed[each.partition] = (each.offset, each.metadata or "")
            self._broker.changed.notify_all()
        return []

    def consume(self, _count: int, timeout: float) -> list[Any]:
        if self._assign is not None:
            assign, self._assign = self._assign, None
            assign(self, [TopicPartition(TOPIC, number) for number in range(PARTITIONS)])
        with self._broker.changed:
            self._broker.changed.wait_for(self._waiting, timeout)
            found = [message(number, offset, self._broker.logs[number][offset]) for number, offset in self._waiting()][
                : self._broker.burst
            ]
            for each in found:
                self._positions[each.partition()] = each.offset() + 1
            return found

    def _waiting(self) -> list[tuple[int, int]]:
        for number, log in self._broker.logs.items():  # out of range: from the earliest
            if self._positions.get(number, 0) > len(log):
                self._positions[number] = 0
        return [
            (number, offset)
            for number, at in self._positions.items()
            for offset in range(at, len(self._broker.logs[number]))
        ]

    def close(self) -> None:
        self._positions = {}

    def describe_topics(self, _topics: object, **_others: object) -> dict[str, Future[Any]]:
        return {TOPIC: done(SimpleNamespace(topic_id=self._broker.topic_id))}

    def list_offsets(self, wanted: Mapping[TopicPartition, object], **_others: object) -> dict[Any, Future[Any]]:
        with self._broker.changed:  # what is waited for may be true since it was last called
            self._broker.changed.notify_all()
        return {each: done(SimpleNamespace(offset=len(self._broker.logs[each.partition]))) for each in wanted}


def done(value: object) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


def message(partition: int, offset: int, value: bytes) -> Any:
    return SimpleNamespace(
        topic=lambda: TOPIC,
        partition=lambda: partition,
        offset=lambda: offset,
        value=lambda: value,
        timestamp=lambda: (1, NOW_MS),
        error=lambda: None,
    )


class Process:
    """A process that takes batches, and is ended where it is."""

    def __init__(self, broker: Broker, limit: int = 1000, *, stuck: bool = False, seconds: float = 0.0) -> None:
        self.taken: asyncio.Queue[Batch] = asyncio.Queue()
        self._stuck = stuck
        self.batches = Batches(
            KafkaConfig(bootstrap_servers="nowhere"),
            "test",
            [TOPIC],
            "group",
            self._take,
            limit,
            seconds,
            make=lambda _: Client(broker),  # type: ignore[arg-type,return-value]
            admin=lambda _: Client(broker),  # type: ignore[arg-type,return-value]
        )

    async def _take(self, given: Sequence[Batch]) -> None:
        for each in given:
            self.taken.put_nowait(each)
        if self._stuck:
            await asyncio.Event().wait()

    async def __aenter__(self) -> Process:
        self._running = asyncio.create_task(self.batches.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running.cancel()
        await asyncio.wait([self._running])

    async def next(self) -> Batch:
        return await asyncio.wait_for(self.taken.get(), 5)


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "STOP_SECONDS", 0.05)
    monkeypatch.setattr(batches, "BACKOFF_SECONDS", 0.05)
    monkeypatch.setattr(batches, "LOOK_SECONDS", 0.0)


@pytest.mark.parametrize("limit", [1, 10, 10**6])
async def test_what_was_planned_before_a_crash_is_what_is_taken_after_it(limit: int) -> None:
    broker = Broker()
    for partition in range(PARTITIONS):
        broker.publish(partition, 20)
    async with Process(broker, stuck=True) as before:
        planned = {batch.partition: batch for batch in [await before.next(), await before.next()]}
    assert broker.committed == {0: (0, "last=19"), 1: (0, "last=19")}
    for partition in range(PARTITIONS):
        broker.publish(partition, 5)
    broker.burst = 3  # now they come in other pieces
    async with Process(broker, limit) as after:
        again: dict[int, Batch] = {}
        while len(again) < PARTITIONS:
            batch = await after.next()
            again.setdefault(batch.partition, batch)
        assert again == planned
        await broker.until(lambda: broker.committed == {0: (25, ""), 1: (25, "")})
    assert {batch.token for batch in planned.values()} == {"first-0-0-19", "first-1-0-19"}


async def test_batches_follow_each_other_without_a_gap() -> None:
    broker = Broker(burst=7)
    broker.publish(0, 100)
    async with Process(broker, limit=30) as process:
        await broker.until(lambda: broker.committed.get(0) == (100, ""))
        values: list[bytes] = []
        while not process.taken.empty():
            values += process.taken.get_nowait().values
    assert values == broker.logs[0]


async def test_the_last_batch_is_committed_and_the_time_goes_on_when_nothing_follows() -> None:
    broker = Broker()
    broker.publish(1, 3)
    async with Process(broker) as process:
        await process.next()
        await broker.until(lambda: broker.committed.get(1) == (3, ""))
        await broker.until(lambda: (process.batches.fresh_ms(TOPIC) or 0) > NOW_MS)


async def test_an_empty_partition_does_not_hold_the_time_back_while_others_are_busy() -> None:
    broker = Broker()
    async with Process(broker) as process:
        async with asyncio.timeout(5):
            while not process.batches.fresh_ms(TOPIC):
                broker.publish(1, 1)
                await process.next()
        assert broker.committed[0][0] == 0


async def test_what_was_given_up_at_the_end_is_not_safe() -> None:
    broker = Broker()
    broker.publish(0, 3)
    async with Process(broker, stuck=True) as process:
        await process.next()
        broker.publish(0, 3)  # they are gathered while the others are stuck
    assert broker.committed[0] == (0, "last=2")
    assert process.batches.fresh_ms(TOPIC) is None


async def test_a_topic_made_anew_begins_anew_under_another_name() -> None:
    broker = Broker()
    broker.publish(0, 10)
    async with Process(broker) as process:
        assert (await process.next()).token == "first-0-0-9"  # noqa: S105 - a name
        await broker.until(lambda: broker.committed.get(0) == (10, ""))
        broker.make_anew()
        broker.publish(0, 4)
        batch = await process.next()
        assert batch.token == "second-0-0-3"  # noqa: S105 - a name
        await broker.until(lambda: broker.committed[0] == (4, ""))


async def test_a_plan_beyond_what_kafka_has_kept_ends_where_kafka_ends() -> None:
    broker = Broker(committed={0: (2, "last=9")})
    broker.publish(0, 5)
    async with Process(broker) as process:
        batch = await process.next()
        assert (batch.first, batch.last) == (2, 4)
