"""A compacted topic that is read whole, on real Kafka."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from reelmesh.mesh.config import Config, KafkaConfig
from reelmesh.stores import events, whole
from reelmesh.stores.events import Publisher, Record, connection, ensure_topics
from reelmesh.stores.whole import PlaceLost, Turn, follow

pytestmark = [pytest.mark.stack]


@pytest.fixture
def kafka(config: Config) -> KafkaConfig:
    return config.kafka


@pytest.fixture
async def topic(kafka: KafkaConfig, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A compacted topic of two partitions."""
    name = f"test.titles.{uuid.uuid4()}"
    monkeypatch.setattr(events, "COMPACTED", events.COMPACTED | {name})
    await ensure_topics(kafka, {name: 2})
    yield name
    await remove(kafka, name)


@pytest.fixture
async def publisher(kafka: KafkaConfig) -> AsyncIterator[Publisher]:
    made = Publisher(kafka, f"test-{uuid.uuid4()}")
    yield made
    await made.close()


async def remove(kafka: KafkaConfig, topic: str) -> None:
    admin = AdminClient(connection(kafka))  # what it promises ends with it
    for future in admin.delete_topics([topic]).values():
        await asyncio.wrap_future(future)


async def read(kafka: KafkaConfig, topic: str, place: str = "", seconds: float = 20) -> tuple[dict[str, bytes], str]:
    """Read until the end is reached; return the latest of each key, and the place."""
    found: dict[str, bytes] = {}
    async with asyncio.timeout(seconds), aclosing(follow(kafka, "test", topic, place)) as turns:
        async for turn in turns:
            found.update({record.key: record.value for record in turn.records})
            if turn.caught_up:
                return found, turn.place
    raise AssertionError


async def test_it_is_read_from_its_beginning_and_on_from_a_place(
    kafka: KafkaConfig, topic: str, publisher: Publisher
) -> None:
    assert (await read(kafka, topic))[0] == {}
    await publisher.publish(*(Record(topic, f"k{number}", b"1") for number in range(20)))
    found, place = await read(kafka, topic)
    assert found == {f"k{number}": b"1" for number in range(20)}
    assert sum(json.loads(place)["offsets"].values()) == 20
    await publisher.publish(Record(topic, "k3", b""), Record(topic, "k4", b"2"))
    assert (await read(kafka, topic, place))[0] == {"k3": b"", "k4": b"2"}


async def test_what_comes_is_told_within_moments(kafka: KafkaConfig, topic: str, publisher: Publisher) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(30), aclosing(follow(kafka, "test", topic)) as turns:
        assert (await anext(turns)).caught_up
        for number in range(5):
            began = loop.time()
            await publisher.publish(Record(topic, f"k{number}", b"x"))
            turn = await anext(turns)
            while not turn.records:
                turn = await anext(turns)
            assert [record.key for record in turn.records] == [f"k{number}"]
            assert turn.behind == 0
            assert loop.time() - began < 1


async def test_another_topic_of_the_same_name_is_noticed(
    kafka: KafkaConfig, topic: str, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "LOOK_SECONDS", 0.2)
    await publisher.publish(*(Record(topic, f"k{number}", b"1") for number in range(4)))
    _, place = await read(kafka, topic)
    async with asyncio.timeout(30), aclosing(follow(kafka, "test", topic, place)) as turns:
        assert (await anext(turns)).caught_up
        await remove(kafka, topic)
        await _made_again(kafka, topic)
        with pytest.raises(PlaceLost, match="another topic"):
            async for _ in turns:
                pass
    with pytest.raises(PlaceLost):
        await read(kafka, topic, place)
    assert (await read(kafka, topic))[0] == {}


async def _made_again(kafka: KafkaConfig, topic: str) -> None:
    admin = AdminClient(connection(kafka))
    while topic in (await asyncio.to_thread(admin.list_topics, timeout=5)).topics:  # noqa: ASYNC110 - Kafka has no event
        await asyncio.sleep(0.05)
    await ensure_topics(kafka, {topic: 2})


@pytest.mark.parametrize("place", ["{", '{"topic": 1}', '{"topic": "x", "offsets": [1]}'])
async def test_a_place_that_cannot_be_read_is_lost(kafka: KafkaConfig, topic: str, place: str) -> None:
    with pytest.raises(PlaceLost):
        await read(kafka, topic, place)


async def test_a_place_beyond_the_end_is_lost(kafka: KafkaConfig, topic: str) -> None:
    _, place = await read(kafka, topic)
    beyond = json.loads(place)
    beyond["offsets"] = dict.fromkeys(beyond["offsets"], 5)
    with pytest.raises(PlaceLost, match="lost records"):
        await read(kafka, topic, json.dumps(beyond))


async def test_new_partitions_are_read_too(
    kafka: KafkaConfig, topic: str, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "LOOK_SECONDS", 0.2)
    async with asyncio.timeout(30), aclosing(follow(kafka, "test", topic)) as turns:
        turn: Turn = await anext(turns)
        admin = AdminClient(connection(kafka))
        for future in admin.create_partitions([NewPartitions(topic, 5)]).values():
            await asyncio.wrap_future(future)
        found: set[str] = set()
        wanted = {f"k{number}" for number in range(40)}
        fresh = Publisher(kafka, f"test-{uuid.uuid4()}")  # one that knows the new partitions
        await fresh.publish(*(Record(topic, key, b"1") for key in wanted))
        await fresh.close()
        while not found >= wanted or len(json.loads(turn.place)["offsets"]) < 5:
            turn = await anext(turns)
            found |= {record.key for record in turn.records}
        assert sum(json.loads(turn.place)["offsets"].values()) == 40
