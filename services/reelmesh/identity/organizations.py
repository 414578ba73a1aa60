"""Organizations, their members, and the programs that act for them."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from typing import Protocol

from reelmesh.identity.errors import ApiKeyInvalid, LastOwner, OrganizationUnknown
from reelmesh.identity.model import Member, Organization, ServiceAccount, Tokens, User
from reelmesh.identity.tokens import TokenMaker, digest
from reelmesh.mesh.clock import Clock, IdSource
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.person import Role

ATTEMPTS = 8
"""Times that a change of members is tried anew because another one came first."""
KEY_PREFIX = "rmk"
"""Begins every API key, so that one that was published by mistake is found by a search."""


class OrganizationStore(Protocol):
    """What organizations need of a database. Every method may raise Unavailable."""

    async def create_organization(self, organization: Organization) -> None:
        """Make an organization, unless it is there."""

    async def organization(self, organization: str) -> Organization | None:
        """Return an organization; None when there is none."""

    async def member(self, organization: str, user: str) -> Member | None:
        """Return a member; None when the user is none."""

    async def members(self, organization: str, after: str, size: int) -> Sequence[Member]:
        """Return up to `size` members whose user comes after `after`, by user."""

    async def owners(self, organization: str) -> int:
        """Return how many owners there are."""

    async def put_member(self, member: Member, owners: int, new_owners: int) -> bool:
        """Set a member; False when there are no longer `owners`. There are `new_owners` then."""

    async def take_member(self, member: Member, owners: int, new_owners: int) -> bool:
        """Remove a member; False when there are no longer `owners`."""

    async def put_membership(self, member: Member) -> None:
        """Write the same by user."""

    async def take_membership(self, organization: str, user: str) -> None:
        """Remove the same by user."""

    async def add_service_account(self, account: ServiceAccount) -> None:
        """Keep a service account."""

    async def service_account(self, organization: str, account: str) -> ServiceAccount | None:
        """Return a service account; None when there is none."""

    async def service_accounts(self, organization: str, after: str, size: int) -> Sequence[ServiceAccount]:
        """Return up to `size` accounts whose id comes after `after`, oldest first."""

    async def remove_service_account(self, organization: str, account: str) -> None:
        """Remove a service account."""


class Organizations:
    """All organizations."""

    def __init__(self, store: OrganizationStore, tokens: TokenMaker, clock: Clock, ids: IdSource) -> None:
        self._store = store
        self._tokens = tokens
        self._clock = clock
        self._ids = ids

    async def create(self, id_: str, display_name: str, *, open_registration: bool, owner: User) -> Organization:
        """Make an organization and its owner; one that is there stays as it is."""
        made = Organization(id_, display_name, open_registration, self._clock.now())
        await self._store.create_organization(made)
        if await self._store.owners(id_) == 0:
            await self.add(id_, owner, Role.OWNER)
        return await self.get(id_)

    async def get(self, id_: str) -> Organization:
        """Return an organization. Raises OrganizationUnknown."""
        found = await self._store.organization(id_)
        if found is None:
            raise OrganizationUnknown("there is no such organization")
        return found

    async def is_open(self, id_: str) -> bool:
        """Say whether anyone may register there."""
        found = await self._store.organization(id_)
        return found is not None and found.open_registration

    async def members(self, id_: str, size: int, after: str) -> tuple[Sequence[Member], str]:
        """Return a page of members, and what asks for the next one."""
        found = await self._store.members(id_, after, size + 1)
        return found[:size], found[size - 1].user if len(found) > size else ""

    async def add(self, id_: str, user: User, role: Role) -> Member:
        """Give a user a role. Raises OrganizationUnknown, LastOwner."""
        await self.get(id_)
        member = Member(id_, user.id, user.email, role)
        await self._change(member, gone=False)
        await self._store.put_membership(member)
        return member

    async def remove(self, member: Member) -> None:
        """Take a user out. Raises LastOwner."""
        await self._change(member, gone=True)
        await self._store.take_membership(member.organization, member.user)

    async def is_last_owner(self, id_: str, user: str) -> bool:
        """Say whether the organization would be left without an owner."""
        member = await self._store.member(id_, user)
        return member is not None and member.role is Role.OWNER and await self._store.owners(id_) == 1

    async def create_service_account(
        self, id_: str, display_name: str, role: Role, scopes: Sequence[str]
    ) -> tuple[ServiceAccount, str]:
        """Make a program's account; return it and its key, which is not kept."""
        secret = secrets.token_urlsafe(32)
        account = ServiceAccount(
            id_, self._ids.new(), display_name, role, tuple(scopes), digest(secret), self._clock.now()
        )
        await self._store.add_service_account(account)
        return account, f"{KEY_PREFIX}.{id_}.{account.id}.{secret}"

    async def service_accounts(self, id_: str, size: int, after: str) -> tuple[Sequence[ServiceAccount], str]:
        """Return a page of service accounts, and what asks for the next one."""
        found = await self._store.service_accounts(id_, after, size + 1)
        return found[:size], found[size - 1].id if len(found) > size else ""

    async def remove_service_account(self, id_: str, account: str) -> None:
        """Make a key useless."""
        await self._store.remove_service_account(id_, account)

    async def exchange(self, api_key: str) -> Tokens:
        """Return an access token for a key. Raises ApiKeyInvalid."""
        match api_key.split("."):
            case [prefix, organization, account_id, secret] if prefix == KEY_PREFIX:
                account = await self._store.service_account(organization, account_id)
                if account is not None and hmac.compare_digest(account.key_hash, digest(secret)):
                    return self._tokens.for_service_account(account)
        raise ApiKeyInvalid("no service account has this key")

    async def _change(self, member: Member, *, gone: bool) -> None:
        """Set or remove a member, counting owners, whatever others change meanwhile. Raises LastOwner."""
        for _ in range(ATTEMPTS):
            owners = await self._store.owners(member.organization)
            before = await self._store.member(member.organization, member.user)
            if gone and before is None:
                return
            was = before is not None and before.role is Role.OWNER
            is_ = not gone and member.role is Role.OWNER
            left = owners - was + is_
            if was and left == 0:
                raise LastOwner("an organization needs an owner")
            change = self._store.take_member if gone else self._store.put_member
            if await change(member, owners, left):
                return
        raise Unavailable("too many change the members at once")
