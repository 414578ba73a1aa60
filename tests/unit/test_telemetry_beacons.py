"""Beacons: JSON of which one event may be wrong without the others being lost."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.protobuf import json_format
from telemetry_fakes import NOW_MS, batch, event, uuid7

from reelmesh.mesh.errors import DomainError
from reelmesh.telemetry.beacons import read
from reelmesh.telemetry.v1.event_pb2 import EventType, TelemetryEvent


def written(**changes: Any) -> dict[str, Any]:
    """Write an event as a page does."""
    good = {
        "eventId": base64.b64encode(uuid7(NOW_MS)).decode(),
        "eventTimeMs": NOW_MS,
        "sequence": 1,
        "type": "EVENT_TYPE_HEARTBEAT",
    }
    return {**good, **changes}


def test_what_protobuf_writes_is_read() -> None:
    sent = batch(event(0, playback_rate=1.5, cdn="edge"), event(1), sent_time_ms=NOW_MS, session="x")
    for names in (True, False):
        body = json_format.MessageToJson(sent, preserving_proto_field_name=names).encode()
        beacon = read(body, "")
        assert beacon.request == sent
        assert (beacon.positions, beacon.refused) == ([0, 1], [])


def test_a_token_may_stand_beside_the_body() -> None:
    found = [read(body, "beside").request.token for body in (b"{}", b'{"token": "inside"}')]
    assert found == ["beside", "inside"]


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"volume": 11}, "UNKNOWN_KEY", "volume"),
        ({"watchMs": "NaN"}, "NOT_FINITE", "watch_ms"),
        ({"watchMs": float("nan")}, "NOT_FINITE", "watch_ms"),
        ({"playbackRate": "Infinity"}, "NOT_FINITE", "playback_rate"),
        ({"playbackRate": float("-inf")}, "NOT_FINITE", "playback_rate"),
        ({"playbackRate": "fast"}, "VALUE_UNREADABLE", "playback_rate"),
        ({"playbackRate": True}, "VALUE_UNREADABLE", "playback_rate"),
        ({"playbackRate": []}, "VALUE_UNREADABLE", "playback_rate"),
        ({"watchMs": "long"}, "VALUE_UNREADABLE", "watch_ms"),
        ({"watchMs": 1.5}, "VALUE_UNREADABLE", "watch_ms"),
        ({"watchMs": True}, "VALUE_UNREADABLE", "watch_ms"),
        ({"watchMs": {}}, "VALUE_UNREADABLE", "watch_ms"),
        ({"watchMs": 1 << 63}, "OUT_OF_RANGE", "watch_ms"),
        ({"watchMs": -(1 << 63) - 1}, "NEGATIVE", "watch_ms"),
        ({"type": "EVENT_TYPE_DANCED"}, "TYPE_UNKNOWN", "type"),
        ({"type": 99}, "TYPE_UNKNOWN", "type"),
        ({"eventId": "*"}, "VALUE_UNREADABLE", "event_id"),
        ({"eventId": 5}, "VALUE_UNREADABLE", "event_id"),
        ({"rendition": 720}, "VALUE_UNREADABLE", "rendition"),
        ({"rendition": "\ud800"}, "VALUE_UNREADABLE", ""),
    ],
    ids=str,
)
def test_a_wrong_event_is_refused_and_its_neighbours_are_not(change: dict[str, Any], reason: str, field: str) -> None:
    body = json.dumps({"events": [written(), written(**change), written(sequence=2)]}).encode()
    beacon = read(body, "")
    assert [(each.index, each.reason, each.field) for each in beacon.refused] == [(1, reason, field)]
    assert beacon.positions == [0, 2]
    assert [each.sequence for each in beacon.request.events] == [1, 2]


def test_numbers_may_be_written_in_every_way_that_protobuf_allows() -> None:
    body = json.dumps({"events": [written(watchMs="7", stallMs=8.0, type=3, playbackRate="1.25", cdn=None)]}).encode()
    [found] = read(body, "").request.events
    assert (found.watch_ms, found.stall_ms, found.type) == (7, 8, EventType.EVENT_TYPE_HEARTBEAT)
    assert (found.playback_rate, found.cdn) == (1.25, "")


def test_ids_may_be_base64_of_either_alphabet() -> None:
    id_ = bytes([0xFB, 0xFF]) * 8
    for text in (base64.b64encode(id_), base64.urlsafe_b64encode(id_), base64.urlsafe_b64encode(id_).rstrip(b"=")):
        [found] = read(json.dumps({"events": [written(eventId=text.decode())]}).encode(), "").request.events
        assert found.event_id == id_


def test_an_event_that_is_no_object_is_refused() -> None:
    beacon = read(b'{"events": [null, 5, {}, []]}', "")
    assert [(each.index, each.reason) for each in beacon.refused] == [(n, "VALUE_UNREADABLE") for n in (0, 1, 3)]
    assert list(beacon.request.events) == [TelemetryEvent()]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"events": {}}',
        b'{"unknown": 1}',
        b'{"sentTimeMs": "x"}',
        b"[" * 9999,
    ],
)
def test_what_is_no_request_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(DomainError) as caught:
        read(body, "")
    assert caught.value.reason == "JSON_INVALID"


def test_beacons_have_bounds() -> None:
    for body in (b" " * ((1 << 20) + 1), json.dumps({"events": [{}] * 1001}).encode()):
        with pytest.raises(DomainError) as caught:
            read(body, "")
        assert caught.value.reason == "BATCH_TOO_LARGE"
