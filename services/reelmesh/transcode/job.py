"""The state machine of a job: what each fact changes. Pure: a job goes in, a job comes out.

The job itself says what is still to be told: tasks that are WAITING are to be queued, and facts that are not in
`announced` are to be published. So a crash between a change and its announcement loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum

from reelmesh.media.v1.media_pb2 import Track
from reelmesh.mesh.names import JobName, UploadName, VideoName
from reelmesh.transcode.errors import JobEnded, JobNotFailed, TaskObsolete
from reelmesh.transcode.plan import Plan
from reelmesh.worker.v1.task_pb2 import Encoded, Failure

INSPECT = "inspect"
"""The first task of every job."""
MAX_DELIVERIES = 5
"""Times that one queued record may go to a worker; the queue itself gives up at ten."""
MAX_ATTEMPTS = 8
"""Times that a task may be queued; one that kills its workers ends here."""
ANSWER_GRACE = timedelta(seconds=30)
"""Beyond a task's own limit before it counts as unanswered."""
QUEUE_LIMIT = timedelta(hours=1)
"""A task that nobody took for so long is queued again, should the queue have lost it."""


class State(Enum):
    """Where a job stands."""

    INSPECTING = "INSPECTING"
    ENCODING = "ENCODING"
    READY = "READY"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


ENDED = frozenset({State.READY, State.FAILED, State.CANCELLED})


class TaskState(Enum):
    """Where a task stands."""

    WAITING = "WAITING"
    """To be queued."""
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    DONE = "DONE"


@dataclass(frozen=True, slots=True)
class Task:
    """A unit of work, without its contents."""

    id: str
    order: int
    """Tasks are queued in this order."""
    time_limit: timedelta
    state: TaskState = TaskState.WAITING
    attempt: int = 1
    deliveries: int = 0
    """Times that this attempt went to a worker."""
    failures: int = 0
    """Times that a worker said that it failed."""
    worker: str = ""
    record: str = ""
    """The queue's record that the running worker holds."""
    since: datetime | None = None
    """When it was queued or taken."""

    def again(self) -> Task:
        """Return the task to be queued as a new attempt."""
        return replace(
            self, state=TaskState.WAITING, attempt=self.attempt + 1, deliveries=0, worker="", record="", since=None
        )


@dataclass(frozen=True, slots=True)
class Source:
    """What a finished upload is to become."""

    upload: UploadName
    video: VideoName
    manifest: str
    """Key of the SourceManifest in the raw store."""
    protected: bool = False
    """True when what is made of it is encrypted."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands."""

    name: JobName
    video: VideoName
    upload: UploadName
    source: str
    """Key of the SourceManifest in the raw store."""
    create_time: datetime
    tasks: Mapping[str, Task]
    protected: bool = False
    """True when its tracks are encrypted."""
    state: State = State.INSPECTING
    tracks: Sequence[Track] = ()
    duration: float = 0.0
    """Seconds; 0 until the source was looked at."""
    frames: int = 0
    """Frames of each rendition when it is complete."""
    source_frames: int = 0
    """Frames of the source's picture."""
    begun: frozenset[str] = frozenset()
    """Tracks whose first segment is durable."""
    inits: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each track's init segment."""
    failure_reason: str = ""
    failure_message: str = ""
    failure_task: str = ""
    bytes_read: int = 0
    redeliveries: int = 0
    playable_time: datetime | None = None
    end_time: datetime | None = None
    retries: int = 0
    """Times that someone went on with it after it had ended."""
    announced: frozenset[str] = frozenset()
    """Facts that were published: "planned", "playable", "ended"."""
    revision: int = 0

    @property
    def prefix(self) -> str:
        """Folder of the presentation in the media store."""
        return f"{self.name.organization}/{self.video.id}/{self.name.id}"

    @property
    def ended(self) -> bool:
        """True when nothing more will happen by itself."""
        return self.state in ENDED

    @property
    def facts(self) -> list[str]:
        """What is true of the job and others should know, in order."""
        facts = []
        if self.tracks:
            facts.append("planned")
        if self.playable_time is not None:
            facts.append("playable")
        if self.ended:
            facts.append("ended")
        return facts

    @property
    def all_done(self) -> bool:
        """True when every task is done."""
        return all(task.state is TaskState.DONE for task in self.tasks.values())


def _with_task(job: Job, task: Task) -> Job:
    return replace(job, tasks={**job.tasks, task.id: task})


def new(name: JobName, source: Source, now: datetime, inspect_limit: timedelta) -> Job:
    """Return a job that begins with a look at its source."""
    tasks = {INSPECT: Task(INSPECT, 0, inspect_limit)}
    return Job(name, source.video, source.upload, source.manifest, now, tasks, source.protected)


def started(job: Job, task_id: str, attempt: int, worker: str, record: str, now: datetime) -> Job:
    """A worker took a task from the queue. Raises TaskObsolete when it should drop it."""
    task = job.tasks.get(task_id)
    if job.ended or task is None or task.state is TaskState.DONE or task.attempt != attempt:
        raise TaskObsolete("the task is done, cancelled or queued anew")
    if task.state is TaskState.RUNNING and task.record != record:
        raise TaskObsolete("another worker is at it")
    if task.deliveries >= MAX_DELIVERIES:
        raise TaskObsolete("the record went to too many workers; the task is queued anew")
    redelivered = task.deliveries > 0 or task.attempt > 1
    taken = replace(
        task, state=TaskState.RUNNING, deliveries=task.deliveries + 1, worker=worker, record=record, since=now
    )
    return replace(_with_task(job, taken), redeliveries=job.redeliveries + redelivered)


def kept(job: Job, task_id: str, attempt: int, worker: str) -> None:
    """Let a worker go on with a task. Raises TaskObsolete when nobody waits for what it makes."""
    if not awaited(job, task_id, attempt):
        raise TaskObsolete("the task is done, cancelled or queued anew")
    if job.tasks[task_id].worker != worker:
        raise TaskObsolete("another worker is at it")


def worn_out(job: Job, task_id: str, attempt: int, now: datetime) -> Job:
    """Queue a task anew whose record went to too many workers, before the queue drops it. Others stay as they are."""
    task = job.tasks.get(task_id)
    if job.ended or task is None or task.attempt != attempt or task.deliveries < MAX_DELIVERIES:
        return job
    return _again(job, task, now)


def awaited(job: Job, task_id: str, attempt: int) -> bool:
    """True when that attempt's answer counts.

    One of an earlier attempt does not: a sound task answers in pieces, and those that came while the job had ended,
    before it was gone on with, are in no index.
    """
    task = job.tasks.get(task_id)
    return not job.ended and task is not None and task.state is not TaskState.DONE and task.attempt == attempt


def queued(job: Job, task_id: str, now: datetime) -> Job:
    """A task was published to the queue."""
    task = job.tasks[task_id]
    if task.state is not TaskState.WAITING:
        return job  # a worker was faster than this note
    return _with_task(job, replace(task, state=TaskState.QUEUED, since=now))


def to_queue(job: Job, window: int) -> list[Task]:
    """Return the tasks to be queued now, in order: at most `window` of a job are queued or running."""
    if job.ended:
        return []
    waiting = sorted((t for t in job.tasks.values() if t.state is TaskState.WAITING), key=lambda t: t.order)
    busy = sum(t.state in {TaskState.QUEUED, TaskState.RUNNING} for t in job.tasks.values())
    return waiting[: max(window - busy, 0)]


def planned(job: Job, plan: Plan, source_frames: int, tasks: Sequence[Task], bytes_read: int) -> Job:
    """The source was looked at, and this is what is to be made of it."""
    inspected = replace(job.tasks[INSPECT], state=TaskState.DONE)
    return replace(
        job,
        state=State.ENCODING,
        tracks=tuple(plan.tracks),
        duration=plan.duration,
        frames=plan.frames,
        source_frames=source_frames,
        tasks={INSPECT: inspected, **{task.id: task for task in tasks}},
        bytes_read=job.bytes_read + bytes_read,
    )


def encoded(job: Job, task_id: str, made: Encoded, bytes_read: int, now: datetime) -> Job:
    """Segments were made. Fails the job when the init segments of a track differ: its segments would not join."""
    task = job.tasks[task_id]
    inits = dict(job.inits)
    tracks = {track.id: track for track in job.tracks}
    begun = set(job.begun)
    for gain in made.tracks:
        digest = gain.init_sha256.hex()
        if inits.setdefault(gain.track, digest) != digest:
            return failed(job, task_id, "INIT_MISMATCH", f"chunks of track {gain.track} do not fit together", now)
        track = Track()
        track.CopyFrom(tracks[gain.track])
        track.codec = gain.codec
        tracks[gain.track] = track
        begun |= {gain.track for segment in gain.segments if segment.number == 0}
    if made.final:
        job = replace(_with_task(job, replace(task, state=TaskState.DONE)), bytes_read=job.bytes_read + bytes_read)
    playable = job.playable_time or (now if begun >= tracks.keys() else None)
    return replace(job, inits=inits, tracks=tuple(tracks.values()), begun=frozenset(begun), playable_time=playable)


def task_failed(job: Job, task_id: str, failure: Failure, limit: int, now: datetime) -> Job:
    """A worker gave up. The task goes to another one, unless the source is at fault or the limit is reached."""
    task = job.tasks[task_id]
    task = replace(task, failures=task.failures + 1)
    job = _with_task(job, task)
    if not failure.retryable or task.failures >= limit:
        return failed(job, task_id, failure.reason, failure.message, now)
    return _again(job, task, now)


def ready(job: Job, now: datetime) -> Job:
    """Everything is made and was checked."""
    return replace(job, state=State.READY, end_time=now)


def failed(job: Job, task_id: str, reason: str, message: str, now: datetime) -> Job:
    """The job ends without a result, unless it has ended already."""
    if job.ended:
        return job
    return replace(
        job,
        state=State.FAILED,
        failure_reason=reason,
        failure_message=message,
        failure_task=task_id,
        end_time=now,
    )


def cancelled(job: Job, now: datetime) -> Job:
    """Someone asked for it to end. Raises JobEnded when it has, unless by cancelling."""
    if job.state is State.CANCELLED:
        return job
    if job.ended:
        raise JobEnded("the job has ended already")
    return replace(job, state=State.CANCELLED, end_time=now)


def retried(job: Job) -> Job:
    """Someone asked to go on with a failed or cancelled job. Raises JobNotFailed."""
    if job.state not in {State.FAILED, State.CANCELLED}:
        raise JobNotFailed("only a failed or cancelled job can be retried")
    tasks = {
        task.id: task if task.state is TaskState.DONE else replace(task.again(), failures=0, attempt=task.attempt + 1)
        for task in job.tasks.values()
    }
    return replace(
        job,
        state=State.ENCODING if job.tracks else State.INSPECTING,
        tasks=tasks,
        failure_reason="",
        failure_message="",
        failure_task="",
        end_time=None,
        retries=job.retries + 1,
        announced=frozenset(),  # what was true before is true again, after an end that others have heard of
    )


def overdue(job: Job, now: datetime) -> Job:
    """Queue anew what nobody answered in time."""
    if job.ended:
        return job
    for task in job.tasks.values():
        if task.since is None or job.ended:
            continue
        unanswered = task.state is TaskState.RUNNING and now > task.since + task.time_limit + ANSWER_GRACE
        forgotten = task.state is TaskState.QUEUED and now > task.since + QUEUE_LIMIT
        if unanswered or forgotten:
            job = _again(job, task, now)
    return job


def _again(job: Job, task: Task, now: datetime) -> Job:
    if task.attempt >= MAX_ATTEMPTS:
        return failed(job, task.id, "TASK_LOST", "its workers died or did not answer, again and again", now)
    return _with_task(job, task.again())
