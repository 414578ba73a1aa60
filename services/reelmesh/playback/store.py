"""Sessions and progress on Cassandra. See schema.cql for the shape and why it is so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from reelmesh.mesh.names import SessionName, VideoName
from reelmesh.playback.delivery import Watched
from reelmesh.playback.model import Arm, Session
from reelmesh.playback.progress import Progress
from reelmesh.playback.streams import Slot, Slots
from reelmesh.stores.cassandra import Cassandra, Row, Statement
from reelmesh.stores.migrations import keyspace_of

PROGRESS_TTL = timedelta(days=365)
"""How long it is remembered where a viewer left off."""
REQUEST_LIFE = timedelta(days=1)
"""How long a request that is repeated finds its session."""

_KS = keyspace_of("playback")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class CassandraSessionStore:
    """Sessions in the keyspace of playback."""

    def __init__(self, cassandra: Cassandra) -> None:
        self._cassandra = cassandra

    async def add(self, session: Session) -> None:
        """Keep a session until its expire_time."""
        statement = self._insert(session, "")
        await self._cassandra.execute(statement.cql, *statement.parameters)

    async def claim(self, session: Session) -> Session:
        """Keep a session unless there is one of that name; return the one that is there."""
        earlier = await self._cassandra.apply(self._insert(session, "IF NOT EXISTS"))
        return session if earlier is None else _session(session.name, earlier)

    async def name(self, request: str, new: SessionName) -> SessionName:
        """Return the name that a request's session was given before, or give it the new one.

        It does not follow from the request: the time of a session is in its id, and a client's request tells none.
        """
        insertion = (
            f"INSERT INTO {_KS}.requests (organization, request, session) VALUES (?, ?, ?) IF NOT EXISTS USING TTL ?"
        )
        earlier = await self._cassandra.apply(
            Statement(insertion, (new.organization, request, new.id, int(REQUEST_LIFE.total_seconds())))
        )
        return new if earlier is None else SessionName(new.organization, earlier.session)

    async def load(self, name: SessionName) -> Session | None:
        """Return a session; None when there is none."""
        rows = await self._cassandra.execute(
            f"SELECT * FROM {_KS}.sessions WHERE organization = ? AND session = ?",
            name.organization,
            name.id,
        )
        return _session(name, rows[0]) if rows and rows[0].video else None

    async def ending(self, name: SessionName) -> str:
        """Return why a session has ended; empty while it has not."""
        rows = await self._cassandra.execute(
            f"SELECT end_reason FROM {_KS}.sessions WHERE organization = ? AND session = ?", name.organization, name.id
        )
        return rows[0].end_reason or "" if rows else ""

    async def note_place(self, session: Session, place: str) -> None:
        """Add a place to those of a session."""
        await self._note(session, "places = places + ?", {place})

    async def end(self, session: Session, reason: str) -> None:
        """Note why a session has ended."""
        await self._note(session, "end_reason = ?", reason)

    async def watched(self, name: SessionName) -> Watched | None:
        """Return what was said of how far a session was watched; None where nothing was."""
        rows = await self._cassandra.execute(
            f"SELECT told_time, position_us, watched_us FROM {_KS}.sessions WHERE organization = ? AND session = ?",
            name.organization,
            name.id,
        )
        if not rows or rows[0].told_time is None:
            return None
        row = rows[0]
        return Watched(row.told_time.replace(tzinfo=UTC), row.position_us * _MICROSECOND, row.watched_us * _MICROSECOND)

    async def put_watched(self, session: Session, watched: Watched) -> None:
        """Keep what is said of how far a session was watched."""
        await self._cassandra.execute(
            f"UPDATE {_KS}.sessions USING TTL ? SET told_time = ?, position_us = ?, watched_us = ? "
            "WHERE organization = ? AND session = ?",
            _life(session),
            watched.time,
            watched.position // _MICROSECOND,
            watched.total // _MICROSECOND,
            session.name.organization,
            session.name.id,
        )

    async def _note(self, session: Session, change: str, value: object) -> None:
        # Plain writes, to columns that the insertion leaves alone: sets grow whoever adds first.
        await self._cassandra.execute(
            f"UPDATE {_KS}.sessions USING TTL ? SET {change} WHERE organization = ? AND session = ?",
            _life(session),
            value,
            session.name.organization,
            session.name.id,
        )

    @staticmethod
    def _insert(session: Session, condition: str) -> Statement:
        return Statement(
            f"INSERT INTO {_KS}.sessions "
            "(organization, session, video, viewer, duration_us, create_time, expire_time, device, experiments) "
            f"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) {condition} USING TTL ?",
            (
                session.name.organization,
                session.name.id,
                session.video.id,
                session.viewer,
                session.duration // _MICROSECOND,
                session.create_time,
                session.expire_time,
                session.device,
                {each.experiment: (each.arm, dict(each.parameters)) for each in session.experiments},
                _life(session),
            ),
        )


class CassandraSlotStore:
    """Slots in the keyspace of playback."""

    def __init__(self, cassandra: Cassandra, lapse: timedelta) -> None:
        """Slots that nobody kept for `lapse` are free, so a viewer without others need not be remembered longer."""
        self._cassandra = cassandra
        self._ttl = 2 * int(lapse.total_seconds()) + 1

    async def load(self, organization: str, user: str) -> Slots:
        """Return a viewer's slots."""
        rows = await self._cassandra.execute(
            f"SELECT revision, held FROM {_KS}.slots WHERE organization = ? AND user = ?", organization, user
        )
        if not rows or rows[0].revision is None:
            return Slots(0, ())
        held = (rows[0].held or {}).items()
        return Slots(
            rows[0].revision,
            tuple(Slot(id_, taken.replace(tzinfo=UTC), kept.replace(tzinfo=UTC)) for id_, (taken, kept) in held),
        )

    async def replace(self, organization: str, user: str, old: Slots, held: Sequence[Slot]) -> bool:
        """Put `held` in place of `old`; False when what is there is no longer `old`."""
        condition, expected = ("revision = ?", (old.revision,)) if old.revision else ("revision = null", ())
        update = Statement(
            f"UPDATE {_KS}.slots USING TTL ? SET revision = ?, held = ? "
            f"WHERE organization = ? AND user = ? IF {condition}",
            (
                self._ttl,
                old.revision + 1,
                {slot.session: (slot.take_time, slot.keep_time) for slot in held},
                organization,
                user,
                *expected,
            ),
        )
        return await self._cassandra.apply(update) is None


class CassandraProgressStore:
    """Progress in the keyspace of playback. Writes carry their own time, so that the later of two wins anywhere."""

    def __init__(self, cassandra: Cassandra) -> None:
        self._cassandra = cassandra

    async def load(self, organization: str, viewer: str, video: VideoName) -> Progress | None:
        """Return what was noted; None when there is nothing."""
        rows = await self._cassandra.execute(
            f"SELECT * FROM {_KS}.progress WHERE organization = ? AND viewer = ? AND video = ?",
            organization,
            viewer,
            video.id,
        )
        return _progress(rows[0]) if rows else None

    async def put(self, progress: Progress) -> None:
        """Note it, in place of what was noted of this viewer and video before `progress.update_time`."""
        await self._cassandra.execute(
            f"INSERT INTO {_KS}.progress (organization, viewer, video, position_us, duration_us, update_time) "
            f"VALUES (?, ?, ?, ?, ?, ?) USING TTL {int(PROGRESS_TTL.total_seconds())} AND TIMESTAMP ?",
            progress.organization,
            progress.viewer,
            progress.video.id,
            progress.position // _MICROSECOND,
            progress.duration // _MICROSECOND,
            progress.update_time,
            _timestamp(progress),
        )

    async def finish(self, progress: Progress) -> None:
        """Note that a video was seen to the end, in place of what was noted up to `progress.update_time`."""
        await self._cassandra.execute(
            f"INSERT INTO {_KS}.finished (organization, viewer, video, duration_us, update_time) "
            f"VALUES (?, ?, ?, ?, ?) USING TTL {int(PROGRESS_TTL.total_seconds())} AND TIMESTAMP ?",
            progress.organization,
            progress.viewer,
            progress.video.id,
            progress.duration // _MICROSECOND,
            progress.update_time,
            _timestamp(progress),
        )
        await self._cassandra.execute(
            f"DELETE FROM {_KS}.progress USING TIMESTAMP ? WHERE organization = ? AND viewer = ? AND video = ?",
            _timestamp(progress),
            progress.organization,
            progress.viewer,
            progress.video.id,
        )

    async def all(self, organization: str, viewer: str) -> Sequence[Progress]:
        """Return all that is noted of a viewer, one for each video, in no order. Videos that are gone are left out."""
        rows = await self._cassandra.execute(
            f"SELECT * FROM {_KS}.progress WHERE organization = ? AND viewer = ?", organization, viewer
        )
        if not rows:
            return []
        gone = await self._cassandra.execute(
            f"SELECT video FROM {_KS}.deleted_videos WHERE organization = ? AND video IN ?",
            organization,
            [row.video for row in rows],
        )
        missing = {row.video for row in gone}
        return [_progress(row) for row in rows if row.video not in missing]

    async def finished(self, organization: str, viewer: str) -> Sequence[Progress]:
        """Return what a viewer saw to the end, one for each video, in no order; also videos that are gone."""
        rows = await self._cassandra.execute(
            f"SELECT organization, viewer, video, duration_us AS position_us, duration_us, update_time "
            f"FROM {_KS}.finished WHERE organization = ? AND viewer = ?",
            organization,
            viewer,
        )
        return [_progress(row) for row in rows]

    async def remove_viewer(self, organization: str, viewer: str) -> None:
        """Take away all that is noted of a viewer."""
        for table in ("progress", "finished"):
            await self._cassandra.execute(
                f"DELETE FROM {_KS}.{table} WHERE organization = ? AND viewer = ?", organization, viewer
            )

    async def bury(self, video: VideoName) -> None:
        """Remember that a video is gone, for as long as progress in it may be remembered."""
        await self._cassandra.execute(
            f"INSERT INTO {_KS}.deleted_videos (organization, video) VALUES (?, ?) "
            f"USING TTL {int(PROGRESS_TTL.total_seconds())}",
            video.organization,
            video.id,
        )


def _timestamp(progress: Progress) -> int:
    return (progress.update_time - _EPOCH) // _MICROSECOND


def _life(session: Session) -> int:
    """Return for how many seconds a session's row lives; a note on it may outlive it, and says nothing then."""
    return max(1, int((session.expire_time - session.create_time).total_seconds()))


def _session(name: SessionName, row: Row) -> Session:
    return Session(
        name=name,
        video=VideoName(name.organization, row.video),
        viewer=row.viewer or "",
        duration=row.duration_us * _MICROSECOND,
        create_time=row.create_time.replace(tzinfo=UTC),
        expire_time=row.expire_time.replace(tzinfo=UTC),
        device=row.device or "",
        places=frozenset(row.places or ()),
        experiments=tuple(
            Arm(experiment, arm, dict(parameters)) for experiment, (arm, parameters) in (row.experiments or {}).items()
        ),
        end_reason=row.end_reason or "",
    )


def _progress(row: Row) -> Progress:
    return Progress(
        organization=row.organization,
        viewer=row.viewer,
        video=VideoName(row.organization, row.video),
        position=row.position_us * _MICROSECOND,
        duration=row.duration_us * _MICROSECOND,
        update_time=row.update_time.replace(tzinfo=UTC),
    )
