"""Telemetry through the gateway: what is accepted is on Kafka, and what is wrong is told by its reason."""

from __future__ import annotations

import json
import math
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from confluent_kafka import Consumer, TopicPartition
from e2e_world import eventually, refused, send
from google.protobuf import json_format
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from reelmesh.mesh.config import Config
from reelmesh.mesh.keys import KeyRing
from reelmesh.mesh.pseudonyms import Pseudonyms
from reelmesh.playback.v1.playback_service_pb2 import CreatePlaybackSessionRequest, GetPlaybackSessionRequest
from reelmesh.playback.v1.session_pb2 import PlaybackSession
from reelmesh.stores.events import DELIVERIES, TELEMETRY, connection
from reelmesh.telemetry.v1 import telemetry_service_pb2 as pb
from reelmesh.telemetry.v1.event_pb2 import (
    EVENT_TYPE_HEARTBEAT,
    EVENT_TYPE_REQUESTED,
    EVENT_TYPE_STARTED,
    EVENT_TYPE_STATE_CHANGED,
    TelemetryEvent,
)
from reelmesh.telemetry.v1.record_pb2 import DeliveryRecord, TelemetryRecord
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
    """Read all telemetry."""
    return map(TelemetryRecord.FromString, values_of(config, TELEMETRY))


def values_of(config: Config, topic: str) -> Iterator[bytes]:
    """Read a whole topic."""
    consumer = Consumer({**connection(config.kafka), "group.id": "test-telemetry", "enable.auto.commit": False})
    try:
        partitions = list(consumer.list_topics(topic, 20).topics[topic].partitions)
        ends = {n: consumer.get_watermark_offsets(TopicPartition(topic, n), 20) for n in partitions}
        left = {n for n, (low, high) in ends.items() if high > low}
        consumer.assign([TopicPartition(topic, n, ends[n][0]) for n in left])
        while left:
            message = consumer.poll(20)
            assert message is not None
            assert message.error() is None
            yield message.value() or b""
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


def reasons(answer: pb.ReportResponse) -> list[tuple[int, str]]:
    return [(each.index, each.reason) for each in answer.refusals]


def test_bad_input_is_refused_by_event_and_the_rest_is_kept(viewing: Viewing, telemetry: Any) -> None:
    now, day = now_ms(), 86_400_000
    first = event(0)
    wrong = {
        "CLOCK_SKEWED": event(1, now + 3 * day),
        "EVENT_TOO_LATE": event(2, now - 3 * day),
        "NEGATIVE": event(3, watch_ms=-5),
        "NOT_FINITE": event(4, playback_rate=math.nan),
        "OUT_OF_RANGE": event(5, stall_ms=1 << 60),
        "SEQUENCE_REPEATED": event(0),
        "SEQUENCE_INVALID": event(-1),
        "TEXT_TOO_LONG": event(6, rendition="x" * 1000),
        "EVENT_ID_INVALID": TelemetryEvent(event_id=b"x", event_time_ms=now, sequence=7, type=EVENT_TYPE_HEARTBEAT),
        "TYPE_UNKNOWN": event(8, state=99),
    }
    last = event(12)
    answer = telemetry.Report(viewing.batch(first, *wrong.values(), last), timeout=CALL_SECONDS)
    assert reasons(answer) == list(enumerate(wrong, start=1))
    assert answer.accepted == 2
    assert [(gap.first, gap.last) for gap in answer.gaps] == [(1, 11)]
    assert abs(answer.server_time_ms - now_ms()) < 60_000
    assert viewing.events() == [first, last]
    skewed = telemetry.Report(viewing.batch(event(13), event(14), sent_time_ms=now - 3 * day), timeout=CALL_SECONDS)
    assert reasons(skewed) == [(0, "CLOCK_SKEWED"), (1, "CLOCK_SKEWED")]


def test_batches_that_are_refused_as_a_whole(config: Config, viewing: Viewing, telemetry: Any) -> None:
    other = Viewing(config)
    large = [event(n, rendition="x" * 11_000) for n in range(1000)]
    expired = KeyRing.load(config.playback.media_keys).sign(
        {"iss": "reelmesh.playback", "aud": "telemetry", "sub": viewing.session, "exp": 1, "video": viewing.video}
        | {"viewer": "", "country": "", "experiments": []}
    )
    cases = {
        "BATCH_TOO_LARGE": viewing.batch(*large),
        "SESSION_FOREIGN": viewing.batch(event(0), session=other.session),
        "TELEMETRY_TOKEN_INVALID": viewing.batch(event(0), token="nonsense"),  # noqa: S106 - it is none
        "TELEMETRY_TOKEN_EXPIRED": viewing.batch(event(0), token=expired),
        "INVALID_REQUEST": viewing.batch(event(0), client=pb.Client(device="toaster")),
    }
    assert cases["BATCH_TOO_LARGE"].ByteSize() > 10 << 20
    for reason, request in cases.items():
        assert refused(lambda: telemetry.Report(request, timeout=CALL_SECONDS)).reason == reason  # noqa: B023
    assert refused(lambda: telemetry.Report(viewing.batch(*large, *large), timeout=CALL_SECONDS)).code in {
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNKNOWN,
    }
    assert viewing.events() == other.events() == []


def test_a_batch_at_its_bounds_is_taken(viewing: Viewing, telemetry: Any) -> None:
    text = "\U0001f3ac" * 64
    batch = viewing.batch(*(event(n, rendition=text, cdn=text, error_code=text) for n in range(1000)))
    sent = 1000
    while batch.ByteSize() > 1 << 20:
        sent -= 1
        del batch.events[sent]
    whole = [*batch.events]
    assert telemetry.Report(batch, timeout=CALL_SECONDS).accepted == sent > 900
    assert viewing.events() == whole


def test_an_app_streams_its_batches(viewing: Viewing, telemetry: Any) -> None:
    batches = [viewing.batch(event(n), event(n, watch_ms=-1)) for n in range(5)]
    answer = telemetry.Stream(iter(pb.StreamRequest(batch=each) for each in batches), timeout=CALL_SECONDS)
    assert (answer.batches, answer.accepted, dict(answer.refused)) == (5, 5, {"NEGATIVE": 5})
    assert viewing.events() == [each.events[0] for each in batches]


def beacon(viewing: Viewing, *events: TelemetryEvent | dict[str, Any], **fields: Any) -> str:
    written = [json_format.MessageToDict(each) if isinstance(each, TelemetryEvent) else each for each in events]
    return json.dumps({"consent": "CONSENT_GRANTED", "events": written, **fields})


def test_a_page_that_is_left_sends_a_beacon(stack: Stack, viewing: Viewing, nobody: Platform) -> None:
    url = f"{stack.plan.gateway_url}/v1/telemetry:report?token={viewing.token}"
    page = {"origin": "https://elsewhere.example", "content-type": "text/plain;charset=UTF-8"}
    good = event(0)
    changes: list[dict[str, Any]] = [{"volume": 11}, {"watchMs": "NaN"}, {"watchMs": -3}]
    wrong = [{**json_format.MessageToDict(event(n)), **each} for n, each in enumerate(changes, start=1)]
    answer = nobody.http.post(url, content=beacon(viewing, good, *wrong), headers=page)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["access-control-allow-origin"] in {"*", page["origin"]}
    told = answer.json()
    assert told["accepted"] == 1
    assert [(each["index"], each["reason"], each["field"]) for each in told["refusals"]] == [
        (1, "UNKNOWN_KEY", "volume"),
        (2, "NOT_FINITE", "watch_ms"),
        (3, "NEGATIVE", "watch_ms"),
    ]
    [record] = viewing.records()
    assert (list(record.events), record.source) == ([good], TelemetryRecord.SOURCE_BEACON)
    assert (record.country, list(record.experiments)) == ("NZ", ["skin:dark"])
    assert record.network.endswith((".0/24", "/48"))


@pytest.mark.parametrize(
    "kind", ["application/json", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", ""]
)
def test_beacons_of_every_kind_are_judged(stack: Stack, viewing: Viewing, nobody: Platform, kind: str) -> None:
    url = f"{stack.plan.gateway_url}/v1/telemetry:report"
    headers = {"content-type": kind} if kind else {}
    cases: list[tuple[str, int, str]] = [
        (beacon(viewing, event(0), token=viewing.token), 200, ""),
        ("no json", 400, "JSON_INVALID"),
        (beacon(viewing, event(0)), 401, "TELEMETRY_TOKEN_INVALID"),
        (beacon(viewing, event(0), token=viewing.token, session=viewing.session[:-4] + "ffff"), 403, "SESSION_FOREIGN"),
        (beacon(viewing, event(0), token=viewing.token, client={"player": "x" * 100}), 400, "INVALID_REQUEST"),
        (beacon(viewing, token=viewing.token) + " " * (10 << 20), 400, "BATCH_TOO_LARGE"),
        (beacon(viewing, token=viewing.token) + " " * (13 << 20), 413, "REQUEST_TOO_LARGE"),
    ]
    for body, status, reason in cases:
        answer = nobody.http.post(url, content=body.encode(), headers=headers)
        assert answer.status_code == status, answer.text
        assert (answer.json()["details"][0]["reason"] if reason else "") == reason
    assert len(viewing.events()) == 1


def test_pages_elsewhere_may_post(stack: Stack, nobody: Platform) -> None:
    asks = {
        "origin": "https://elsewhere.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    for path in ("report", "cmcd"):
        answer = nobody.http.options(f"{stack.plan.gateway_url}/v1/telemetry:{path}", headers=asks)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] in {"*", asks["origin"]}
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert "content-type" in answer.headers["access-control-allow-headers"]


def test_a_player_posts_cmcd(stack: Stack, config: Config, viewing: Viewing, nobody: Platform) -> None:
    url = f"{stack.plan.gateway_url}/v1/telemetry:cmcd?token={viewing.token}&consent=CONSENT_GRANTED"
    headers = {"content-type": "application/cmcd", "origin": "https://elsewhere.example"}
    start, sid = now_ms() - 60_000, uuid.uuid4()
    lines = [
        f'cid="false",e=t,sid="{sid}",sn=0,ts={start},v=2',
        f'cid="false",e=ps,sf=d,sid="{sid}",sn=1,st=v,sta=p,ts={start + 500},v=2',
        f'br=(3000),cid="false",e=bc,msd=480,sf=d,sid="{sid}",sn=2,st=v,sta=p,ts={start + 1500},v=2',
        f'br=(3000),cid="false",e=t,sf=d,sid="{sid}",sn=3,st=v,sta=p,ts={start + 11_500},v=2',
    ]
    for _ in range(2):
        answer = nobody.http.post(url, content="\n".join(lines) + "\n", headers=headers)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["access-control-allow-origin"] in {"*", headers["origin"]}
    events = viewing.events()
    assert [(each.sequence, each.type, each.watch_ms, each.startup_ms) for each in events] == [
        (0, EVENT_TYPE_REQUESTED, 0, 0),
        (1, EVENT_TYPE_STATE_CHANGED, 0, 0),
        (2, EVENT_TYPE_STARTED, 1000, 480),
        (3, EVENT_TYPE_HEARTBEAT, 10_000, 0),
    ]
    foreign = Viewing(config)
    wrong = [f'e=t,sid="{foreign.id}",sn=4,ts={now_ms()},v=2', f"e=t,zz=1,sn=5,ts={now_ms()},v=2"]
    answer = nobody.http.post(url, content="\n".join(wrong), headers=headers)
    assert [each["reason"] for each in answer.json()["refusals"]] == ["SESSION_FOREIGN", "UNKNOWN_KEY"]
    assert viewing.events() == events


def test_edges_send_their_logs(config: Config, viewing: Viewing, telemetry: Any) -> None:
    path = f"/media/default/{viewing.video.rpartition('/')[2]}/{uuid.uuid4()}/v720/1.m4s"
    line = pb.DeliveryLine(request_time_ms=now_ms(), uri=f"{path}?CMCD=br%3D3200%2Cot%3Dv", status=200, bytes=7)
    request = pb.ReportDeliveriesRequest(cdn=f"edge-{viewing.id}", lines=[line, pb.DeliveryLine(status=1)])
    assert refused(lambda: telemetry.ReportDeliveries(request, timeout=CALL_SECONDS)).reason == "SIGN_IN_REQUIRED"
    claims = {"iss": "reelmesh", "aud": "reelmesh", "sub": "users/1", "exp": now_ms() // 1000 + 60, "operator": True}
    signed = (("authorization", f"Bearer {KeyRing.load(config.identity.keys).sign(claims)}"),)
    answer = telemetry.ReportDeliveries(request, timeout=CALL_SECONDS, metadata=signed)
    assert (answer.accepted, [each.reason for each in answer.refusals]) == (1, ["EVENT_TOO_LATE"])
    records = [DeliveryRecord.FromString(value) for value in values_of(config, DELIVERIES)]
    stored = [each for record in records if record.cdn == request.cdn for each in record.deliveries]
    assert [(each.path, each.bitrate_kbps) for each in stored] == [(path, 3200)]


def test_without_kafka_nothing_is_accepted_and_nothing_is_lost(stack: Stack, viewing: Viewing, telemetry: Any) -> None:
    sent = [event(n) for n in range(6)]
    assert telemetry.Report(viewing.batch(*sent[:2]), timeout=CALL_SECONDS).accepted == 2
    stack.stop_process("kafka")
    try:
        for deadline in (CALL_SECONDS, 2.0):
            began = time.monotonic()
            with pytest.raises(grpc.RpcError) as caught:
                telemetry.Report(viewing.batch(*sent[2:4]), timeout=deadline)
            took = time.monotonic() - began
            assert problem_of(caught.value).reason == "BROKER_UNAVAILABLE"
            status, retry = rpc_status.from_call(cast("Any", caught.value)), error_details_pb2.RetryInfo()
            assert status is not None
            assert any(detail.Unpack(retry) for detail in status.details)
            assert retry.retry_delay.ToTimedelta().total_seconds() == 1
            assert took < min(deadline, 6)
    finally:
        stack.start_process("kafka")
    again = eventually(lambda: telemetry.Report(viewing.batch(*sent[2:]), timeout=CALL_SECONDS), "Kafka again")
    assert again.accepted == 4
    assert viewing.events() == sent
