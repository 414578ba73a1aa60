"""Keys and the audit log on Cassandra. See schema.cql for the shape and why it is so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from reelmesh.drm.decisions import Decision, Place
from reelmesh.drm.messages import decode, encode
from reelmesh.drm.model import KeyRow, Scheme, Wrapped
from reelmesh.mesh.errors import PageTokenInvalid
from reelmesh.mesh.names import VideoName
from reelmesh.stores.cassandra import Cassandra, Row, Statement
from reelmesh.stores.migrations import keyspace_of

BATCH_ROWS = 16
"""Decisions in a batch: about as many as Cassandra takes in one without a warning (5 KiB)."""

_KS = keyspace_of("drm")
_THIS = "WHERE organization = ? AND video = ?"
_PLACE = "token(organization, video)"


class CassandraKeyStore:
    """Keys in the keyspace of drm."""

    def __init__(self, cassandra: Cassandra) -> None:
        self._cassandra = cassandra

    async def load(self, video: VideoName) -> Sequence[KeyRow]:
        """Return a video's keys."""
        rows = await self._cassandra.execute(
            f"SELECT label, scheme, key_id, iv, wrapped, wrapped_by, create_time FROM {_KS}.content_keys {_THIS}",
            video.organization,
            video.id,
        )
        return [_key(video, row) for row in rows]

    async def add(self, video: VideoName, known: Sequence[KeyRow], new: Sequence[KeyRow]) -> bool:
        """Add `new`, all or nothing; False when the video's keys are no longer `known`."""
        changed = self._change(video, known, len(known) + len(new), new[0].scheme.value)
        return await self._cassandra.apply(changed, *map(_insert, new)) is None

    async def remove(self, video: VideoName, known: Sequence[KeyRow]) -> bool:
        """Remove all keys of a video; False when they are no longer `known`."""
        rows = [
            Statement(
                f"DELETE FROM {_KS}.content_keys {_THIS} AND label = ?", (video.organization, video.id, row.label)
            )
            for row in known
        ]
        return await self._cassandra.apply(self._change(video, known, None, None), *rows) is None

    @staticmethod
    def _change(video: VideoName, known: Sequence[KeyRow], revision: int | None, scheme: str | None) -> Statement:
        """Return what heads a transaction. Keys are only taken away all at once: their number says which they are."""
        condition, expected = ("revision = ?", (len(known),)) if known else ("revision = null", ())
        return Statement(
            f"UPDATE {_KS}.content_keys SET revision = ?, scheme = ? {_THIS} IF {condition}",
            (revision, scheme, video.organization, video.id, *expected),
        )

    async def rewrap(self, row: KeyRow, wrapped: Wrapped) -> bool:
        """Put another wrapping in place of the row's own; False when that is no longer there."""
        statement = Statement(
            f"UPDATE {_KS}.content_keys SET wrapped = ?, wrapped_by = ? {_THIS} AND label = ? IF wrapped_by = ?",
            (
                wrapped.data,
                wrapped.version,
                row.video.organization,
                row.video.id,
                row.label,
                row.wrapped.version,
            ),
        )
        return await self._cassandra.apply(statement) is None

    async def videos(self, after: str, size: int) -> tuple[Sequence[VideoName], str]:
        """Return up to `size` videos that have keys, behind a position, and the position of the last ("" at the end).

        The order is that of the partitions' tokens, the one in which a table can be walked. Raises PageTokenInvalid.
        """
        try:
            behind, bound = (f"WHERE {_PLACE} > ?", (int(after),)) if after else ("", ())
        except ValueError as error:
            raise PageTokenInvalid("page_token was not made by this walk") from error
        rows = await self._cassandra.execute(
            f"SELECT DISTINCT organization, video, {_PLACE} AS place FROM {_KS}.content_keys {behind} LIMIT ?",
            *bound,
            size,
        )
        videos = [VideoName(row.organization, row.video) for row in rows]
        return videos, str(rows[-1].place) if len(rows) == size else ""


class CassandraDecisionStore:
    """The audit log in the keyspace of drm."""

    def __init__(self, cassandra: Cassandra, kept: timedelta) -> None:
        """`kept` is how long a decision is kept."""
        self._cassandra = cassandra
        self._ttl = int(kept.total_seconds())

    async def add(self, decisions: Sequence[Decision]) -> None:
        """Write decisions down. Those of one day go together, since a batch of one partition is one write."""
        by_day: dict[tuple[str, date], list[Statement]] = {}
        for decision in decisions:
            day = (decision.video.organization, decision.time.date())
            by_day.setdefault(day, []).append(self._insert(decision))
        batches = [day[at : at + BATCH_ROWS] for day in by_day.values() for at in range(0, len(day), BATCH_ROWS)]
        await asyncio.gather(*map(self._cassandra.batch, batches))

    async def of_day(
        self, organization: str, day: date, since: datetime, before: Place, size: int
    ) -> Sequence[Decision]:
        """Return up to `size` decisions of a day, latest first: from `since` on, those that stand behind `before`."""
        rows = await self._cassandra.execute(
            f"SELECT decision FROM {_KS}.license_decisions WHERE organization = ? AND day = ? "
            "AND (time, id) < (?, ?) AND (time) >= (?) LIMIT ?",
            organization,
            day,
            before.time,
            before.id,
            since,
            size,
        )
        return [decode(row.decision) for row in rows]

    def _insert(self, decision: Decision) -> Statement:
        return Statement(
            f"INSERT INTO {_KS}.license_decisions (organization, day, time, id, decision) VALUES (?, ?, ?, ?, ?) "
            "USING TTL ?",
            (
                decision.video.organization,
                decision.time.date(),
                decision.time,
                decision.id,
                encode(decision),
                self._ttl,
            ),
        )


def _insert(row: KeyRow) -> Statement:
    return Statement(
        f"INSERT INTO {_KS}.content_keys (organization, video, label, key_id, iv, wrapped, wrapped_by, create_time) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row.video.organization,
            row.video.id,
            row.label,
            row.key_id,
            row.iv,
            row.wrapped.data,
            row.wrapped.version,
            row.create_time,
        ),
    )


def _key(video: VideoName, row: Row) -> KeyRow:
    return KeyRow(
        video=video,
        label=row.label,
        scheme=Scheme(row.scheme),
        key_id=row.key_id,
        iv=row.iv,
        wrapped=Wrapped(row.wrapped_by, row.wrapped),
        create_time=row.create_time.replace(tzinfo=UTC),
    )
