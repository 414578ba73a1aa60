"""Policies, grants and devices on Cassandra. See schema.cql for the shape and why it is so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from reelmesh.billing.messages import policy_to_proto, terms_from_proto
from reelmesh.billing.model import Grant, GrantKind, GrantName, Policy, PolicyName
from reelmesh.billing.v1 import policy_pb2
from reelmesh.mesh.names import VideoName
from reelmesh.stores.cassandra import Cassandra, Row, Statement
from reelmesh.stores.migrations import keyspace_of

DEVICE_TTL = timedelta(days=30)
"""How long a device counts after it was last used."""

_KS = keyspace_of("billing")
_MILLISECOND = timedelta(milliseconds=1)


class CassandraPolicyStore:
    """Policies in the keyspace of billing."""

    def __init__(self, cassandra: Cassandra) -> None:
        self._cassandra = cassandra

    async def newest(self, name: PolicyName) -> Policy | None:
        """Return the newest version of a policy; None when there is none."""
        rows = await self._cassandra.execute(
            f"SELECT * FROM {_KS}.policies WHERE organization = ? AND policy = ? LIMIT 1", name.organization, name.id
        )
        return _policy(rows[0]) if rows else None

    async def version(self, name: PolicyName, version: int) -> Policy | None:
        """Return a version of a policy; None when there is none."""
        rows = await self._cassandra.execute(
            f"SELECT * FROM {_KS}.policies WHERE organization = ? AND policy = ? AND version = ?",
            name.organization,
            name.id,
            version,
        )
        return _policy(rows[0]) if rows else None

    async def add(self, policy: Policy) -> bool:
        """Keep a version; False when there is one of that number."""
        if policy.name is None:
            raise ValueError("the installation's policy is in its configuration")
        organization, id_ = policy.name.organization, policy.name.id
        insert = Statement(
            f"INSERT INTO {_KS}.policies (organization, policy, version, terms, create_time) "
            "VALUES (?, ?, ?, ?, ?) IF NOT EXISTS",
            (organization, id_, policy.version, policy_to_proto(policy).SerializeToString(), policy.create_time),
        )
        # The list comes first, so that no policy is missing from it; a name without a policy is skipped.
        await self._cassandra.execute(
            f"INSERT INTO {_KS}.policies_by_organization (organization, policy) VALUES (?, ?)", organization, id_
        )
        return await self._cassandra.apply(insert) is None

    async def names(self, organization: str, after: str, size: int) -> Sequence[PolicyName]:
        """Return up to `size` names of an organization's policies, by id, after the id `after`."""
        rows = await self._cassandra.execute(
            f"SELECT policy FROM {_KS}.policies_by_organization WHERE organization = ? AND policy > ? LIMIT ?",
            organization,
            after,
            size,
        )
        return [PolicyName(organization, row.policy) for row in rows]

    async def assign(self, video: VideoName, policy: str) -> None:
        """Say which policy, by its id, governs a video; empty for none of its own."""
        await self._cassandra.execute(
            f"INSERT INTO {_KS}.video_policies (organization, video, policy) VALUES (?, ?, ?)",
            video.organization,
            video.id,
            policy,
        )

    async def assigned(self, video: VideoName) -> str:
        """Return the id of the policy of a video; empty for none of its own."""
        rows = await self._cassandra.execute(
            f"SELECT policy FROM {_KS}.video_policies WHERE organization = ? AND video = ?",
            video.organization,
            video.id,
        )
        return rows[0].policy if rows else ""


class CassandraGrantStore:
    """Grants in the keyspace of billing."""

    def __init__(self, cassandra: Cassandra) -> None:
        self._cassandra = cassandra

    async def all(self, organization: str, user: str) -> Sequence[Grant]:
        """Return all that a viewer has or had in an organization, newest first."""
        rows = await self._cassandra.execute(
            f"SELECT * FROM {_KS}.grants WHERE organization = ? AND user = ?", organization, user
        )
        return [_grant(row) for row in rows]

    async def load(self, name: GrantName) -> Grant | None:
        """Return a grant; None when there is none."""
        rows = await self._cassandra.execute(f"SELECT * FROM {_KS}.grants {_THIS_GRANT}", *_key(name))
        return _grant(rows[0]) if rows else None

    async def add(self, grant: Grant) -> Grant:
        """Keep a grant unless there is one of that name; return the one that is there."""
        insert = Statement(
            f"INSERT INTO {_KS}.grants "
            "(organization, user, id, kind, plan, video, expire_time, rental_ms, create_time, revision) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0) IF NOT EXISTS",
            (
                *_key(grant.name),
                grant.kind.value,
                grant.plan,
                grant.video.id if grant.video else "",
                grant.expire_time,
                grant.rental_period // _MILLISECOND if grant.rental_period else None,
                grant.create_time,
            ),
        )
        earlier = await self._cassandra.apply(insert)
        return grant if earlier is None else _grant(earlier)

    async def put(self, grant: Grant, revision: int) -> None:
        """Put a grant in place of an earlier revision of it; a later one stays, and so does a first play."""
        await self.add(grant)
        await self._cassandra.apply(
            Statement(
                f"UPDATE {_KS}.grants SET revision = ?, expire_time = ? {_THIS_GRANT} IF revision < ?",
                (revision, grant.expire_time, *_key(grant.name), revision),
            )
        )
        if grant.revoke_time is not None:
            await self.revoke(grant.name, grant.revoke_time)

    async def revoke(self, name: GrantName, time: datetime) -> None:
        """Note that it was taken back, unless it was before."""
        await self._once(name, "revoke_time", time)

    async def begin(self, name: GrantName, time: datetime) -> None:
        """Note a rental's first play, unless there was one before."""
        await self._once(name, "first_play_time", time)

    async def _once(self, name: GrantName, column: str, time: datetime) -> None:
        await self._cassandra.apply(
            Statement(f"UPDATE {_KS}.grants SET {column} = ? {_THIS_GRANT} IF {column} = null", (time, *_key(name)))
        )


class CassandraDeviceStore:
    """Devices in the keyspace of billing."""

    def __init__(self, cassandra: Cassandra) -> None:
        self._cassandra = cassandra

    async def used(self, organization: str, user: str) -> frozenset[str]:
        """Return the devices of a viewer."""
        rows = await self._cassandra.execute(
            f"SELECT device FROM {_KS}.devices WHERE organization = ? AND user = ?", organization, user
        )
        return frozenset(row.device for row in rows)

    async def note(self, organization: str, user: str, device: str) -> None:
        """Remember a device for a month from now."""
        await self._cassandra.execute(
            f"INSERT INTO {_KS}.devices (organization, user, device) VALUES (?, ?, ?) "
            f"USING TTL {int(DEVICE_TTL.total_seconds())}",
            organization,
            user,
            device,
        )


_THIS_GRANT = "WHERE organization = ? AND user = ? AND id = ?"


def _key(name: GrantName) -> tuple[str, str, str]:
    return name.organization, name.user, name.id


def _policy(row: Row) -> Policy:
    terms = terms_from_proto(policy_pb2.Policy.FromString(row.terms))
    return Policy(PolicyName(row.organization, row.policy), row.version, terms, _utc(row.create_time))


def _grant(row: Row) -> Grant:
    return Grant(
        GrantName(row.organization, row.user, row.id),
        GrantKind(row.kind),
        row.create_time.replace(tzinfo=UTC),
        plan=row.plan,
        video=VideoName(row.organization, row.video) if row.video else None,
        expire_time=_utc(row.expire_time),
        rental_period=None if row.rental_ms is None else row.rental_ms * _MILLISECOND,
        first_play_time=_utc(row.first_play_time),
        revoke_time=_utc(row.revoke_time),
    )


def _utc(time: datetime | None) -> datetime | None:
    return None if time is None else time.replace(tzinfo=UTC)
