"""An audience that counts for itself, and the platform that counts it: in peace, and while its processes are killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from e2e_world import ended, eventually, send, video_named

from reelmesh.catalog.v1.video_pb2 import Video
from reelmesh.transcode.v1.job_pb2 import Job
from reelmesh_tools.bench import faults
from reelmesh_tools.client import following
from reelmesh_tools.client.platform import Platform

pytestmark = [pytest.mark.stack, pytest.mark.timeout(280)]

Run = Callable[..., dict[str, Any]]
Clip = Callable[..., Path]
COUNTS = ("distinct_events", "views")
TIMES = ("watch_seconds", "stall_seconds")
TABLES = ("raw", "minutes", "hours", "days", "facets_hours", "facets_days", "sessions")


@pytest.fixture(scope="module")
def film(stack: object, clip: Clip) -> Callable[[Platform], None]:
    """Make sure that there is something to watch."""

    def make(platform: Platform) -> None:
        upload = send(platform, clip(20), "Watched by many")
        assert ended(platform, following.job_of(platform, upload.name)).state == Job.STATE_READY
        eventually(lambda: video_named(platform, upload.video).state == Video.STATE_READY, "the catalog says ready")

    return make


def test_the_audit_counts_what_the_audience_counted(
    platform: Platform, reelmesh: Run, film: Callable[[Platform], None]
) -> None:
    film(platform)
    before = reelmesh("analytics", "audit")
    told = reelmesh("simulate", "--viewers", "60", "--minutes", "20", "--seed", "11")
    assert (told["refused"], told["sampled_out"], told["not_entitled"]) == (0, 0, 0)
    assert told["events_sent"] > told["distinct_events"] > told["views"] >= 60
    assert told["watch_seconds"] > 0
    after = reelmesh("analytics", "audit")
    for table in TABLES:
        for name in COUNTS:
            assert after[table][name] - before[table][name] == told[name], (table, name)
        for name in TIMES:
            assert after[table][name] - before[table][name] == pytest.approx(told[name], abs=0.0005), (table, name)
    if not told["retries"]:
        assert after["raw"]["events_sent"] - before["raw"]["events_sent"] == told["events_sent"]


def test_the_same_seed_measures_the_same(platform: Platform, reelmesh: Run, film: Callable[[Platform], None]) -> None:
    film(platform)
    one, same = (reelmesh("simulate", "--viewers", "5", "--minutes", "3", "--seed", "4") for _ in range(2))
    differing = {"seconds", "retries"}
    assert {k: v for k, v in one.items() if k not in differing} == {k: v for k, v in same.items() if k not in differing}
    live = reelmesh("simulate", "--viewers", "20", "--minutes", "1", "--seed", "4", "--speed", "10", "--burst")
    assert live["views"] >= 20
    assert live["seconds"] > 0.5, "time passed"


@pytest.mark.timeout(400)  # a platform of its own, and three restarts
def test_nothing_is_lost_or_doubled_when_processes_die() -> None:
    found = faults.measure(60_000, 5, lambda _: None, ("analytics", "telemetry", "kafka"), batch=50)
    assert found["differences"] == []
    assert {kill["process"] for kill in found["kills"]} == {"analytics", "telemetry", "kafka"}
    assert found["sender"]["sent"]["events"] == 60_000
    assert found["sender"]["events_sent"] > 60_000, "some were sent twice on purpose"
    assert found["recount"]["received"] >= found["sender"]["events_sent"]
