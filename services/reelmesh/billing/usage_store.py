"""Usage on Cassandra. See schema.cql for the shape and why it is so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from reelmesh.billing.usage import Day
from reelmesh.mesh.names import SessionName, VideoName
from reelmesh.stores.cassandra import Cassandra
from reelmesh.stores.migrations import keyspace_of

_KS = keyspace_of("billing")
_MILLISECOND = timedelta(milliseconds=1)


class CassandraUsageStore:
    """Usage in the keyspace of billing."""

    def __init__(self, cassandra: Cassandra) -> None:
        self._cassandra = cassandra

    async def planned(self, video: VideoName, job: str, length: timedelta) -> None:
        """Remember how long what a job makes is."""
        await self._cassandra.execute(
            f"INSERT INTO {_KS}.planned_jobs (job, length_ms) VALUES (?, ?)", job, length // _MILLISECOND
        )

    async def encoded(self, video: VideoName, job: str, day: datetime) -> None:
        """Count a job that ended well on a day; its video is stored from then on, unless it is gone."""
        rows = await self._cassandra.execute(f"SELECT length_ms FROM {_KS}.planned_jobs WHERE job = ?", job)
        length = rows[0].length_ms if rows else 0
        await self._count(video.organization, day, "encoded", job, length, 1)
        await self._cassandra.execute(
            f"INSERT INTO {_KS}.stored_videos (organization, video, length_ms) VALUES (?, ?, ?)",
            video.organization,
            video.id,
            length,
        )

    async def gone(self, video: VideoName) -> None:
        """Count a video as stored no more, whatever is told of it later."""
        await self._cassandra.execute(
            f"INSERT INTO {_KS}.stored_videos (organization, video, gone) VALUES (?, ?, true)",
            video.organization,
            video.id,
        )

    async def watched(self, session: SessionName, day: datetime, total: timedelta) -> None:
        """Count the total that a session begun on a day was watched; a larger one that was counted stays."""
        length = total // _MILLISECOND
        # The total is the write's timestamp too: of two totals the larger one wins, whichever comes last.
        await self._count(session.organization, day, "delivered", session.id, length, length + 1)

    async def stored(self, organization: str) -> timedelta:
        """Return the length of all videos that are stored."""
        rows = await self._cassandra.execute(
            f"SELECT length_ms, gone FROM {_KS}.stored_videos WHERE organization = ?", organization
        )
        return sum((row.length_ms or 0 for row in rows if not row.gone), start=0) * _MILLISECOND

    async def days(self, organization: str, days: Sequence[datetime]) -> Mapping[datetime, Day]:
        """Return what was used on those of some days on which something was."""
        found: dict[datetime, Day] = {}
        for day in days:
            rows = await self._cassandra.execute(
                f"SELECT kind, length_ms FROM {_KS}.usage WHERE organization = ? AND day = ?", organization, day.date()
            )
            totals: defaultdict[str, int] = defaultdict(int)
            for row in rows:
                totals[row.kind] += row.length_ms
            if rows:
                found[day] = Day(day, totals["encoded"] * _MILLISECOND, totals["delivered"] * _MILLISECOND)
        return found

    async def _count(
        self, organization: str, day: datetime, kind: str, source: str, length: int, timestamp: int
    ) -> None:
        await self._cassandra.execute(
            f"INSERT INTO {_KS}.usage (organization, day, kind, source, length_ms) VALUES (?, ?, ?, ?, ?) "
            "USING TIMESTAMP ?",
            organization,
            day.date(),
            kind,
            source,
            length,
            timestamp,
        )
