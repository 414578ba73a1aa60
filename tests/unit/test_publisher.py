"""The producer: what is refused for good is told apart from what may pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from reelmesh.mesh.config import KafkaConfig
from reelmesh.mesh.errors import Unavailable
from reelmesh.stores.events import Publisher, Record, Sending

RECORD = Record("topic", "key", b"value")
Delivery = Callable[[KafkaError | None, Message], None]


class Broken:
    """Producers that answer as they are told, oldest answer first."""

    def __init__(self, *answers: KafkaError | None, refuse: KafkaError | None = None) -> None:
        self.answers = list(answers)
        self.refuse = refuse
        self.made = 0

    def make(self, settings: dict[str, Any]) -> Producer:
        self.made += 1
        return cast(Producer, self)

    def produce(self, topic: str, *, on_delivery: Delivery, **_: object) -> None:
        if self.refuse is not None:
            refuse, self.refuse = self.refuse, None
            raise KafkaException(refuse)
        on_delivery(self.answers.pop(0), cast(Message, None))

    def poll(self, seconds: float) -> None:
        pass

    def flush(self, seconds: float) -> None:
        pass


@pytest.fixture
def closer() -> Iterator[list[Publisher]]:
    publishers: list[Publisher] = []
    yield publishers
    for publisher in publishers:
        with closing(asyncio.new_event_loop()) as loop:
            loop.run_until_complete(publisher.close())


def publisher_of(broken: Broken, closer: list[Publisher]) -> Publisher:
    publisher = Publisher(KafkaConfig(), "test", broken.make)
    closer.append(publisher)
    return publisher


async def test_a_passing_fault_keeps_the_producer(closer: list[Publisher]) -> None:
    broken = Broken(KafkaError(KafkaError._MSG_TIMED_OUT), None)
    publisher = publisher_of(broken, closer)
    with pytest.raises(Unavailable, match="_MSG_TIMED_OUT"):
        await publisher.publish(RECORD)
    await publisher.publish(RECORD)
    assert broken.made == 1


async def test_a_fatal_fault_replaces_the_producer(closer: list[Publisher]) -> None:
    broken = Broken(KafkaError(KafkaError._FATAL), None)
    publisher = publisher_of(broken, closer)
    with pytest.raises(Unavailable):
        await publisher.publish(RECORD)
    await publisher.publish(RECORD)
    assert broken.made == 2


async def test_a_producer_that_refuses_is_replaced(closer: list[Publisher]) -> None:
    broken = Broken(None, refuse=KafkaError(KafkaError._FATAL))
    publisher = publisher_of(broken, closer)
    with pytest.raises(Unavailable):
        await publisher.publish(RECORD)
    await publisher.publish(RECORD)
    assert broken.made == 2


async def test_several_are_published_when_all_are(closer: list[Publisher]) -> None:
    broken = Broken(None, KafkaError(KafkaError._MSG_TIMED_OUT), None, None, None)
    publisher = publisher_of(broken, closer)
    with pytest.raises(Unavailable, match="_MSG_TIMED_OUT"):
        await publisher.publish(RECORD, RECORD, RECORD)
    assert len(broken.answers) == 2
    await publisher.publish(RECORD, RECORD)
    assert broken.made == 1


def test_a_producer_sends_as_it_is_told(closer: list[Publisher]) -> None:
    given: list[dict[str, Any]] = []

    def make(settings: dict[str, Any]) -> Producer:
        given.append(settings)
        return Broken().make(settings)

    closer.append(Publisher(KafkaConfig(), "test", make))
    closer.append(Publisher(KafkaConfig(), "test", make, Sending(batch=100, seconds=4, waiting_bytes=64 << 20)))
    one, many = given
    assert (one["batch.num.messages"], one["linger.ms"], one["delivery.timeout.ms"]) == (1, 0, 15_000)
    assert (many["batch.num.messages"], many["delivery.timeout.ms"]) == (100, 4000)
    assert many["queue.buffering.max.kbytes"] == 64 << 10
    assert one["acks"] == many["acks"] == "all"
    assert one["enable.idempotence"] is many["enable.idempotence"] is True
