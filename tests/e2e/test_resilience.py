"""Kills and outages in the middle of the work: nothing acknowledged is lost, and nothing is done by two at once."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import environment_of
from e2e_world import (
    ended,
    eventually,
    job_named,
    log_of,
    raw_sha256,
    send,
    upload_named,
    upload_of_file,
    video_named,
)

from reelmesh.catalog.v1.video_pb2 import Video
from reelmesh.ingest.v1.upload_pb2 import Upload
from reelmesh.transcode.v1.job_pb2 import Job
from reelmesh_tools.client import following
from reelmesh_tools.client.platform import Platform
from reelmesh_tools.stack.client import Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(280)]

Run = Callable[..., dict[str, Any]]
Clip = Callable[..., Path]

MIB = 1 << 20
WORKERS = ("worker-1", "worker-2")
KILLS = 10
OUTAGE_SECONDS = 20.0


@pytest.fixture(autouse=True)
def whole(stack: Stack) -> Iterator[None]:
    """Leave every process running and healthy to the next test."""
    yield
    for name in stack.plan.processes:
        stack.start_process(name)


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """A file that takes seconds to upload; its bytes differ everywhere, so that a part in the wrong place shows."""
    file = tmp_path / f"noise-{os.urandom(4).hex()}.mp4"
    chance = random.Random(7)  # noqa: S311 - noise, not a secret
    with file.open("wb") as out:
        for _ in range(384):
            out.write(chance.randbytes(MIB))
    return file


def sha256_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def uploader(stack: Stack, file: Path, until: str = "uploaded") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "reelmesh_tools.cli", "upload", str(file), "--until", until, "--json"]
    return subprocess.Popen(command, env=environment_of(stack), stdout=subprocess.PIPE, text=True)


def answer_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = process.communicate(timeout=200)
    assert process.returncode == 0, out
    answer: dict[str, Any] = json.loads(out)
    return answer


def say(**numbers: object) -> None:
    """Put what was measured where a person finds it (pytest -rP)."""
    sys.stdout.write(json.dumps(numbers) + "\n")


def test_an_upload_outlives_its_client(stack: Stack, platform: Platform, reelmesh: Run, noise: Path) -> None:
    process = uploader(stack, noise)
    upload = eventually(lambda: upload_of_file(platform, noise, 32 * MIB), "the upload is under way")
    process.kill()
    process.communicate()
    # The server makes durable what it had received; only then the size stands still.
    sizes = [-1]

    def settled() -> Upload | None:
        now = upload_named(platform, upload.name)
        sizes.append(now.persisted_size)
        return now if len(sizes) > 20 and len(set(sizes[-20:])) == 1 else None

    cut = eventually(settled, "the upload stands still")
    assert 0 < cut.persisted_size < noise.stat().st_size, "it was cut in the middle"

    made = reelmesh("upload", str(noise), "--until", "uploaded")
    assert made["upload"] == upload.name
    assert made["resumed_from"] == cut.persisted_size
    assert raw_sha256(stack, upload.name) == sha256_of(noise)
    say(client_killed_at=upload.persisted_size, resumed_from=made["resumed_from"], size=noise.stat().st_size)


def test_an_upload_outlives_its_server(stack: Stack, platform: Platform, noise: Path) -> None:
    process = uploader(stack, noise)
    upload = eventually(lambda: upload_of_file(platform, noise, 32 * MIB), "the upload is under way")
    before = stack.kill_process("ingest")
    killed = time.monotonic()
    eventually(lambda: stack.process("ingest").identity != before.identity, "the supervisor has seen it")
    again = eventually(
        lambda: now if (now := upload_named(platform, upload.name)).persisted_size else None, "ingest answers again"
    )
    answered = time.monotonic() - killed
    assert again.persisted_size >= upload.persisted_size, "what was durable stays so"
    eventually(lambda: upload_named(platform, upload.name).persisted_size > again.persisted_size, "bytes flow again")
    flowing = time.monotonic() - killed
    made = answer_of(process)
    assert (made["upload"], made["resumed_from"]) == (upload.name, 0), "the same run of the client went on"
    assert raw_sha256(stack, upload.name) == sha256_of(noise)
    say(ingest_killed_at=again.persisted_size, answers_after=answered, bytes_after=flowing)


@dataclass(frozen=True)
class Span:
    """A time in which a worker had a task."""

    task: str
    attempt: str
    record: str
    worker: str
    start: datetime
    end: datetime


def spans_of(stack: Stack, job: str, kills: dict[str, list[datetime]]) -> list[Span]:
    """Return who had which task when.

    The control says who was given a task; the worker says when it was done with it, or the time of its death does.
    """
    ends: dict[str, list[datetime]] = {name: list(times) for name, times in kills.items()}
    for name in WORKERS:
        ends[name] += [
            line.time
            for line in log_of(stack, name)
            if line.message.startswith("task ends:") and line.fields()["job"] == job
        ]
    found = []
    for line in log_of(stack, "control"):
        if line.message.startswith("task taken:") and (fields := line.fields())["job"] == job:
            name = fields["worker"].rsplit("/", 1)[-1]
            end = min((time for time in ends[name] if time >= line.time), default=datetime.max.replace(tzinfo=UTC))
            found.append(Span(fields["task"], fields["attempt"], fields["record"], name, line.time, end))
    return found


def overlaps(spans: list[Span]) -> list[tuple[Span, Span]]:
    return [
        (one, other)
        for one, other in itertools.combinations(spans, 2)
        if one.task == other.task and one.start < other.end and other.start < one.end
    ]


def encoding(stack: Stack, name: str) -> psutil.Process | None:
    """Return the encoder that a worker runs now, once it has worked for a moment."""
    identity = stack.process(name).identity
    if identity is None:
        return None
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(identity.pid).children(recursive=True):
            if "libx264" in child.cmdline() and sum(child.cpu_times()[:2]) > 0.3:
                return child
    return None


@pytest.mark.timeout(600)  # ten restarts beside a job of minutes, on a busy machine
def test_a_worker_dies_ten_times_over_one_job(stack: Stack, platform: Platform, reelmesh: Run, clip: Clip) -> None:
    job = following.job_of(platform, send(platform, clip(60, 1920, 1080)).name)
    kills: dict[str, list[datetime]] = {name: [] for name in WORKERS}
    struck: list[tuple[Span, datetime]] = []

    def kill(name: str) -> bool:
        encoder = encoding(stack, name)
        now = [span for span in spans_of(stack, job.name, kills) if span.worker == name]
        if encoder is None or not now or now[-1].end < datetime.max.replace(tzinfo=UTC):
            return False  # idle, or about to be
        before = stack.kill_process(name)
        kills[name].append(datetime.now(UTC))
        struck.append((now[-1], kills[name][-1]))
        eventually(lambda: stack.process(name).identity != before.identity, "the supervisor has seen it")
        eventually(lambda: not encoder.is_running(), "the encoder died with its worker")
        return True

    def strike() -> bool:
        assert job_named(platform, job.name).state in {Job.STATE_INSPECTING, Job.STATE_ENCODING}, "ended too early"
        return any(kill(name) for name in sorted(WORKERS, key=lambda each: len(kills[each])))

    for number in range(KILLS):
        eventually(strike, f"a worker encodes, for kill {number + 1}", 90)
    done = ended(platform, job)
    assert done.state == Job.STATE_READY, done.failure
    assert done.progress.redeliveries >= KILLS - 2, "a task may be done before the kill is counted"
    spans = spans_of(stack, job.name, kills)
    assert overlaps(spans) == []
    assert reelmesh("verify", done.video)["ok"]
    by_queue: list[float] = []
    anew: list[float] = []
    for victim, when in struck:
        later = [span for span in spans if span.task == victim.task and span.start > when]
        if later:
            wait = (min(span.start for span in later) - when).total_seconds()
            (by_queue if later[0].record == victim.record else anew).append(wait)
    assert len(by_queue) + len(anew) >= KILLS - 2
    say(
        kills={name: len(times) for name, times in kills.items()},
        tasks=done.progress.tasks,
        redeliveries=done.progress.redeliveries,
        # The queue hands a record on; one that five workers died of is queued anew, behind the others.
        taken_again_seconds=[min(by_queue), statistics.median(by_queue), max(by_queue)],
        queued_anew_seconds=anew,
    )


def test_the_control_dies_in_the_middle_of_a_job(stack: Stack, platform: Platform, reelmesh: Run, clip: Clip) -> None:
    job = following.job_of(platform, send(platform, clip(60)).name)
    eventually(lambda: job_named(platform, job.name).state == Job.STATE_ENCODING, "it encodes")
    began = time.monotonic()
    before = stack.kill_process("control")
    stack.wait_healthy("control", after=before)
    healthy = time.monotonic() - began
    done_before = eventually(lambda: job_named(platform, job.name), "the gateway sees it").progress.tasks_done
    went_on = eventually(
        lambda: now if (now := job_named(platform, job.name)).progress.tasks_done > done_before else None,
        "the restarted control takes results",
    )
    assert went_on
    progressed = time.monotonic() - began
    done = ended(platform, job)
    assert done.state == Job.STATE_READY, done.failure
    assert reelmesh("verify", done.video)["ok"]
    say(control_healthy_after=healthy, results_after=progressed)


@pytest.mark.parametrize("server", ["cassandra", "kafka"])
def test_a_server_is_away_during_a_job(
    stack: Stack, platform: Platform, reelmesh: Run, clip: Clip, tmp_path: Path, server: str
) -> None:
    job = following.job_of(platform, send(platform, clip(60, 1280, 720)).name)
    eventually(lambda: job_named(platform, job.name).progress.tasks_done >= 1, "it is under way")
    accepted = send(platform, clip())  # its event may not have been heard yet

    began = time.monotonic()
    stack.stop_process(server)
    file = tmp_path / "meanwhile.mp4"
    file.write_bytes(clip().read_bytes())
    meanwhile = uploader(stack, file, "ready")
    threading.Event().wait(OUTAGE_SECONDS - (time.monotonic() - began))  # the outage itself
    stack.start_process(server)
    back = time.monotonic()

    done = ended(platform, job)
    assert done.state == Job.STATE_READY, done.failure
    made = answer_of(meanwhile)
    other = ended(platform, following.job_of(platform, accepted.name))
    assert other.state == Job.STATE_READY
    for video in (done.video, made["video"], other.video):
        assert reelmesh("verify", video)["ok"]
        eventually(lambda v=video: video_named(platform, v).state == Video.STATE_READY, "the catalog knows")  # type: ignore[misc]
    healthy = {name: stack.process(name).restarts for name in stack.plan.processes}
    say(server=server, all_ready_after_return=round(time.monotonic() - back, 2), restarts=healthy)


def test_what_was_acknowledged_outlives_kafka_and_ingest(stack: Stack, platform: Platform, clip: Clip) -> None:
    """The answer was given and the event could not be published: it lies in the outbox when ingest dies."""
    stack.stop_process("kafka")
    upload = send(platform, clip())
    assert upload.state == Upload.STATE_SUCCEEDED
    before = stack.kill_process("ingest")
    stack.start_process("kafka")
    back = time.monotonic()
    stack.wait_healthy("ingest", after=before)
    job = following.job_of(platform, upload.name)
    say(job_after_kafka=round(time.monotonic() - back, 2))
    assert ended(platform, job).state == Job.STATE_READY


@pytest.mark.parametrize("server", ["kafka", "cassandra"])
def test_the_services_stop_at_once_whatever_is_missing(
    stack: Stack, platform: Platform, clip: Clip, server: str
) -> None:
    watched = following.job_of(platform, send(platform, clip(60)).name)
    watch = following.follow(platform, watched)
    next(watch)  # a stream without an end, which must not hold up the stop
    stack.stop_process(server)
    took = {}
    for name in ("control", "ingest", *WORKERS):
        began = time.monotonic()
        stack.stop_process(name)
        took[name] = round(time.monotonic() - began, 2)
        assert "did not leave" not in stack.layout.log(name).read_text()[-2000:], name
    say(without=server, stop_seconds=took)
    assert max(took.values()) < 12
    for name in (server, "control", "ingest", *WORKERS):
        stack.start_process(name)
    assert ended(platform, watched).state == Job.STATE_READY
