"""Experiments, exposures, alerts and popularity on a real Cassandra and Kafka; and an experiment on the platform."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from rpc_world import channel

from reelmesh.analytics.alert_rows import Key, opened
from reelmesh.analytics.announce import Announcements
from reelmesh.analytics.experiment_store import CassandraExperimentStore, KafkaExposureLog
from reelmesh.analytics.experiments import Arm, Experiment, ExperimentName, Experiments, Exposure
from reelmesh.analytics.popularity import event_of
from reelmesh.analytics.popularity_store import CassandraPopularityStore
from reelmesh.analytics.v1 import report_pb2
from reelmesh.analytics.v1.alert_pb2 import Alert
from reelmesh.analytics.v1.experiment_pb2 import ExposureRecord
from reelmesh.analytics.v1.experiment_service_pb2 import AssignExperimentsRequest
from reelmesh.analytics.v1.experiment_service_pb2_grpc import ExperimentServiceStub
from reelmesh.analytics.v1.popularity_pb2 import PopularityEvent
from reelmesh.mesh.clock import SystemClock, TimeOrderedIds, derived_id
from reelmesh.mesh.config import Config
from reelmesh.mesh.keys import KeyRing
from reelmesh.mesh.names import SessionName, VideoName
from reelmesh.stores.cassandra import Cassandra
from reelmesh.stores.events import ALERTS, EXPOSURES, POPULARITY, Publisher, connection, ensure_topics
from reelmesh.stores.migrations import migrate
from reelmesh.telemetry.v1.event_pb2 import EventType, TelemetryEvent
from reelmesh.telemetry.v1.telemetry_service_pb2 import CONSENT_ANONYMOUS, ReportRequest
from reelmesh.telemetry.v1.telemetry_service_pb2_grpc import TelemetryServiceStub
from reelmesh_tools.client.platform import CALL_SECONDS, Platform
from reelmesh_tools.stack.client import Stack

pytestmark = pytest.mark.stack

CLOCK = SystemClock()
IDS = TimeOrderedIds(CLOCK)
ARMS = (Arm("control"), Arm("low", 3, {"max_height": "480"}))


@pytest.fixture
async def migrated(cassandra: Cassandra) -> Cassandra:
    await migrate(cassandra, "analytics", {"class": "SimpleStrategy", "replication_factor": 1})
    return cassandra


@pytest.fixture
def organization() -> str:
    return f"test-{uuid.uuid4().hex[:8]}"


def values_of(config: Config, topic: str) -> Iterator[bytes]:
    """Read a whole topic."""
    consumer = Consumer({**connection(config.kafka), "group.id": "test-experiments", "enable.auto.commit": False})
    try:
        for number in consumer.list_topics(topic, 20).topics[topic].partitions:
            first, end = consumer.get_watermark_offsets(TopicPartition(topic, number), 20)
            consumer.assign([TopicPartition(topic, number, first)])
            while first < end:
                message = consumer.poll(20)
                assert message is not None
                assert message.error() is None
                yield message.value() or b""
                first = (message.offset() or 0) + 1
    finally:
        consumer.close()


async def test_an_experiment_comes_back_as_it_was_and_changes_only_as_it_may(
    migrated: Cassandra, organization: str
) -> None:
    store = CassandraExperimentStore(migrated)
    experiment = Experiment(ExperimentName(organization, "x"), "What?", ARMS, 0.1, CLOCK.now())
    assert await store.load(experiment.name) is None
    assert sorted(await asyncio.gather(*(store.add(experiment) for _ in range(4)))) == [False, False, False, True]
    assert await store.load(experiment.name) == experiment
    await asyncio.gather(*(store.grow(experiment.name, traffic) for traffic in (0.2, 0.9, 0.5)))
    assert not await store.grow(experiment.name, 0.9)
    grown = replace(experiment, traffic=0.9)
    assert list(await store.list(organization)) == [grown]
    now = CLOCK.now()
    assert await store.end(experiment.name, now)
    assert not await store.end(experiment.name, CLOCK.now())
    assert not await store.grow(experiment.name, 1.0)
    assert await store.load(experiment.name) == replace(grown, end_time=now)


async def test_many_create_one_experiment(migrated: Cassandra, organization: str) -> None:
    experiments = Experiments(CassandraExperimentStore(migrated), CLOCK)
    name = ExperimentName(organization, "x")
    made = await asyncio.gather(*(experiments.create(name, "", ARMS, 0.5) for _ in range(8)))
    assert len({each.create_time for each in made}) == 1


async def test_thresholds_are_remembered(migrated: Cassandra, organization: str) -> None:
    store, video = CassandraPopularityStore(migrated), VideoName(organization, IDS.new())
    assert await store.passed(video) == frozenset()
    await store.remember(video, [10, 100], CLOCK.now())
    await store.remember(video, [100, 1000], CLOCK.now())
    assert await store.passed(video) == {10, 100, 1000}


async def test_what_is_told_is_on_kafka(config: Config, organization: str) -> None:
    await ensure_topics(config.kafka, dict.fromkeys((EXPOSURES, ALERTS, POPULARITY), 6))
    publisher = Publisher(config.kafka, f"test-{organization}")
    session, video = SessionName(organization, IDS.new()), VideoName(organization, IDS.new())
    alert = opened(
        Key(organization, report_pb2.METRIC_FAILURE_RATIO, report_pb2.DIMENSION_UNSPECIFIED, ""), datetime.now(UTC)
    )
    event = event_of(video, 10, 11, 5, CLOCK.now())
    try:
        await KafkaExposureLog(publisher).write([Exposure(session, bytes(16), "x", arm) for arm in ARMS])
        await Announcements(publisher).tell(alert)
        await Announcements(publisher).passed([event])
    finally:
        await publisher.close()
    exposures = map(ExposureRecord.FromString, values_of(config, EXPOSURES))
    told = [each for each in exposures if each.organization == organization]
    assert [each.arm for each in told] == ["control", "low"]
    assert {each.session for each in told} == {uuid.UUID(session.id).bytes}
    assert {each.time_ms for each in told} == {uuid.UUID(session.id).int >> 80}
    assert alert in map(Alert.FromString, values_of(config, ALERTS))
    assert event in map(PopularityEvent.FromString, values_of(config, POPULARITY))


def test_an_experiment_on_the_platform(stack: Stack, reelmesh: Callable[..., dict[str, Any]]) -> None:
    name = f"x-{uuid.uuid4().hex[:8]}"
    arms = ("--arm", "control", "--arm", "low:max_height=480")
    made = reelmesh("experiments", "create", name, *arms, "--traffic", "1")
    assert made["experiments"][0]["state"] == "STATE_RUNNING"
    other = reelmesh("experiments", "create", name, "--arm", "other", "--arm", "low", code=1)
    assert other["error"]["reason"] == "EXPERIMENT_EXISTS"
    found: dict[str, dict[str, str]] = {}
    with channel(stack, "analytics", stack.layout.certificates, "playback") as opened_channel:
        stub = ExperimentServiceStub(opened_channel)

        def assigned(viewer: str) -> dict[str, dict[str, str]]:
            request = AssignExperimentsRequest(session=f"organizations/default/sessions/{IDS.new()}", viewer=viewer)
            answer = stub.AssignExperiments(request, timeout=5)
            return {each.arm: dict(each.parameters) for each in answer.assignments if each.experiment == name}

        deadline = time.monotonic() + 20
        while not assigned("ann"):  # what runs is asked for every few seconds
            assert time.monotonic() < deadline
            time.sleep(0.2)
        mine = assigned("ann")
        for number in range(40):
            found.update(assigned(f"viewer-{number}"))
        assert assigned("ann") == mine
    assert found == {"control": {}, "low": {"max_height": "480"}}
    deadline = time.monotonic() + 60
    while True:  # the sink has them soon
        results = reelmesh("experiments", "results", name)
        if sum(int(arm["units"]) for arm in results["arms"]) == 41:
            break
        assert time.monotonic() < deadline, results
        time.sleep(0.5)
    assert sum(int(arm["exposures"]) for arm in results["arms"]) == 43
    assert results["sample_ratio_mismatch"] is False
    assert {each["metric"] for each in results["arms"][0]["measures"]} >= {"METRIC_VIEWS", "METRIC_REBUFFER_RATIO"}
    ended = reelmesh("experiments", "end", name)
    assert ended["experiments"][0]["state"] == "STATE_ENDED"
    assert name in [each["name"].rpartition("/")[2] for each in reelmesh("experiments", "list")["experiments"]]


def test_a_video_that_is_viewed_ten_times_on_the_platform_is_told(config: Config, nobody: Platform) -> None:
    video, keys = VideoName("default", IDS.new()), KeyRing.load(config.playback.media_keys)
    for _ in range(10):
        now = int(CLOCK.now().timestamp() * 1000)
        session = SessionName("default", IDS.new())
        claims = {"iss": "reelmesh.playback", "aud": "telemetry", "sub": str(session), "exp": now // 1000 + 3600}
        event = TelemetryEvent(
            event_id=uuid.UUID(derived_id(session.id, "requested")).bytes,
            event_time_ms=uuid.UUID(session.id).int >> 80,
            type=EventType.EVENT_TYPE_REQUESTED,
        )
        request = ReportRequest(
            token=keys.sign({**claims, "video": str(video), "viewer": "", "country": "", "experiments": []}),
            consent=CONSENT_ANONYMOUS,
            events=[event],
        )
        assert TelemetryServiceStub(nobody.channel).Report(request, timeout=CALL_SECONDS).accepted == 1
    deadline = time.monotonic() + 60
    while True:  # rounds of the roll-ups and looks at them follow each other by themselves
        events = map(PopularityEvent.FromString, values_of(config, POPULARITY))
        told = [each for each in events if each.video == str(video)]
        if told:
            break
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert [(each.threshold, each.views, each.hour_views) for each in told] == [(10, 10, 10)]
