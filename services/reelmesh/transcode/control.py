"""The control: facts come in, jobs change, and what follows is queued and announced. No gRPC, no driver."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

from reelmesh.media.v1.media_pb2 import Segment
from reelmesh.mesh.clock import Clock, derived_id
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import JobName, UploadName, VideoName
from reelmesh.transcode import job as jobs
from reelmesh.transcode.errors import JobUnknown, TaskObsolete
from reelmesh.transcode.job import Job, Source, State
from reelmesh.transcode.plan import Plan, PlanError
from reelmesh.transcode.watchers import Watchers
from reelmesh.worker.v1 import task_pb2

TRIES = 100
"""Times that a change is tried anew because someone else changed the job first."""
WATCH_SECONDS = 1.0
"""A watcher looks again after this long, for changes made by another process."""

log = logging.getLogger(__name__)


class JobStore(Protocol):
    """What the control needs of a database; store.py is the one on Cassandra."""

    async def add_source(self, source: Source) -> None:
        """Remember what an upload can be encoded from."""

    async def source(self, upload: UploadName) -> Source:
        """Return what an upload can be encoded from. Raises SourceUnknown."""

    async def create(self, job: Job) -> Job:
        """Create a job, or return the one of that name."""

    async def load(self, name: JobName) -> Job:
        """Return a job with its tasks. Raises JobUnknown."""

    async def save(self, old: Job, new: Job) -> Job | None:
        """Replace `old` with `new` and return it with its new revision; None when someone else was faster."""

    async def list(self, organization: str, upload: UploadName | None, size: int, before: str) -> Sequence[Job]:
        """Return up to `size` jobs, newest first, older than the id `before` when it is not empty."""

    async def put_works(self, name: JobName, works: Mapping[str, bytes]) -> None:
        """Store what each task is to do."""

    async def work(self, name: JobName, task: str) -> bytes:
        """Return what a task is to do."""

    async def add_segments(self, name: JobName, track: str, segments: Sequence[Segment]) -> None:
        """Add to the segment index. Adding a segment again changes nothing."""

    async def segments(self, name: JobName) -> Mapping[str, Sequence[Segment]]:
        """Return the segments of each track in order."""

    async def add_playable(self, job: Job) -> None:
        """Note that a job has something to play."""

    async def close(self, name: JobName) -> None:
        """Note that a job has ended and that everybody knows."""

    async def reopen(self, name: JobName) -> None:
        """Note that a job has something to do again."""


class Outlet(Protocol):
    """Where tasks and facts go; outlet.py is the one on Kafka."""

    async def queue(self, task: task_pb2.Task) -> None:
        """Queue a task. Raises Unavailable."""

    async def announce(self, job: Job, fact: str) -> None:
        """Publish a fact about a job. Repeating it changes nothing. Raises Unavailable."""

    async def bury(self, job: Job, task: task_pb2.Task) -> None:
        """Publish the task that ended a job as a dead letter. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a job may take."""

    max_pixels: int
    max_duration: timedelta
    task: timedelta
    """A chunk."""
    whole: timedelta
    """A task over the whole source: inspection, or a sound track."""
    failures: int
    window: int


class Plans(Protocol):
    """Makes plans; planning.py has the one that reads the source's index."""

    async def make(self, inspection: task_pb2.Inspection, video: VideoName | None) -> Plan:
        """Return what to make of a source, encrypted by the keys of `video` unless it is None.

        Raises PlanError, Unavailable.
        """


class Control:
    """Jobs of all organizations."""

    def __init__(
        self, store: JobStore, outlet: Outlet, plans: Plans, clock: Clock, watchers: Watchers, limits: Limits
    ) -> None:
        self._store = store
        self._outlet = outlet
        self._plans = plans
        self._clock = clock
        self._watchers = watchers
        self._limits = limits

    async def upload_completed(self, source: Source) -> Job:
        """Begin the job of an upload; the same one however often this is said."""
        await self._store.add_source(source)
        return await self._begin(JobName(source.upload.organization, derived_id(source.upload.id, "job")), source)

    async def create(self, organization: str, upload: UploadName, request_id: str, now_id: str) -> Job:
        """Encode an upload's source once more; the same `request_id` gives the same job. Raises SourceUnknown."""
        source = await self._store.source(upload)
        name = JobName(organization, derived_id(now_id if not request_id else upload.id, f"job {request_id}"))
        return await self._begin(name, source)

    async def get(self, name: JobName) -> Job:
        """Return a job. Raises JobUnknown."""
        return await self._store.load(name)

    async def list(
        self, organization: str, upload: UploadName | None, size: int, before: str
    ) -> tuple[Sequence[Job], str]:
        """Return a page, newest first, and the id to go on before; empty on the last page."""
        page = await self._store.list(organization, upload, size + 1, before)
        return page[:size], page[size - 1].name.id if len(page) > size else ""

    async def watch(self, name: JobName, after: int) -> AsyncIterator[Job]:
        """Yield the job whenever it is past revision `after`, until it has ended. Raises JobUnknown."""
        while True:
            with self._watchers.watching(str(name)) as changed:
                job = await self._store.load(name)
                if job.revision > after:
                    after = job.revision
                    yield job
                if job.ended:
                    return
                await changed(WATCH_SECONDS)

    async def cancel(self, name: JobName) -> Job:
        """End a job. Raises JobUnknown, JobEnded."""
        return await self._change(name, lambda job: jobs.cancelled(job, self._clock.now()))

    async def retry(self, name: JobName) -> Job:
        """Go on with a failed or cancelled job. Raises JobUnknown, JobNotFailed."""
        await self._store.reopen(name)
        return await self._change(name, jobs.retried)

    async def start_task(self, name: JobName, task: str, attempt: int, worker: str, record: str) -> int:
        """Let a worker have a task; return how often this attempt was delivered. Raises TaskObsolete, JobUnknown."""
        try:
            job = await self._change(
                name, lambda j: jobs.started(j, task, attempt, worker, record, self._clock.now()), settle=False
            )
        except TaskObsolete as obsolete:
            log.info(
                "task refused: job=%s task=%s attempt=%d record=%s worker=%s why=%s",
                *(name, task, attempt, record, worker, obsolete),
            )
            await self._change(name, lambda j: jobs.worn_out(j, task, attempt, self._clock.now()))
            raise
        deliveries = job.tasks[task].deliveries
        log.info(
            "task taken: job=%s task=%s attempt=%d delivery=%d record=%s worker=%s",
            *(name, task, attempt, deliveries, record, worker),
        )
        return deliveries

    async def keep_task(self, name: JobName, task: str, attempt: int, worker: str) -> None:
        """Let a worker go on. Raises TaskObsolete, JobUnknown."""
        jobs.kept(await self._store.load(name), task, attempt, worker)

    async def result(self, result: task_pb2.TaskResult) -> None:
        """Take a worker's answer. Taking it again changes nothing."""
        name = JobName.parse(result.job)
        try:
            job = await self._store.load(name)
        except JobUnknown:
            log.warning("%s answered for a job that does not exist: %s", result.worker, result.job)
            return
        if not jobs.awaited(job, result.task, result.attempt):
            await self.settle(job)
            return
        match result.WhichOneof("outcome"):
            case "inspection":
                await self._inspected(job, result)
            case "encoded":
                await self._encoded(job, result)
            case "failure":
                await self._failed(job, result)
            case _:
                log.warning("%s %s: %s answered nothing", name, result.task, result.worker)

    async def look(self, name: JobName) -> None:
        """Look for what is overdue in a job, and for what a crash left unsaid."""
        try:
            job = await self._change(name, lambda j: jobs.overdue(j, self._clock.now()))
        except JobUnknown:
            return  # its creation was cut short; the event that asked for it comes again
        if job.ended and job.announced >= set(job.facts):
            await self._store.close(name)

    async def settle(self, job: Job) -> Job:
        """Queue what waits and announce what is true but unsaid. Raises Unavailable; then `look` does it later."""
        waiting = jobs.to_queue(job, self._limits.window)
        for task in waiting:
            await self._outlet.queue(await self._message(job, task))
        unsaid = [fact for fact in job.facts if fact not in job.announced]
        for fact in unsaid:
            if fact == "playable":
                await self._store.add_playable(job)
            if fact == "ended" and job.state is State.FAILED and job.failure_task in job.tasks:
                await self._outlet.bury(job, await self._message(job, job.tasks[job.failure_task]))
            await self._outlet.announce(job, fact)
        if not waiting and not unsaid:
            return job

        def settled(current: Job) -> Job:
            for task in waiting:
                if current.tasks[task.id].attempt == task.attempt:
                    current = jobs.queued(current, task.id, self._clock.now())
            # A retry that came meanwhile has something new to say.
            said = frozenset(unsaid) & frozenset(current.facts)
            return replace(current, announced=current.announced | said)

        return await self._change(job.name, settled)

    async def _begin(self, name: JobName, source: Source) -> Job:
        begun = jobs.new(name, source, self._clock.now(), self._limits.whole)
        inspect = task_pb2.InspectWork(max_pixels=self._limits.max_pixels)
        inspect.max_duration.FromTimedelta(self._limits.max_duration)
        message = task_pb2.Task(inspect=inspect)
        await self._store.put_works(name, {jobs.INSPECT: message.SerializeToString()})
        return await self.settle(await self._store.create(begun))

    async def _inspected(self, job: Job, result: task_pb2.TaskResult) -> None:
        try:
            plan = await self._plans.make(result.inspection, job.video if job.protected else None)
        except PlanError as refusal:
            reason, message = refusal.reason, refusal.message
            await self._change(job.name, lambda j: jobs.failed(j, jobs.INSPECT, reason, message, self._clock.now()))
            return
        inspected = result.inspection.video[0].frames
        works, tasks = {}, []
        for order, planned in enumerate(plan.tasks, start=1):
            if isinstance(planned.work, task_pb2.AudioWork):
                work, limit = task_pb2.Task(audio=planned.work), self._limits.whole
            else:
                work, limit = task_pb2.Task(video=planned.work), self._limits.task
            works[planned.id] = work.SerializeToString()
            tasks.append(jobs.Task(planned.id, order, limit))
        await self._store.put_works(job.name, works)
        await self._change(
            job.name,
            lambda j: (
                jobs.planned(j, plan, inspected, tasks, result.bytes_read)
                if jobs.awaited(j, result.task, result.attempt)
                else j
            ),
        )

    async def _encoded(self, job: Job, result: task_pb2.TaskResult) -> None:
        # Segments first: a job that says "done" must have them.
        for gain in result.encoded.tracks:
            await self._store.add_segments(job.name, gain.track, gain.segments)

        def changed(current: Job) -> Job:
            if not jobs.awaited(current, result.task, result.attempt):
                return current
            return jobs.encoded(current, result.task, result.encoded, result.bytes_read, self._clock.now())

        job = await self._change(job.name, changed, settle=False)
        if job.all_done and not job.ended:
            fault = incomplete(job, await self._store.segments(job.name))
            now = self._clock.now()
            job = await self._change(
                job.name,
                lambda j: (
                    jobs.failed(j, result.task, "INDEX_INCOMPLETE", fault, now)
                    if fault
                    else (j if j.ended else jobs.ready(j, now))
                ),
            )
        else:
            await self.settle(job)

    async def _failed(self, job: Job, result: task_pb2.TaskResult) -> None:
        log.warning("%s %s failed: %s", job.name, result.task, result.failure.message)

        def changed(current: Job) -> Job:
            if not jobs.awaited(current, result.task, result.attempt):
                return current
            return jobs.task_failed(current, result.task, result.failure, self._limits.failures, self._clock.now())

        await self._change(job.name, changed)

    async def _message(self, job: Job, task: jobs.Task) -> task_pb2.Task:
        message = task_pb2.Task.FromString(await self._store.work(job.name, task.id))
        message.job = str(job.name)
        message.id = task.id
        message.attempt = task.attempt
        message.source = job.source
        message.prefix = job.prefix
        message.video_name = str(job.video)
        message.time_limit.FromTimedelta(task.time_limit)
        return message

    async def _change(self, name: JobName, change: Callable[[Job], Job], *, settle: bool = True) -> Job:
        """Apply `change` to the job as it stands, again and again until nobody was faster."""
        for _ in range(TRIES):
            old = await self._store.load(name)
            new = change(old)
            saved = old if new == old else await self._store.save(old, new)
            if saved is not None:
                if saved is not old:
                    self._watchers.changed(str(name))
                return await self.settle(saved) if settle else saved
        raise Unavailable(f"{name} changes too fast")


def incomplete(job: Job, segments: Mapping[str, Sequence[Segment]]) -> str:
    """Say what is missing from the segment index of a job whose tasks are all done; empty when nothing is."""
    frames = set()
    for track in job.tracks:
        found = segments.get(track.id, ())
        end = 0
        for number, segment in enumerate(found):
            if segment.number != number or segment.start != end:
                return f"track {track.id} has a gap before segment {segment.number}"
            end += segment.duration
        if not found:
            return f"track {track.id} has no segment"
        if track.WhichOneof("format") == "video":
            frames.add(sum(segment.samples for segment in found))
    # Where frames are not evenly spaced, whether the last one still falls into the grid shows only in encoding.
    allowed = {job.frames} if job.frames == job.source_frames else {job.frames, job.frames - 1}
    if len(frames) == 1 and frames <= allowed:
        return ""
    return f"renditions have {sorted(frames)} frames instead of {job.frames}"
