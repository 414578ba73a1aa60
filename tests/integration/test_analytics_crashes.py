"""The sink is killed at every stage and whenever; nothing is lost or counted twice. Real Kafka, real processes."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from subprocess import PIPE

import pytest
from confluent_kafka import Consumer, TopicPartition
from telemetry_records import Viewing

from reelmesh.analytics.wiring import TOPICS
from reelmesh.mesh.config import KafkaConfig
from reelmesh.stores.events import TELEMETRY, Publisher, Record, dead_letters, ensure_topics
from reelmesh_tools.stack import lifecycle
from reelmesh_tools.stack.client import Stack
from reelmesh_tools.stack.layout import Layout
from reelmesh_tools.stack.report import Silent

pytestmark = pytest.mark.stack

HERE = Path(__file__).parent
CHANCE = random.Random(6)  # noqa: S311 - the same each time
STAGES = ("planned:2", "inserted:5", "marked:1", "inserted:1")
SMALL = ("batch_events=1500", "batch_seconds=0.05", "rollup_seconds=0.2")
"""Settings that make many batches of little."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A broker without the rest of the platform."""
    layout = Layout.at(tmp_path_factory.mktemp("kafka"))
    yield lifecycle.up(layout, os.environ, Silent(), ["kafka"])
    lifecycle.down(layout)


@pytest.fixture(scope="module")
def kafka(broker: Stack) -> KafkaConfig:
    """How to reach it; the topics are there."""
    made = KafkaConfig(bootstrap_servers=broker.plan.kafka)
    asyncio.run(ensure_topics(made, dict.fromkeys(TOPICS, made.partitions)))
    return made


class Child:
    """The sink as a process of its own."""

    def __init__(self, kafka: KafkaConfig, folder: Path, *settings: str) -> None:
        command = [sys.executable, str(HERE / "sink_child.py"), kafka.bootstrap_servers, str(folder), *settings]
        with folder.with_suffix(".log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=log, text=True)

    def ended(self, seconds: float) -> int:
        """Wait for its end, and return how it ended."""
        with self.process:  # it closes the pipes
            return self.process.wait(seconds)

    def kill(self, sign: signal.Signals = signal.SIGKILL) -> int:
        """End it."""
        self.process.send_signal(sign)
        return self.ended(15)

    def counted(self) -> None:
        """Wait until all is counted that was published before."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "counted\n"


class Group:
    """How far the sink's group has come."""

    def __init__(self, kafka: KafkaConfig) -> None:
        self._consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "analytics-sink"})
        self._places = [TopicPartition(TELEMETRY, partition) for partition in range(kafka.partitions)]

    def waiting(self) -> int:
        """Return how many records are not committed yet."""
        ends = [self._consumer.get_watermark_offsets(place)[1] for place in self._places]
        return sum(ends) - sum(max(place.offset, 0) for place in self._consumer.committed(self._places, timeout=10))

    def close(self) -> None:
        """Close."""
        self._consumer.close()


@pytest.fixture
def group(kafka: KafkaConfig) -> Iterator[Group]:
    made = Group(kafka)
    yield made
    made.close()


def publish(kafka: KafkaConfig, records: Sequence[tuple[str, bytes]]) -> None:
    async def run() -> None:
        publisher = Publisher(kafka, f"test-{uuid.uuid4()}")
        await publisher.publish(*(Record(TELEMETRY, key, value) for key, value in records))
        await publisher.close()

    asyncio.run(run())


def audience(organization: str, viewings: int, chance: random.Random) -> list[tuple[str, bytes]]:
    """Return records of viewings, one in ten sent twice, over the last two hours."""
    now = int(time.time() * 1000)
    found = []
    for number in range(viewings):
        start = now - chance.randrange(120_000, 7_200_000)
        record = Viewing(start, organization, viewer=bytes([number % 200 + 1]) * 16, beats=5).record()
        found += [(str(number), record)] * (2 if number % 10 == 0 else 1)
    chance.shuffle(found)
    return found


def look(folder: Path, organization: str) -> dict[str, dict[str, float]]:
    command = [sys.executable, str(HERE / "sink_look.py"), str(folder), organization]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found: dict[str, dict[str, float]] = json.loads(answer.stdout)
    return found


def settle(child: Child, group: Group) -> None:
    """Let the child take and count everything, and end it as an operator would."""
    child.counted()
    began = time.monotonic()
    assert child.kill(signal.SIGTERM) == 0
    assert time.monotonic() - began < 5
    assert group.waiting() == 0


def test_killed_at_every_stage_nothing_is_lost_or_doubled(kafka: KafkaConfig, group: Group, tmp_path: Path) -> None:
    organization, chance = f"o-{uuid.uuid4()}", random.Random(5)  # noqa: S311 - the same each time
    records = audience(organization, 3000, chance)
    folder = tmp_path / "warehouse"
    for stage in STAGES:
        part, records = records[:600], records[600:]
        publish(kafka, part)
        assert Child(kafka, folder, *SMALL, f"dies={stage}").ended(60) == -signal.SIGKILL, stage
    publish(kafka, records)
    for _ in range(2):
        child = Child(kafka, folder, *SMALL)
        before = group.waiting()
        while group.waiting() == before:
            time.sleep(0.01)  # offsets have no event
        time.sleep(chance.uniform(0, 0.3))  # whatever it is at then
        child.kill()
    settle(Child(kafka, folder, *SMALL), group)
    held = look(folder, organization)
    assert held.pop("ids") == {"distinct": 3000 * 7}
    assert held["raw"]["events_sent"] == 3300 * 7
    for table, figures in held.items():
        assert figures["distinct_events"] == 3000 * 7, table
        assert figures["views"] == 3000, table
        assert figures["watch_seconds"] == 3000 * 50, table
        assert figures["stall_seconds"] == pytest.approx(3000 * 0.2), table


def test_what_cannot_be_read_is_a_dead_letter_also_after_a_crash(
    kafka: KafkaConfig, group: Group, tmp_path: Path
) -> None:
    organization = f"o-{uuid.uuid4()}"
    records = audience(organization, 20, CHANCE)
    publish(kafka, [*records[:10], ("bad", b"\xff\xff\xff"), *records[10:]])
    folder = tmp_path / "warehouse"
    assert Child(kafka, folder, *SMALL, "dies=marked:1").ended(60) == -signal.SIGKILL
    settle(Child(kafka, folder, *SMALL), group)
    assert look(folder, organization)["raw"]["distinct_events"] == 20 * 7
    consumer = Consumer(
        {"bootstrap.servers": kafka.bootstrap_servers, "group.id": str(uuid.uuid4()), "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([dead_letters(TELEMETRY)])
    letter = consumer.poll(20)
    consumer.close()
    assert letter is not None
    assert letter.value() == b"\xff\xff\xff"
    headers = dict(letter.headers() or ())
    assert headers["reason"] == b"RECORD_UNREADABLE"
    assert b"/" in (headers["position"] or b"")


def test_kafka_may_go_away_and_come_back(broker: Stack, kafka: KafkaConfig, group: Group, tmp_path: Path) -> None:
    organization = f"o-{uuid.uuid4()}"
    folder = tmp_path / "warehouse"
    publish(kafka, audience(organization, 20, CHANCE))
    child = Child(kafka, folder, *SMALL)
    child.counted()
    broker.stop_process("kafka")
    assert child.process.poll() is None
    broker.start_process("kafka")
    publish(kafka, audience(organization, 30, CHANCE))
    settle(child, group)
    held = look(folder, organization)
    assert held["days"]["views"] == 50
    assert held["raw"]["events_sent"] == (22 + 33) * 7
