"""Thresholds that videos have passed, on Cassandra. See schema.cql for the shape and why it is so."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime

from reelmesh.mesh.names import VideoName
from reelmesh.stores.cassandra import Cassandra
from reelmesh.stores.migrations import keyspace_of

_KS = keyspace_of("analytics")


class CassandraPopularityStore:
    """Thresholds in the keyspace of analytics."""

    def __init__(self, cassandra: Cassandra) -> None:
        self._cassandra = cassandra

    async def passed(self, video: VideoName) -> frozenset[int]:
        """Return the thresholds that a video was told to have passed."""
        rows = await self._cassandra.execute(
            f"SELECT threshold FROM {_KS}.passed_thresholds WHERE organization = ? AND video = ?",
            video.organization,
            video.id,
        )
        return frozenset(row.threshold for row in rows)

    async def remember(self, video: VideoName, thresholds: Collection[int], time: datetime) -> None:
        """Remember that a video was told to have passed thresholds."""
        statement = f"INSERT INTO {_KS}.passed_thresholds (organization, video, threshold, time) VALUES (?, ?, ?, ?)"
        await asyncio.gather(
            *(self._cassandra.execute(statement, video.organization, video.id, each, time) for each in thresholds)
        )
