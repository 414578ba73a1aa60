"""Titles on Cassandra. See schema.cql for the shape and why it is so."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime

from reelmesh.catalog.title_model import Change, Held, Revision, minute_of
from reelmesh.catalog.titles import Position, Taken
from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.mesh.names import TitleName, VideoName
from reelmesh.stores.cassandra import Cassandra, Row, Statement
from reelmesh.stores.gathering import Gathering
from reelmesh.stores.migrations import keyspace_of

REVISIONS_KEPT = 500
"""Revisions of a title that are kept."""

READ_AT_ONCE = 16
"""Titles that are read in one statement."""
WRITTEN_AT_ONCE = 25
"""Notes, or entries of a list, that are written in one; a batch beyond 5 KiB is warned of."""
NAMES_AT_ONCE = 50
"""Titles that are looked at in one statement."""

_KS = keyspace_of("catalog")
_THIS = "WHERE organization = ? AND title = ?"
_VIDEO = "WHERE organization = ? AND video = ?"
_LATEST = (
    f"SELECT title, value, deleted, request_id FROM {_KS}.titles WHERE organization = ? AND title IN ? "
    "PER PARTITION LIMIT 1"
)
_REVISION = "SELECT revision, value, author, time, fields, deleted"

_Write = tuple[Hashable, Statement]
"""A statement, and which partition it writes to."""


class CassandraTitleStore:
    """Titles in the keyspace of the catalog."""

    def __init__(self, cassandra: Cassandra) -> None:
        self._cassandra = cassandra
        # Titles that are read at once are read together; so are notes of a minute written, and entries of a list.
        self._load = Gathering(self._load_all, most=READ_AT_ONCE, apart=lambda name: name.organization)
        self._write = Gathering(self._write_all, most=WRITTEN_AT_ONCE, apart=lambda write: write[0])

    async def load(self, name: TitleName) -> Held | None:
        """Return a title, also a deleted one; None when there never was one."""
        return await self._load(name)

    async def intend(self, change: Change) -> None:
        """Note that a change is about to be tried."""
        minute = minute_of(change.time)
        into = f"INSERT INTO {_KS}.title_changes (minute, id, organization, title) VALUES (?, ?, ?, ?)"
        note = Statement(into, (minute, change.id, change.name.organization, change.name.id))
        await self._write((("title_changes", minute), note))

    async def put(self, revision: Revision, request_id: str | None) -> bool:
        """Write a revision behind the one before it; False when that is not the latest."""
        name, number = revision.name, revision.title.revision
        this = (name.organization, name.id)
        columns, values = (
            ("head = ?", (number,))
            if request_id is None
            else (
                "head = ?, request_id = ?",
                (number, request_id),
            )
        )
        # Nothing but a lightweight transaction ever writes to this table: its timestamps do not mix with others.
        condition, expected = ("head = null", ()) if number == 1 else ("head = ?", (number - 1,))
        head = Statement(f"UPDATE {_KS}.titles SET {columns} {_THIS} IF {condition}", (*values, *this, *expected))
        columns = "value = ?, author = ?, time = ?, fields = ?, deleted = ?"
        row = Statement(
            f"UPDATE {_KS}.titles SET {columns} {_THIS} AND revision = ?",
            (
                revision.title.SerializeToString(deterministic=True),
                revision.author,
                revision.time,
                list(revision.fields),
                revision.deleted,
                *this,
                number,
            ),
        )
        oldest = number - REVISIONS_KEPT
        gone = [Statement(f"DELETE FROM {_KS}.titles {_THIS} AND revision = ?", (*this, oldest))] if oldest > 0 else []
        return await self._cassandra.apply(head, row, *gone) is None

    async def index(self, held: Held) -> None:
        """Write what lists say of a title, or take it out of them; an older revision changes nothing."""
        title, name = held.title, TitleName.parse(held.title.name)
        organization, version = name.organization, "USING TIMESTAMP ?"
        kind = (organization, Title.Kind.Name(title.kind), _made(title), name.id)
        if held.deleted:
            where = "WHERE organization = ? AND kind = ? AND made = ? AND title = ?"
            entry = Statement(f"DELETE FROM {_KS}.titles_by_kind {version} {where}", (title.revision, *kind))
        else:
            into = f"INSERT INTO {_KS}.titles_by_kind (organization, kind, made, title) VALUES (?, ?, ?, ?) {version}"
            entry = Statement(into, (*kind, title.revision))
        writes: list[_Write] = [(("titles_by_kind", organization, title.kind), entry)]
        if title.parent_title:
            parent = (organization, TitleName.parse(title.parent_title).id, name.id)
            if held.deleted:
                where = "WHERE organization = ? AND parent = ? AND title = ?"
                part = Statement(f"DELETE FROM {_KS}.titles_by_parent {version} {where}", (title.revision, *parent))
            else:
                part = Statement(
                    f"INSERT INTO {_KS}.titles_by_parent (organization, parent, title, number) VALUES (?, ?, ?, ?) "
                    f"{version}",
                    (*parent, title.number, title.revision),
                )
            writes.append((("titles_by_parent", *parent[:2]), part))
        await asyncio.gather(*map(self._write, writes))

    async def _load_all(self, names: Sequence[TitleName]) -> Sequence[Held | None]:
        rows = await self._cassandra.execute(_LATEST, names[0].organization, list({name.id for name in names}))
        found = {row.title: Held(Title.FromString(row.value), bool(row.deleted), row.request_id or "") for row in rows}
        return [found.get(name.id) for name in names]

    async def _write_all(self, writes: Sequence[_Write]) -> Sequence[None]:
        if len(writes) == 1:
            statement = writes[0][1]
            await self._cassandra.execute(statement.cql, *statement.parameters)
        else:
            # Of one partition: such a batch is one write, and no log is kept of it.
            await self._cassandra.batch([statement for _, statement in writes])
        return [None] * len(writes)

    async def heads(self, names: Sequence[TitleName]) -> Mapping[TitleName, int]:
        """Return the latest revisions of titles."""
        ids: dict[str, list[str]] = {}
        for name in names:
            ids.setdefault(name.organization, []).append(name.id)
        found = {}
        for organization, titles in ids.items():
            for start in range(0, len(titles), NAMES_AT_ONCE):
                rows = await self._cassandra.execute(
                    f"SELECT DISTINCT title, head FROM {_KS}.titles WHERE organization = ? AND title IN ?",
                    organization,
                    titles[start : start + NAMES_AT_ONCE],
                )
                found.update({TitleName(organization, row.title): row.head for row in rows})
        return found

    async def forget(self, *changes: Change) -> None:
        """Take notes away."""
        minutes: dict[datetime, list[str]] = {}
        for change in changes:
            minutes.setdefault(minute_of(change.time), []).append(change.id)
        for minute, ids in minutes.items():
            await self._cassandra.execute(f"DELETE FROM {_KS}.title_changes WHERE minute = ? AND id IN ?", minute, ids)

    async def intended(self, minute: datetime) -> Sequence[Change]:
        """Return the notes of a minute."""
        rows = await self._cassandra.execute(
            f"SELECT id, organization, title FROM {_KS}.title_changes WHERE minute = ?", minute
        )
        return [Change(row.id, TitleName(row.organization, row.title), minute) for row in rows]

    async def revision(self, name: TitleName, number: int) -> Revision | None:
        """Return a revision."""
        rows = await self._cassandra.execute(
            f"{_REVISION} FROM {_KS}.titles {_THIS} AND revision = ?", name.organization, name.id, number
        )
        return _revision(rows[0]) if rows else None

    async def revisions(self, name: TitleName, before: int, size: int) -> Sequence[Revision]:
        """Return revisions before a number (0: all), the latest first."""
        older, bound = (" AND revision < ?", (before,)) if before else ("", ())
        rows = await self._cassandra.execute(
            f"{_REVISION} FROM {_KS}.titles {_THIS}{older} LIMIT ?", name.organization, name.id, *bound, size
        )
        return [_revision(row) for row in rows]

    async def of_kind(self, organization: str, kind: int, behind: Position | None, size: int) -> Sequence[Position]:
        """Return where titles of a kind lie, latest made first."""
        older, bound = (" AND (made, title) < (?, ?)", (behind.made, behind.id)) if behind is not None else ("", ())
        rows = await self._cassandra.execute(
            f"SELECT made, title FROM {_KS}.titles_by_kind WHERE organization = ? AND kind = ?{older} LIMIT ?",
            organization,
            Title.Kind.Name(Title.Kind.ValueType(kind)),
            *bound,
            size,
        )
        return [Position(kind, row.made.replace(tzinfo=UTC), row.title) for row in rows]

    async def parts(self, parent: TitleName) -> Sequence[tuple[int, TitleName]]:
        """Return what a title is made of, with its numbers, in no order."""
        rows = await self._cassandra.execute(
            f"SELECT title, number FROM {_KS}.titles_by_parent WHERE organization = ? AND parent = ?",
            parent.organization,
            parent.id,
        )
        return [(row.number, TitleName(parent.organization, row.title)) for row in rows]

    async def take(self, video: VideoName, title: TitleName, now: datetime) -> Taken | None:
        """Let a title have a video; return who has it already, when that is another one."""
        earlier = await self._cassandra.apply(
            Statement(
                f"INSERT INTO {_KS}.titles_by_video (organization, video, title, time) VALUES (?, ?, ?, ?) "
                "IF NOT EXISTS",
                (video.organization, video.id, title.id, now),
            )
        )
        if earlier is None or earlier.title == title.id:
            return None
        return Taken(TitleName(video.organization, earlier.title), earlier.time.replace(tzinfo=UTC))

    async def owner(self, video: VideoName) -> TitleName | None:
        """Return who has a video."""
        rows = await self._cassandra.execute(
            f"SELECT title FROM {_KS}.titles_by_video {_VIDEO}", video.organization, video.id
        )
        return TitleName(video.organization, rows[0].title) if rows else None

    async def seize(self, video: VideoName, title: TitleName, before: Taken, now: datetime) -> bool:
        """Let a title have a video in place of another; False when that one no longer has it."""
        statement = Statement(
            f"UPDATE {_KS}.titles_by_video SET title = ?, time = ? {_VIDEO} IF title = ? AND time = ?",
            (title.id, now, video.organization, video.id, before.title.id, before.time),
        )
        return await self._cassandra.apply(statement) is None

    async def release(self, video: VideoName, title: TitleName) -> None:
        """Let others have a title's video."""
        await self._cassandra.apply(
            Statement(
                f"DELETE FROM {_KS}.titles_by_video {_VIDEO} IF title = ?", (video.organization, video.id, title.id)
            )
        )


def _made(title: Title) -> datetime:
    return title.create_time.ToDatetime(UTC)


def _revision(row: Row) -> Revision:
    return Revision(
        Title.FromString(row.value),
        author=row.author or "",
        time=row.time.replace(tzinfo=UTC),
        fields=tuple(row.fields or ()),
        deleted=bool(row.deleted),
    )
