"""Opt-outs on Cassandra. See schema.cql for the shape and why it is so."""

from __future__ import annotations

import asyncio

from reelmesh.stores.cassandra import Cassandra
from reelmesh.stores.migrations import keyspace_of

BUCKETS = 16
"""Partitions of an organization; never changed, since a viewer's follows from their pseudonym."""

_KS = keyspace_of("recommend")


class CassandraOptOutStore:
    """Opt-outs in the keyspace of recommend."""

    def __init__(self, cassandra: Cassandra) -> None:
        self._cassandra = cassandra

    async def add(self, organization: str, viewer: bytes) -> None:
        """Keep that a viewer, given by their pseudonym, opted out."""
        await self._cassandra.execute(
            f"INSERT INTO {_KS}.opt_outs (organization, bucket, viewer) VALUES (?, ?, ?)",
            organization,
            _bucket(viewer),
            viewer,
        )

    async def remove(self, organization: str, viewer: bytes) -> None:
        """Keep no longer that a viewer opted out."""
        await self._cassandra.execute(
            f"DELETE FROM {_KS}.opt_outs WHERE organization = ? AND bucket = ? AND viewer = ?",
            organization,
            _bucket(viewer),
            viewer,
        )

    async def has(self, organization: str, viewer: bytes) -> bool:
        """Tell whether a viewer opted out."""
        rows = await self._cassandra.execute(
            f"SELECT viewer FROM {_KS}.opt_outs WHERE organization = ? AND bucket = ? AND viewer = ?",
            organization,
            _bucket(viewer),
            viewer,
        )
        return bool(rows)

    async def all(self, organization: str) -> frozenset[bytes]:
        """Return the pseudonyms of all who opted out."""
        parts = await asyncio.gather(*(self._bucket_of(organization, bucket) for bucket in range(BUCKETS)))
        return frozenset().union(*parts)

    async def _bucket_of(self, organization: str, bucket: int) -> frozenset[bytes]:
        rows = await self._cassandra.execute(
            f"SELECT viewer FROM {_KS}.opt_outs WHERE organization = ? AND bucket = ?", organization, bucket
        )
        return frozenset(bytes(row.viewer) for row in rows)


def _bucket(viewer: bytes) -> int:
    return viewer[0] % BUCKETS
