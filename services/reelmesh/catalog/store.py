"""Videos on Cassandra. See schema.cql for the shape and why it is so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from reelmesh.catalog.events import deleted
from reelmesh.catalog.model import Deletion, Job, Video
from reelmesh.catalog.rows import JOB_COLUMNS, VIDEO_COLUMNS, job_values, video_of, video_values
from reelmesh.mesh.names import VideoName
from reelmesh.stores.cassandra import Cassandra, Statement
from reelmesh.stores.migrations import keyspace_of
from reelmesh.stores.outbox import Outbox

REQUEST_TTL = timedelta(days=1)
"""How long a request_id is remembered."""
BURIED_TTL = timedelta(days=30)
"""How long a deleted video keeps late events out; longer than Kafka keeps events."""
READS_AT_ONCE = 32
"""Videos of a page that are read side by side."""

_KS = keyspace_of("catalog")
_THIS = "WHERE organization = ? AND video = ?"


class CassandraVideoStore:
    """Videos in the keyspace of the catalog."""

    def __init__(self, cassandra: Cassandra, outbox: Outbox) -> None:
        self._cassandra = cassandra
        self._outbox = outbox

    async def claim(self, organization: str, request_id: str, video_id: str) -> str:
        """Return the video that `request_id` made first: `video_id`, or an earlier one."""
        earlier = await self._cassandra.apply(
            Statement(
                f"INSERT INTO {_KS}.requests (organization, request_id, video) VALUES (?, ?, ?) "
                f"IF NOT EXISTS USING TTL {int(REQUEST_TTL.total_seconds())}",
                (organization, request_id, video_id),
            )
        )
        return video_id if earlier is None else str(earlier.video)

    async def create(self, video: Video) -> bool:
        """Create it; False when a video of that name is there, or was and has been deleted."""
        # The list comes first: a name in it without a video is harmless, a video in no list is lost.
        await self._cassandra.execute(
            f"INSERT INTO {_KS}.videos_by_organization (organization, video) VALUES (?, ?)",
            video.name.organization,
            video.name.id,
        )
        return await self._put(None, video)

    async def load(self, name: VideoName) -> Video | None:
        """Return a video; None when there is none or it has been deleted."""
        rows = await self._cassandra.execute(f"SELECT * FROM {_KS}.videos {_THIS}", name.organization, name.id)
        return video_of(name, rows)

    async def replace(self, old: Video, new: Video) -> bool:
        """Put `new` in place of `old`; False when what is there is no longer `old`."""
        return await self._put(old, new)

    async def page(self, organization: str, before: str, size: int) -> tuple[Sequence[Video], str]:
        """Return up to `size` videos, newest first, older than the id `before`, and what asks for the following."""
        found: list[Video] = []
        position = before
        while len(found) <= size:
            wanted = size + 1 - len(found)
            ids = await self._ids(organization, position, wanted)
            # Names without a video (creations cut short, deletions under way) are skipped, not counted.
            found += await self._load_all([VideoName(organization, id_) for id_ in ids])
            if len(ids) < wanted:
                break
            position = ids[-1]
        page = found[:size]
        return page, page[-1].name.id if len(found) > size else ""

    async def intend(self, deletion: Deletion) -> None:
        """Note that a deletion is about to be tried."""
        await self._cassandra.execute(
            f"INSERT INTO {_KS}.deletions (day, organization, video, event_id, time) VALUES (?, ?, ?, ?, ?)",
            *self._note(deletion),
            deletion.time,
        )

    async def bury(self, video: Video, deletion: Deletion) -> bool:
        """Delete `video`, and keep it from coming back for a while; False when what is there is no longer `video`."""
        name = video.name
        emptied = ", ".join(f"{column} = null" for column in VIDEO_COLUMNS)
        grave = Statement(
            f"UPDATE {_KS}.videos USING TTL {int(BURIED_TTL.total_seconds())} "
            f"SET revision = ?, deleted_time = ?, {emptied} {_THIS} IF revision = ?",
            (video.revision + 1, deletion.time, name.organization, name.id, video.revision),
        )
        return await self._cassandra.apply(grave, *(self._without(name, id_) for id_ in video.jobs)) is None

    async def announce(self, deletion: Deletion) -> None:
        """In one logged batch: the event into the outbox, the video out of the list, the note away."""
        await self._cassandra.batch(
            [
                self._outbox.add(deletion.event_id, deleted(deletion)),
                Statement(
                    f"DELETE FROM {_KS}.videos_by_organization {_THIS}", (deletion.name.organization, deletion.name.id)
                ),
                self._forget(deletion),
            ]
        )
        self._outbox.wake()

    async def forget(self, deletion: Deletion) -> None:
        """Take the note away: nothing was deleted."""
        statement = self._forget(deletion)
        await self._cassandra.execute(statement.cql, *statement.parameters)

    async def intended(self, day: datetime) -> Sequence[Deletion]:
        """Return the notes of a day."""
        rows = await self._cassandra.execute(
            f"SELECT organization, video, event_id, time FROM {_KS}.deletions WHERE day = ?", day.date()
        )
        return [
            Deletion(VideoName(row.organization, row.video), row.event_id, row.time.replace(tzinfo=UTC)) for row in rows
        ]

    async def _put(self, old: Video | None, new: Video) -> bool:
        name = new.name
        columns = ", ".join(f"{column} = ?" for column in VIDEO_COLUMNS)
        # Nothing but a lightweight transaction ever writes to this table: its timestamps do not mix with others.
        condition, expected = ("revision = null", ()) if old is None else ("revision = ?", (old.revision,))
        head = Statement(
            f"UPDATE {_KS}.videos SET revision = ?, {columns} {_THIS} IF {condition}",
            (new.revision, *video_values(new), name.organization, name.id, *expected),
        )
        before = {} if old is None else old.jobs
        changed = [self._job(name, job) for id_, job in new.jobs.items() if before.get(id_) != job]
        removed = [self._without(name, id_) for id_ in before if id_ not in new.jobs]
        return await self._cassandra.apply(head, *changed, *removed) is None

    async def _ids(self, organization: str, before: str, size: int) -> list[str]:
        older, bound = (" AND video < ?", (before,)) if before else ("", ())
        rows = await self._cassandra.execute(
            f"SELECT video FROM {_KS}.videos_by_organization WHERE organization = ?{older} LIMIT ?",
            organization,
            *bound,
            size,
        )
        return [row.video for row in rows]

    async def _load_all(self, names: Iterable[VideoName]) -> list[Video]:
        slots = asyncio.Semaphore(READS_AT_ONCE)

        async def load(name: VideoName) -> Video | None:
            async with slots:
                return await self.load(name)

        return [video for video in await asyncio.gather(*map(load, names)) if video is not None]

    @staticmethod
    def _job(name: VideoName, job: Job) -> Statement:
        columns = ", ".join(f"{column} = ?" for column in JOB_COLUMNS)
        return Statement(
            f"UPDATE {_KS}.videos SET {columns} {_THIS} AND job = ?",
            (*job_values(job), name.organization, name.id, job.id),
        )

    @staticmethod
    def _without(name: VideoName, job_id: str) -> Statement:
        return Statement(f"DELETE FROM {_KS}.videos {_THIS} AND job = ?", (name.organization, name.id, job_id))

    @staticmethod
    def _note(deletion: Deletion) -> tuple[object, ...]:
        return (deletion.time.date(), deletion.name.organization, deletion.name.id, deletion.event_id)

    def _forget(self, deletion: Deletion) -> Statement:
        return Statement(
            f"DELETE FROM {_KS}.deletions WHERE day = ? AND organization = ? AND video = ? AND event_id = ?",
            self._note(deletion),
        )
