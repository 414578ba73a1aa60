"""Jobs, tasks and segments on Cassandra."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from reelmesh.media.v1.media_pb2 import Segment, Track
from reelmesh.mesh.names import JobName, UploadName, VideoName
from reelmesh.stores.cassandra import Cassandra, Row, Statement
from reelmesh.stores.migrations import keyspace_of
from reelmesh.transcode.errors import JobUnknown, SourceUnknown
from reelmesh.transcode.job import Job, Source, State, Task, TaskState

_KS = keyspace_of("transcode")
_THIS = "WHERE organization = ? AND job = ?"
_WRITES_AT_ONCE = 64


class CassandraJobStore:
    """Jobs in the keyspace of transcode. See schema.cql for the shape."""

    def __init__(self, cassandra: Cassandra) -> None:
        self._cassandra = cassandra

    async def add_source(self, source: Source) -> None:
        """Remember what an upload can be encoded from."""
        await self._cassandra.execute(
            f"INSERT INTO {_KS}.sources (organization, upload, video, source, protected) VALUES (?, ?, ?, ?, ?)",
            source.upload.organization,
            source.upload.id,
            str(source.video),
            source.manifest,
            source.protected,
        )

    async def source(self, upload: UploadName) -> Source:
        """Return what an upload can be encoded from. Raises SourceUnknown."""
        rows = await self._cassandra.execute(
            f"SELECT video, source, protected FROM {_KS}.sources WHERE organization = ? AND upload = ?",
            upload.organization,
            upload.id,
        )
        if not rows:
            raise SourceUnknown("no finished upload has that name")
        return Source(upload, VideoName.parse(rows[0].video), rows[0].source, bool(rows[0].protected))

    async def create(self, job: Job) -> Job:
        """Create a job, or return the one of that name."""
        organization, id_ = job.name.organization, job.name.id
        # The lists come first: a name in them without a job is harmless, a job in no list is lost.
        await self._cassandra.batch(
            [
                Statement(
                    f"INSERT INTO {_KS}.jobs_by_organization (organization, job) VALUES (?, ?)", (organization, id_)
                ),
                Statement(
                    f"INSERT INTO {_KS}.jobs_by_upload (organization, upload, job) VALUES (?, ?, ?)",
                    (organization, job.upload.id, id_),
                ),
                Statement(
                    f"INSERT INTO {_KS}.open_jobs (day, organization, job) VALUES (?, ?, ?)",
                    (day_of(job.name), organization, id_),
                ),
            ]
        )
        await self._save(None, job)
        return await self.load(job.name)

    async def load(self, name: JobName) -> Job:
        """Return a job with its tasks. Raises JobUnknown."""
        rows = await self._cassandra.execute(f"SELECT * FROM {_KS}.jobs {_THIS}", name.organization, name.id)
        if not rows or rows[0].state is None:
            raise JobUnknown("there is no such job")
        return _job(name, rows)

    async def save(self, old: Job, new: Job) -> Job | None:
        """Replace `old` with `new` and return it with its new revision; None when someone else changed it first."""
        return await self._save(old, new)

    async def put_works(self, name: JobName, works: Mapping[str, bytes]) -> None:
        """Store what each task is to do."""
        await self._each(
            Statement(
                f"INSERT INTO {_KS}.works (organization, job, task, work) VALUES (?, ?, ?, ?)",
                (name.organization, name.id, task, work),
            )
            for task, work in works.items()
        )

    async def work(self, name: JobName, task: str) -> bytes:
        """Return what a task is to do."""
        rows = await self._cassandra.execute(
            f"SELECT work FROM {_KS}.works {_THIS} AND task = ?", name.organization, name.id, task
        )
        return bytes(rows[0].work)

    async def add_segments(self, name: JobName, track: str, segments: Sequence[Segment]) -> None:
        """Add to the segment index. Adding a segment again changes nothing."""
        await self._each(
            Statement(
                f"INSERT INTO {_KS}.segments (organization, job, track, number, start, duration, size, samples) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (name.organization, name.id, track, s.number, s.start, s.duration, s.size, s.samples),
            )
            for s in segments
        )

    async def segments(self, name: JobName) -> dict[str, list[Segment]]:
        """Return the segments of each track in order."""
        rows = await self._cassandra.execute(
            f"SELECT track, number, start, duration, size, samples FROM {_KS}.segments {_THIS}",
            name.organization,
            name.id,
        )
        found: dict[str, list[Segment]] = {}
        for r in rows:
            segment = Segment(number=r.number, start=r.start, duration=r.duration, size=r.size, samples=r.samples)
            found.setdefault(r.track, []).append(segment)
        return found

    async def add_playable(self, job: Job) -> None:
        """Note that a job has something to play."""
        await self._cassandra.execute(
            f"INSERT INTO {_KS}.playable_jobs (organization, video, job) VALUES (?, ?, ?)",
            job.name.organization,
            job.video.id,
            job.name.id,
        )

    async def playable(self, video: VideoName) -> Sequence[Job]:
        """Return the jobs of a video that have something to play, newest first."""
        rows = await self._cassandra.execute(
            f"SELECT job FROM {_KS}.playable_jobs WHERE organization = ? AND video = ?", video.organization, video.id
        )
        names = [JobName(video.organization, row.job) for row in rows]
        return [job for name in names if (job := await self._find(name)) is not None]

    async def forget_playable(self, video: VideoName) -> None:
        """Note that a video has nothing to play any more."""
        await self._cassandra.execute(
            f"DELETE FROM {_KS}.playable_jobs WHERE organization = ? AND video = ?", video.organization, video.id
        )

    async def open(self, day: datetime) -> Sequence[JobName]:
        """Return the jobs made on `day` that may still have something to do."""
        rows = await self._cassandra.execute(f"SELECT organization, job FROM {_KS}.open_jobs WHERE day = ?", day.date())
        return [JobName(row.organization, row.job) for row in rows]

    async def reopen(self, name: JobName) -> None:
        """Note that a job has something to do again."""
        await self._cassandra.execute(
            f"INSERT INTO {_KS}.open_jobs (day, organization, job) VALUES (?, ?, ?)",
            day_of(name),
            name.organization,
            name.id,
        )

    async def close(self, name: JobName) -> None:
        """Note that a job has ended and that everybody knows."""
        await self._cassandra.execute(
            f"DELETE FROM {_KS}.open_jobs WHERE day = ? AND organization = ? AND job = ?",
            day_of(name),
            name.organization,
            name.id,
        )

    async def list(self, organization: str, upload: UploadName | None, size: int, before: str) -> Sequence[Job]:
        """Return up to `size` jobs, newest first, older than the id `before` when it is not empty."""
        older, bound = (" AND job < ?", (before,)) if before else ("", ())
        table, by, of = (
            ("jobs_by_organization", "organization = ?", (organization,))
            if upload is None
            else ("jobs_by_upload", "organization = ? AND upload = ?", (organization, upload.id))
        )
        rows = await self._cassandra.execute(
            f"SELECT job FROM {_KS}.{table} WHERE {by}{older} LIMIT ?", *of, *bound, size
        )
        return [job for row in rows if (job := await self._find(JobName(organization, row.job))) is not None]

    async def _find(self, name: JobName) -> Job | None:
        try:
            return await self.load(name)
        except JobUnknown:
            return None  # its creation was cut short

    async def _each(self, statements: Iterable[Statement]) -> None:
        """Run independent statements, a bounded number at once."""
        slots = asyncio.Semaphore(_WRITES_AT_ONCE)

        async def run(statement: Statement) -> None:
            async with slots:
                await self._cassandra.execute(statement.cql, *statement.parameters)

        async with asyncio.TaskGroup() as group:
            for statement in statements:
                group.create_task(run(statement))

    async def _save(self, old: Job | None, new: Job) -> Job | None:
        organization, id_ = new.name.organization, new.name.id
        revision = new.revision + 1
        condition, expected = ("revision = null", ()) if old is None else ("revision = ?", (old.revision,))
        values = {
            "revision": revision,
            "video": str(new.video),
            "upload": str(new.upload),
            "source": new.source,
            "protected": new.protected,
            "state": new.state.value,
            "tracks": [track.SerializeToString(deterministic=True) for track in new.tracks],
            "duration": new.duration,
            "frames": new.frames,
            "source_frames": new.source_frames,
            "begun": set(new.begun),
            "inits": dict(new.inits),
            "failure_reason": new.failure_reason,
            "failure_message": new.failure_message,
            "failure_task": new.failure_task,
            "bytes_read": new.bytes_read,
            "redeliveries": new.redeliveries,
            "retries": new.retries,
            "create_time": new.create_time,
            "playable_time": new.playable_time,
            "end_time": new.end_time,
            "announced": set(new.announced),
        }
        columns = ", ".join(f"{column} = ?" for column in values)
        head = Statement(
            f"UPDATE {_KS}.jobs SET {columns} {_THIS} IF {condition}", (*values.values(), organization, id_, *expected)
        )
        changed = [task for task in new.tasks.values() if old is None or old.tasks.get(task.id) != task]
        stands = await self._cassandra.apply(head, *(self._task(new.name, task) for task in changed))
        return replace(new, revision=revision) if stands is None else None

    @staticmethod
    def _task(name: JobName, task: Task) -> Statement:
        return Statement(
            f"INSERT INTO {_KS}.jobs (organization, job, task, task_order, task_state, attempt, deliveries, failures, "
            "worker, record, since, time_limit_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                name.organization,
                name.id,
                task.id,
                task.order,
                task.state.value,
                task.attempt,
                task.deliveries,
                task.failures,
                task.worker,
                task.record,
                task.since,
                int(task.time_limit / timedelta(milliseconds=1)),
            ),
        )


def day_of(name: JobName) -> datetime:
    """Return the day of a job's making, which its id tells."""
    return datetime.fromtimestamp((uuid.UUID(name.id).int >> 80) / 1000, UTC)


def _time(value: datetime | None) -> datetime | None:
    return None if value is None else value.replace(tzinfo=UTC)


def _job(name: JobName, rows: Sequence[Row]) -> Job:
    head = rows[0]
    tasks = {
        row.task: Task(
            id=row.task,
            order=row.task_order,
            time_limit=timedelta(milliseconds=row.time_limit_ms),
            state=TaskState(row.task_state),
            attempt=row.attempt,
            deliveries=row.deliveries,
            failures=row.failures,
            worker=row.worker or "",
            record=row.record or "",
            since=_time(row.since),
        )
        for row in rows
        if row.task is not None
    }
    return Job(
        name=name,
        video=VideoName.parse(head.video),
        upload=UploadName.parse(head.upload),
        source=head.source,
        protected=bool(head.protected),
        create_time=head.create_time.replace(tzinfo=UTC),
        tasks=tasks,
        state=State(head.state),
        tracks=tuple(Track.FromString(track) for track in head.tracks or ()),
        duration=head.duration or 0.0,
        frames=head.frames or 0,
        source_frames=head.source_frames or 0,
        begun=frozenset(head.begun or ()),
        inits=dict(head.inits or {}),
        failure_reason=head.failure_reason or "",
        failure_message=head.failure_message or "",
        failure_task=head.failure_task or "",
        bytes_read=head.bytes_read or 0,
        redeliveries=head.redeliveries or 0,
        retries=head.retries or 0,
        playable_time=_time(head.playable_time),
        end_time=_time(head.end_time),
        announced=frozenset(head.announced or ()),
        revision=head.revision,
    )
