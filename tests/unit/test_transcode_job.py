"""The state machine of a job."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reelmesh.media.v1.media_pb2 import Segment, Track
from reelmesh.mesh.names import JobName, UploadName, VideoName
from reelmesh.transcode import job as jobs
from reelmesh.transcode.errors import JobEnded, JobNotFailed, TaskObsolete
from reelmesh.transcode.job import Job, Source, State, Task, TaskState
from reelmesh.transcode.plan import Plan
from reelmesh.worker.v1.task_pb2 import Encoded, EncodedTrack, Failure

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ID = "01920000-0000-7000-8000-000000000000"
LIMIT = timedelta(minutes=5)


def new_job() -> Job:
    return jobs.new(JobName("acme", ID), Source(UploadName("acme", ID), VideoName("acme", ID), "source"), NOW, LIMIT)


def planned_job(chunks: int = 3) -> Job:
    tracks = (Track(id="v720"), Track(id="a0"))
    plan = Plan(tracks=tracks, tasks=(), origin=0.0, duration=12.0, frames=300)
    tasks = [Task("audio-0", 1, LIMIT), *(Task(f"video-{n}", n + 2, LIMIT) for n in range(chunks))]
    return jobs.planned(new_job(), plan, 300, tasks, 100)


def made(track: str, *numbers: int, final: bool = True, init: bytes = b"i") -> Encoded:
    segments = [Segment(number=n) for n in numbers]
    gain = EncodedTrack(track=track, codec="c", init_sha256=init, segments=segments)
    return Encoded(tracks=[gain], final=final)


def begin(job: Job, task: str, record: str = "0/1", worker: str = "w") -> Job:
    return jobs.started(job, task, job.tasks[task].attempt, worker, record, NOW)


def test_a_job_begins_with_a_look_at_its_source() -> None:
    job = new_job()
    assert [task.id for task in jobs.to_queue(job, 8)] == [jobs.INSPECT]
    assert job.facts == []


def test_only_a_window_of_tasks_is_queued_in_order() -> None:
    job = planned_job(chunks=10)
    first = jobs.to_queue(job, 4)
    assert [task.id for task in first] == ["audio-0", "video-0", "video-1", "video-2"]
    for task in first:
        job = jobs.queued(job, task.id, NOW)
    assert jobs.to_queue(job, 4) == []
    job = jobs.encoded(begin(job, "audio-0"), "audio-0", made("a0", 0), 0, NOW)
    assert [task.id for task in jobs.to_queue(job, 4)] == ["video-3"]


def test_playable_when_every_track_has_its_first_segment() -> None:
    job = jobs.encoded(planned_job(), "audio-0", made("a0", 0, final=False), 0, NOW)
    assert job.playable_time is None
    job = jobs.encoded(job, "video-1", made("v720", 4, 5), 0, NOW)
    assert job.playable_time is None
    job = jobs.encoded(job, "video-0", made("v720", 0), 0, NOW)
    assert job.playable_time == NOW
    assert job.facts == ["planned", "playable"]
    assert {track.codec for track in job.tracks} == {"c"}


def test_chunks_that_do_not_fit_together_end_the_job() -> None:
    job = jobs.encoded(planned_job(), "video-0", made("v720", 0), 0, NOW)
    job = jobs.encoded(job, "video-1", made("v720", 1, init=b"other"), 0, NOW)
    assert (job.state, job.failure_reason) == (State.FAILED, "INIT_MISMATCH")


def test_the_queue_may_redeliver_a_dead_workers_task() -> None:
    job = begin(planned_job(), "video-0", record="0/7", worker="dead")
    job = begin(job, "video-0", record="0/7", worker="alive")
    assert (job.tasks["video-0"].worker, job.tasks["video-0"].deliveries) == ("alive", 2)
    assert job.redeliveries == 1


def test_no_two_workers_hold_one_task() -> None:
    job = begin(planned_job(), "video-0", record="0/7")
    with pytest.raises(TaskObsolete):
        begin(job, "video-0", record="0/8")


@pytest.mark.parametrize("state", [State.READY, State.FAILED, State.CANCELLED])
def test_nothing_begins_in_an_ended_job(state: State) -> None:
    job = replace(planned_job(), state=state)
    assert jobs.to_queue(job, 8) == []
    with pytest.raises(TaskObsolete):
        begin(job, "video-0")


def test_a_done_task_is_not_done_again() -> None:
    job = jobs.encoded(planned_job(), "video-0", made("v720", 0), 0, NOW)
    with pytest.raises(TaskObsolete):
        begin(job, "video-0")


def test_a_record_that_went_to_too_many_workers_is_queued_anew() -> None:
    job = planned_job()
    for _ in range(jobs.MAX_DELIVERIES):
        job = begin(job, "video-0", record="0/7")
    with pytest.raises(TaskObsolete):
        begin(job, "video-0", record="0/7")
    job = jobs.worn_out(job, "video-0", 1, NOW)
    task = job.tasks["video-0"]
    assert (task.state, task.attempt, task.deliveries) == (TaskState.WAITING, 2, 0)
    assert jobs.worn_out(job, "video-0", 1, NOW) == job


def test_a_task_that_kills_its_workers_ends_the_job() -> None:
    job = planned_job()
    for _ in range(jobs.MAX_ATTEMPTS):
        for _ in range(jobs.MAX_DELIVERIES):
            job = begin(job, "video-0")
        job = jobs.worn_out(job, "video-0", job.tasks["video-0"].attempt, NOW)
    assert (job.state, job.failure_reason, job.failure_task) == (State.FAILED, "TASK_LOST", "video-0")


def test_a_failure_is_retried_up_to_the_limit() -> None:
    failure = Failure(reason="ENCODE_FAILED", message="m", retryable=True)
    job = jobs.task_failed(begin(planned_job(), "video-0"), "video-0", failure, 3, NOW)
    assert (job.tasks["video-0"].state, job.tasks["video-0"].attempt) == (TaskState.WAITING, 2)
    job = jobs.task_failed(job, "video-0", failure, 3, NOW)
    job = jobs.task_failed(job, "video-0", failure, 3, NOW)
    assert (job.state, job.failure_reason) == (State.FAILED, "ENCODE_FAILED")


def test_a_fault_of_the_source_is_not_retried() -> None:
    job = jobs.task_failed(new_job(), jobs.INSPECT, Failure(reason="SOURCE_UNREADABLE"), 3, NOW)
    assert (job.state, job.failure_reason) == (State.FAILED, "SOURCE_UNREADABLE")


def test_a_task_that_nobody_answers_is_overdue() -> None:
    job = begin(planned_job(), "video-0")
    soon = NOW + LIMIT
    assert jobs.overdue(job, soon) == job
    late = jobs.overdue(job, NOW + LIMIT + jobs.ANSWER_GRACE + timedelta(seconds=1))
    assert (late.tasks["video-0"].state, late.tasks["video-0"].attempt) == (TaskState.WAITING, 2)


def test_a_task_that_the_queue_forgot_is_queued_again() -> None:
    job = jobs.queued(planned_job(), "video-0", NOW)
    late = jobs.overdue(job, NOW + jobs.QUEUE_LIMIT + timedelta(seconds=1))
    assert late.tasks["video-0"].state is TaskState.WAITING


def test_cancel_and_retry() -> None:
    job = jobs.cancelled(begin(planned_job(), "video-0"), NOW)
    assert jobs.cancelled(job, NOW) == job
    job = jobs.retried(replace(job, announced=frozenset({"planned", "ended"})))
    assert (job.state, job.announced) == (State.ENCODING, frozenset())
    assert {task.id: task.state for task in job.tasks.values()}[jobs.INSPECT] is TaskState.DONE
    assert job.tasks["video-0"].state is TaskState.WAITING
    with pytest.raises(TaskObsolete):  # the record of before the retry
        jobs.started(job, "video-0", 1, "w", "0/1", NOW)
    with pytest.raises(JobNotFailed):
        jobs.retried(job)
    with pytest.raises(JobEnded):
        jobs.cancelled(jobs.ready(job, NOW), NOW)
