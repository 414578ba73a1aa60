"""Organizations on Cassandra. See schema.cql for the shape and why it is so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from reelmesh.identity.model import Member, Organization, ServiceAccount
from reelmesh.mesh.person import Role
from reelmesh.stores.cassandra import Cassandra, Row, Statement
from reelmesh.stores.migrations import keyspace_of

_KS = keyspace_of("identity")


class CassandraOrganizationStore:
    """Organizations, members and service accounts in the keyspace of identity."""

    def __init__(self, cassandra: Cassandra) -> None:
        self._cassandra = cassandra

    async def create_organization(self, organization: Organization) -> None:
        """Make an organization, unless it is there."""
        await self._cassandra.apply(
            Statement(
                f"INSERT INTO {_KS}.organizations (organization, display_name, open_registration, create_time) "
                "VALUES (?, ?, ?, ?) IF NOT EXISTS",
                (organization.id, organization.display_name, organization.open_registration, organization.create_time),
            )
        )

    async def organization(self, organization: str) -> Organization | None:
        """Return an organization; None when there is none."""
        rows = await self._cassandra.execute(f"SELECT * FROM {_KS}.organizations WHERE organization = ?", organization)
        if not rows:
            return None
        row = rows[0]
        time = row.create_time.replace(tzinfo=UTC)
        return Organization(row.organization, row.display_name or "", bool(row.open_registration), time)

    async def member(self, organization: str, user: str) -> Member | None:
        """Return a member; None when the user is none."""
        rows = await self._cassandra.execute(
            f"SELECT * FROM {_KS}.members WHERE organization = ? AND user = ?", organization, user
        )
        return _member(rows[0]) if rows else None

    async def members(self, organization: str, after: str, size: int) -> Sequence[Member]:
        """Return up to `size` members whose user comes after `after`, by user."""
        rows = await self._cassandra.execute(
            f"SELECT * FROM {_KS}.members WHERE organization = ? AND user > ? LIMIT ?", organization, after, size
        )
        return [_member(row) for row in rows]

    async def owners(self, organization: str) -> int:
        """Return how many owners there are."""
        rows = await self._cassandra.execute(
            f"SELECT owners FROM {_KS}.members WHERE organization = ? LIMIT 1", organization
        )
        return (rows[0].owners or 0) if rows else 0

    async def put_member(self, member: Member, owners: int, new_owners: int) -> bool:
        """Set a member; False when there are no longer `owners`. There are `new_owners` then."""
        row = Statement(
            f"UPDATE {_KS}.members SET role = ?, email = ? WHERE organization = ? AND user = ?",
            (member.role.name, member.email, member.organization, member.user),
        )
        return await self._cassandra.apply(_count(member, owners, new_owners), row) is None

    async def take_member(self, member: Member, owners: int, new_owners: int) -> bool:
        """Remove a member; False when there are no longer `owners`."""
        row = Statement(
            f"DELETE FROM {_KS}.members WHERE organization = ? AND user = ?", (member.organization, member.user)
        )
        return await self._cassandra.apply(_count(member, owners, new_owners), row) is None

    async def put_membership(self, member: Member) -> None:
        """Write the same by user."""
        await self._cassandra.execute(
            f"INSERT INTO {_KS}.memberships (user, organization, role) VALUES (?, ?, ?)",
            member.user,
            member.organization,
            member.role.name,
        )

    async def take_membership(self, organization: str, user: str) -> None:
        """Remove the same by user."""
        await self._cassandra.execute(
            f"DELETE FROM {_KS}.memberships WHERE user = ? AND organization = ?", user, organization
        )

    async def add_service_account(self, account: ServiceAccount) -> None:
        """Keep a service account."""
        await self._cassandra.execute(
            f"INSERT INTO {_KS}.service_accounts (organization, account, display_name, role, scopes, key_hash, "
            "create_time) VALUES (?, ?, ?, ?, ?, ?, ?)",
            account.organization,
            account.id,
            account.display_name,
            account.role.name,
            list(account.scopes),
            account.key_hash,
            account.create_time,
        )

    async def service_account(self, organization: str, account: str) -> ServiceAccount | None:
        """Return a service account; None when there is none."""
        rows = await self._cassandra.execute(
            f"SELECT * FROM {_KS}.service_accounts WHERE organization = ? AND account = ?", organization, account
        )
        return _service_account(rows[0]) if rows else None

    async def service_accounts(self, organization: str, after: str, size: int) -> Sequence[ServiceAccount]:
        """Return up to `size` accounts whose id comes after `after`, oldest first."""
        rows = await self._cassandra.execute(
            f"SELECT * FROM {_KS}.service_accounts WHERE organization = ? AND account > ? LIMIT ?",
            organization,
            after,
            size,
        )
        return [_service_account(row) for row in rows]

    async def remove_service_account(self, organization: str, account: str) -> None:
        """Remove a service account."""
        await self._cassandra.execute(
            f"DELETE FROM {_KS}.service_accounts WHERE organization = ? AND account = ?", organization, account
        )


def _count(member: Member, owners: int, new_owners: int) -> Statement:
    return Statement(
        f"UPDATE {_KS}.members SET owners = ? WHERE organization = ? IF owners = ?",
        # Before the first member there is no count.
        (new_owners, member.organization, owners or None),
    )


def _member(row: Row) -> Member:
    return Member(row.organization, row.user, row.email, Role[row.role])


def _service_account(row: Row) -> ServiceAccount:
    return ServiceAccount(
        organization=row.organization,
        id=row.account,
        display_name=row.display_name or "",
        role=Role[row.role],
        scopes=tuple(row.scopes or ()),
        key_hash=row.key_hash,
        create_time=row.create_time.replace(tzinfo=UTC),
    )
