"""Telemetry through the gateway: what is accepted is on Kafka, and what is wrong is told by its reason."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from confluent_kafka import Consumer, TopicPartition
from e2e_world import eventually, send

from reelmesh.mesh.config import Config
from reelmesh.mesh.keys import KeyRing
from reelmesh.mesh.pseudonyms import Pseudonyms
from reelmesh.playback.v1.playback_service_pb2 import CreatePlaybackSessionRequest, GetPlaybackSessionRequest
from reelmesh.playback.v1.session_pb2 import PlaybackSession
from reelmesh.stores.events import TELEMETRY, connection
from reelmesh.telemetry.v1 import telemetry_service_pb2 as pb
from reelmesh.telemetry.v1.event_pb2 import EVENT_TYPE_HEARTBEAT, TelemetryEvent
from reelmesh.telemetry.v1.record_pb2 import TelemetryRecord
from reelmesh.telemetry.v1.telemetry_service_pb2_grpc import TelemetryServiceStub
from reelmesh_tools.client.platform import CALL_SECONDS, Platform, problem_of
from reelmesh_tools.stack.client import Stack

pytestmark = [pytest.mark.stack]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def uuid7(time_ms: int) -> bytes:
    made = bytearray(time_ms.to_bytes(6) + os.urandom(10))
    made[6] = made[6] & 0x0F | 0x70
    made[8] = made[8] & 0x3F | 0x80
    return bytes(made)


def event(sequence: int = 0, time_ms: int = 0, **fields: Any) -> TelemetryEvent:
    at = time_ms or now_ms()
    return TelemetryEvent(event_id=uuid7(at), event_time_ms=at, sequence=sequence, type=EVENT_TYPE_HEARTBEAT, **fields)


class Viewing:
    """A viewing as playback would have begun it, and a look at what Kafka has of it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.id = uuid.UUID(bytes=uuid7(now_ms()))
        self.session = f"organizations/default/sessions/{self.id}"
        self.video = f"organizations/default/videos/{uuid.UUID(bytes=uuid7(now_ms()))}"
        self.token = KeyRing.load(config.playback.media_keys).sign(
            {
                "iss": "reelmesh.playback",
                "aud": "telemetry",
                "sub": self.session,
                "exp": now_ms() // 1000 + 3600,
                "video": self.video,
                "viewer": "ann",
                "country": "NZ",
                "experiments": ["skin:dark"],
            }
        )

    def batch(self, *events: TelemetryEvent, **fields: Any) -> pb.ReportRequest:
        return pb.ReportRequest(events=events, **{"token": self.token, "consent": pb.CONSENT_GRANTED, **fields})

    def records(self) -> list[TelemetryRecord]:
        """Return what is on the topic of this viewing now."""
        return [record for record in records_of(self.config) if record.session == self.id.bytes]

    def events(self) -> list[TelemetryEvent]:
        return [each for record in self.records() for each in record.events]


def records_of(config: Config) -> Iterator[TelemetryRecord]:
    """Read the whole topic."""
    consumer = Consumer({**connection(config.kafka), "group.id": "test-telemetry", "enable.auto.commit": False})
    try:
        partitions = list(consumer.list_topics(TELEMETRY, 20).topics[TELEMETRY].partitions)
        ends = {n: consumer.get_watermark_offsets(TopicPartition(TELEMETRY, n), 20) for n in partitions}
        left = {n for n, (low, high) in ends.items() if high > low}
        consumer.assign([TopicPartition(TELEMETRY, n, ends[n][0]) for n in left])
        while left:
            message = consumer.poll(20)
            assert message is not None
            assert message.error() is None
            yield TelemetryRecord.FromString(message.value() or b"")
            number, offset = message.partition(), message.offset()
            assert number is not None
            assert offset is not None
            if offset + 1 >= ends[number][1]:
                left.discard(number)
    finally:
        consumer.close()


def started(platform: Platform, video: str) -> PlaybackSession | None:
    """Begin to watch; None while there is nothing to play yet."""
    request = CreatePlaybackSessionRequest(parent=platform.parent, session=PlaybackSession(video=video))
    try:
        return platform.playback.CreatePlaybackSession(request, timeout=CALL_SECONDS).session
    except grpc.RpcError as error:
        if problem_of(error).reason in {"VIDEO_UNKNOWN", "VIDEO_NOT_PLAYABLE"}:
            return None
        raise


@pytest.fixture
def viewing(config: Config) -> Viewing:
    return Viewing(config)


@pytest.fixture
def telemetry(nobody: Platform) -> Any:
    return TelemetryServiceStub(nobody.channel)


def test_what_a_session_measures_is_on_kafka(
    stack: Stack, config: Config, platform: Platform, telemetry: Any, clip: Callable[..., Path]
) -> None:
    upload = send(platform, clip(4))
    session = eventually(lambda: started(platform, upload.video), "a session")
    again = platform.playback.GetPlaybackSession(GetPlaybackSessionRequest(name=session.name)).session
    assert session.telemetry_uri == f"{stack.plan.gateway_url}/v1/telemetry:report?token={session.telemetry_token}"
    assert session.cmcd_uri == f"{stack.plan.gateway_url}/v1/telemetry:cmcd?token={session.telemetry_token}"
    sent = [event(0), event(1)]
    for number, token in enumerate((session.telemetry_token, again.telemetry_token)):
        request = pb.ReportRequest(token=token, events=[sent[number]], consent=pb.CONSENT_GRANTED)
        answer = telemetry.Report(request, timeout=CALL_SECONDS)
        assert (answer.accepted, list(answer.refusals), answer.sampled) == (1, [], True)
    id_ = uuid.UUID(session.name.rpartition("/")[2]).bytes
    records = [record for record in records_of(config) if record.session == id_]
    assert [each for record in records for each in record.events] == sent
    viewer = Pseudonyms.load(config.telemetry.viewer_key).of("default", session.viewer)
    assert {(record.video, record.viewer, record.weight) for record in records} == {
        (upload.video.rpartition("/")[2], viewer, 1)
    }
