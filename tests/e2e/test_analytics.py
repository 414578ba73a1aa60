"""Reports on the whole platform: what players told the gateway comes back by the command line."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pyarrow
import pytest
from e2e_world import refused

from reelmesh.analytics.v1 import analytics_service_pb2 as pb
from reelmesh.mesh.config import Config
from reelmesh.mesh.keys import KeyRing
from reelmesh.telemetry.v1 import event_pb2 as events
from reelmesh.telemetry.v1 import telemetry_service_pb2 as telemetry_pb
from reelmesh.telemetry.v1.telemetry_service_pb2_grpc import TelemetryServiceStub
from reelmesh_tools.client.platform import CALL_SECONDS, Platform
from reelmesh_tools.stack.client import Stack

pytestmark = [pytest.mark.stack]

VIDEO = "organizations/default/videos/0198c0de-0000-7000-8000-0000000000aa"
COUNTRIES = ["NZ", "AQ"]  # where no other test watches
BEATS = 5


def uuid7(milliseconds: int) -> bytes:
    made = bytearray(milliseconds.to_bytes(6) + os.urandom(10))
    made[6], made[8] = made[6] & 0x0F | 0x70, made[8] & 0x3F | 0x80
    return bytes(made)


@dataclass(slots=True)
class Viewing:
    """A viewing of two minutes ago, as playback would have begun it."""

    config: Config
    country: str
    viewer: str
    begun: int = field(default_factory=lambda: time.time_ns() // 1_000_000 - 120_000)

    def batch(self, *, ends: bool = True) -> telemetry_pb.ReportRequest:
        session = uuid.UUID(bytes=uuid7(self.begun))
        claims = {
            "iss": "reelmesh.playback",
            "aud": "telemetry",
            "sub": f"organizations/default/sessions/{session}",
            "exp": time.time_ns() // 10**9 + 3600,
            "video": VIDEO,
            "viewer": self.viewer,
            "country": self.country,
            "experiments": ["skin:dark"],
        }
        token = KeyRing.load(self.config.playback.media_keys).sign(claims)
        request = telemetry_pb.ReportRequest(token=token, consent=telemetry_pb.CONSENT_GRANTED)
        request.events.extend(self._events(ends=ends))
        return request

    def _events(self, *, ends: bool) -> Iterator[events.TelemetryEvent]:
        def event(sequence: int, seconds: int, kind: events.EventType.ValueType, **told: Any) -> events.TelemetryEvent:
            at = self.begun + seconds * 1000
            return events.TelemetryEvent(
                event_id=uuid7(at), event_time_ms=at, sequence=sequence, type=kind, rendition="720p", **told
            )

        yield event(0, 0, events.EVENT_TYPE_REQUESTED)
        yield event(1, 1, events.EVENT_TYPE_STARTED, startup_ms=800)
        for beat in range(BEATS):
            yield event(
                beat + 2,
                11 + beat * 10,
                events.EVENT_TYPE_HEARTBEAT,
                watch_ms=9500,
                stall_ms=500,
                stalls=1,
                watch_total_ms=9500 * (beat + 1),
                stall_total_ms=500 * (beat + 1),
                stalls_total=beat + 1,
                watched_from_ms=9500 * beat,
                position_ms=9500 * (beat + 1),
                bitrate_kbps=3000,
            )
        if ends:
            watched = {"watch_total_ms": 9500 * BEATS, "stall_total_ms": 500 * BEATS, "stalls_total": BEATS}
            yield event(BEATS + 2, 12 + BEATS * 10, events.EVENT_TYPE_ENDED, **watched)


@pytest.fixture(scope="module")
def seen(stack: Stack, config: Config, reelmesh: Callable[..., dict[str, Any]]) -> list[str]:
    """Viewings by two in one country and by one in another, told and counted; returns their sessions."""
    door = TelemetryServiceStub(grpc.insecure_channel(stack.plan.gateway_url.removeprefix("http://")))
    for country, viewer in [("NZ", "users/ann"), ("NZ", "users/bob"), ("AQ", "users/cid")]:
        batch = Viewing(config, country, viewer).batch()
        for _ in range(2):  # every batch comes twice
            assert not door.Report(batch, timeout=CALL_SECONDS).refusals
    reelmesh("analytics", "audit")  # waits until all that has come is counted
    found = reelmesh("analytics", "sessions", "--where", f"country={','.join(COUNTRIES)}")["sessions"]
    assert len(found) == 3
    return [each["session"] for each in found]


def test_a_report_is_printed_by_country(reelmesh: Callable[..., dict[str, Any]], seen: list[str]) -> None:
    metrics = "views,watch,stall,viewers,startup_ms_mean,rebuffering,rebuffers,bitrate,score,events"
    told = reelmesh(
        *("analytics", "report", "--metric", metrics, "--group-by", "country,experiment"),
        *("--where", f"country={','.join(COUNTRIES)}", "--order", "views"),
    )
    assert told["fresh_time"]
    two, one = told["rows"]
    assert (two["country"], one["country"], one["experiment"]) == ("NZ", "AQ", "skin:dark")
    assert (two["views"], two["unique_viewers"], two["watch_seconds"]) == (2, 2, 2 * BEATS * 9.5)
    assert (one["views"], one["stall_seconds"], one["events"]) == (1, BEATS * 0.5, BEATS + 3)
    assert one["startup_ms_mean"] == 800
    assert one["rebuffer_ratio"] == pytest.approx(0.05)
    assert one["rebuffers_per_view"] == BEATS
    assert one["average_bitrate_kbps"] == 3000
    assert one["score"] == pytest.approx(100 * 0.5**0.1 * 2.718281828459045**-0.4)


def test_a_curve_and_a_viewing_are_printed(reelmesh: Callable[..., dict[str, Any]], seen: list[str]) -> None:
    curve = reelmesh("analytics", "retention", VIDEO)
    assert curve["starts"] == 3
    assert len(curve["points"]) == int(BEATS * 9.5)
    assert {point["plays"] for point in curve["points"]} == {3}
    told = reelmesh("analytics", "session", seen[0])
    assert told["session"]["outcome"] == "OUTCOME_ENDED"
    assert told["session"]["watch"] == "47.500s"
    assert [int(event["sequence"]) for event in told["events"]] == list(range(BEATS + 3))
    unknown = reelmesh("analytics", "session", str(uuid.uuid4()), code=1)
    assert unknown["error"]["reason"] == "SESSION_UNKNOWN"


def test_tables_agree(reelmesh: Callable[..., dict[str, Any]], seen: list[str]) -> None:
    told = reelmesh("analytics", "audit")
    assert set(told) == {"raw", "minutes", "hours", "days", "facets_hours", "facets_days", "sessions"}
    raw = told["raw"]
    assert raw["events_sent"] >= raw["distinct_events"] + 3 * (BEATS + 3)
    for figures in told.values():
        assert {**figures, "events_sent": 0} == pytest.approx({**raw, "events_sent": 0})


def test_exports_are_files(reelmesh: Callable[..., dict[str, Any]], seen: list[str], tmp_path: Path) -> None:
    where = ("--where", f"country={','.join(COUNTRIES)}")
    told = reelmesh(
        *("analytics", "export", "metrics", "--out", str(tmp_path / "a.arrow"), "--group-by", "country", *where)
    )
    table = pyarrow.ipc.open_stream((tmp_path / "a.arrow").read_bytes()).read_all()
    assert told["rows"] == table.num_rows == 2
    assert table["country"].to_pylist() == ["AQ", "NZ"]
    told = reelmesh("analytics", "export", "events", "--format", "csv", "--out", str(tmp_path / "a.csv"))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text())))
    assert told["rows"] == len(rows)
    sessions = {each.rpartition("/")[2] for each in seen}
    assert sum(row["session"] in sessions for row in rows) == 3 * (BEATS + 3)


def test_live_streams_tell_what_goes_on(stack: Stack, config: Config, platform: Platform, seen: list[str]) -> None:
    door = TelemetryServiceStub(grpc.insecure_channel(stack.plan.gateway_url.removeprefix("http://")))
    tail = platform.analytics.TailEvents(pb.TailEventsRequest(parent=platform.parent), timeout=60)
    assert not next(iter(tail)).events
    now = time.time_ns() // 1_000_000 - (11 + BEATS * 10) * 1000
    door.Report(Viewing(config, "NZ", "users/dan", now).batch(ends=False), timeout=CALL_SECONDS)
    told = next(answer.events for answer in tail if any(event.country == "NZ" for event in answer.events))
    tail.cancel()
    assert [event.sequence for event in told if event.country == "NZ"] == list(range(BEATS + 2))
    watching = platform.analytics.WatchConcurrents(
        pb.WatchConcurrentsRequest(parent=platform.parent, video=VIDEO), timeout=60
    )
    assert next(count for count in watching if count.viewings).viewings == 1
    watching.cancel()


def test_live_streams_are_printed_until_there_are_enough(stack: Stack, seen: list[str]) -> None:
    port = stack.plan.gateway_url.rsplit(":", 1)[-1]
    environment = {**os.environ, "REELMESH_HOME": str(stack.layout.home), "REELMESH_PORT": port}
    command = [sys.executable, "-m", "reelmesh_tools.cli", "analytics", "live", "--updates", "2", "--json"]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert len(answer.stdout.splitlines()) == 2


def test_reports_are_for_editors_and_exports_of_events_for_owners(nobody: Platform) -> None:
    parent = "organizations/default"
    calls = [
        lambda: nobody.analytics.ListSessions(pb.ListSessionsRequest(parent=parent), timeout=CALL_SECONDS),
        lambda: list(nobody.analytics.ExportEvents(pb.ExportEventsRequest(parent=parent), timeout=CALL_SECONDS)),
        lambda: list(nobody.analytics.TailEvents(pb.TailEventsRequest(parent=parent), timeout=CALL_SECONDS)),
    ]
    for call in calls:
        assert refused(call).code is grpc.StatusCode.UNAUTHENTICATED


def test_a_viewer_is_forgotten(reelmesh: Callable[..., dict[str, Any]], seen: list[str]) -> None:
    assert reelmesh("analytics", "erase-viewer", "users/cid", "--yes")["events"] == BEATS + 3
    left = reelmesh("analytics", "report", "--where", "country=AQ", "--metric", "views", "--group-by", "country")
    assert left["rows"] == []
    assert reelmesh("analytics", "erase-viewer", "users/cid", "--yes")["events"] == 0
