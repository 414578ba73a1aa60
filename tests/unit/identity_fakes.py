"""Identity over a store in memory that keeps what Cassandra's would, with a clock that tests move."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from reelmesh.identity.accounts import Accounts
from reelmesh.identity.model import Device, Member, Membership, Organization, ServiceAccount, User
from reelmesh.identity.organizations import Organizations
from reelmesh.identity.passwords import Passwords
from reelmesh.identity.signing import SignIns
from reelmesh.identity.throttle import Attempts, Throttle
from reelmesh.identity.tokens import TokenMaker
from reelmesh.identity.totp import Totp
from reelmesh.mesh.clock import TimeOrderedIds
from reelmesh.mesh.keys import KeyRing

PASSWORD = "correct horse battery staple"  # noqa: S105 - of a comic
EMAIL = "ann@example.com"
SEAL = base64.urlsafe_b64encode(bytes(32)).decode()


@dataclass
class FakeClock:
    time: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def move(self, delta: timedelta) -> None:
        self.time += delta


@dataclass
class FakeMailer:
    sent: list[EmailMessage] = field(default_factory=list)
    broken: bool = False

    async def send(self, message: EmailMessage) -> None:
        if self.broken:
            raise ConnectionRefusedError
        self.sent.append(message)

    def token(self) -> str:
        """Return the token in the last mail."""
        text: str = self.sent[-1].get_content()
        return text.split("#token=")[1].split(maxsplit=1)[0]


class FakePasswords(Passwords):
    """Without the work: what is kept is the password with a mark."""

    async def hash(self, password: str) -> str:
        return f"hash of {password}"

    async def matches(self, password: str, kept: str | None) -> bool:
        return kept == f"hash of {password}"


class FakeStore:
    """Accounts, devices, attempts and organizations."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.emails: dict[str, str] = {}
        self.by_device: dict[tuple[str, str], Device] = {}
        self.mail: dict[bytes, tuple[str, str, str]] = {}
        self.failed: dict[str, Attempts] = {}
        self.erased: list[tuple[str, list[str]]] = []
        self.by_name: dict[str, Organization] = {}
        self.by_member: dict[tuple[str, str], Member] = {}
        self.belongs: dict[str, dict[str, Membership]] = {}
        self.accounts: dict[tuple[str, str], ServiceAccount] = {}
        self.owner_count: dict[str, int] = {}

    async def claim_email(self, email: str, user: str) -> bool:
        return self.emails.setdefault(email, user) == user

    async def create(self, user: User) -> None:
        self.users.setdefault(user.id, user)

    async def user(self, user: str) -> User | None:
        return self.users.get(user)

    async def user_by_email(self, email: str) -> User | None:
        return self.users.get(self.emails.get(email, ""))

    async def change(self, user: str, **values: Any) -> bool:
        if user not in self.users:
            return False
        self.users[user] = replace(self.users[user], **values)
        return True

    async def advance_totp(self, user: User, counter: int) -> bool:
        if self.users[user.id].totp_counter >= counter:
            return False
        return await self.change(user.id, totp_counter=counter)

    async def add_mail_token(self, digest: bytes, purpose: str, user: User, life: timedelta) -> None:
        self.mail[digest] = (purpose, user.id, user.email)

    async def mail_token(self, digest: bytes, purpose: str) -> tuple[str, str] | None:
        found = self.mail.get(digest)
        return found[1:] if found and found[0] == purpose else None

    async def use_mail_token(self, digest: bytes) -> bool:
        return self.mail.pop(digest, None) is not None

    async def announce_erasure(self, user: User, organizations: Sequence[str]) -> None:
        self.erased.append((user.name, list(organizations)))

    async def erase(self, user: User) -> None:
        del self.users[user.id], self.emails[user.email]

    async def memberships(self, user: str) -> Sequence[Membership]:
        return list(self.belongs.get(user, {}).values())

    async def add_device(self, device: Device) -> None:
        self.by_device[device.user, device.id] = device

    async def device(self, user: str, device: str) -> Device | None:
        return self.by_device.get((user, device))

    async def devices(self, user: str) -> Sequence[Device]:
        return [device for (owner, _), device in self.by_device.items() if owner == user]

    async def refresh_device(self, old: Device, new: Device) -> bool:
        if self.by_device[new.user, new.id].generation != old.generation:
            return False
        self.by_device[new.user, new.id] = new
        return True

    async def remove_device(self, user: str, device: str) -> None:
        self.by_device.pop((user, device), None)

    async def attempts(self, key: str) -> Attempts | None:
        return self.failed.get(key)

    async def replace_attempts(self, key: str, old: Attempts | None, new: Attempts | None) -> bool:
        if self.failed.get(key) != old:
            return False
        if new is None:
            self.failed.pop(key, None)
        else:
            self.failed[key] = new
        return True

    async def create_organization(self, organization: Organization) -> None:
        self.by_name.setdefault(organization.id, organization)

    async def organization(self, organization: str) -> Organization | None:
        return self.by_name.get(organization)

    async def member(self, organization: str, user: str) -> Member | None:
        return self.by_member.get((organization, user))

    async def members(self, organization: str, after: str, size: int) -> Sequence[Member]:
        found = sorted(user for of, user in self.by_member if of == organization and user > after)
        return [self.by_member[organization, user] for user in found[:size]]

    async def owners(self, organization: str) -> int:
        return self.owner_count.get(organization, 0)

    async def put_member(self, member: Member, owners: int, new_owners: int) -> bool:
        if self.owner_count.get(member.organization, 0) != owners:
            return False
        self.owner_count[member.organization] = new_owners
        self.by_member[member.organization, member.user] = member
        return True

    async def take_member(self, member: Member, owners: int, new_owners: int) -> bool:
        if self.owner_count.get(member.organization, 0) != owners:
            return False
        self.owner_count[member.organization] = new_owners
        self.by_member.pop((member.organization, member.user), None)
        return True

    async def put_membership(self, member: Member) -> None:
        self.belongs.setdefault(member.user, {})[member.organization] = Membership(member.organization, member.role)

    async def take_membership(self, organization: str, user: str) -> None:
        self.belongs.get(user, {}).pop(organization, None)

    async def add_service_account(self, account: ServiceAccount) -> None:
        self.accounts[account.organization, account.id] = account

    async def service_account(self, organization: str, account: str) -> ServiceAccount | None:
        return self.accounts.get((organization, account))

    async def service_accounts(self, organization: str, after: str, size: int) -> Sequence[ServiceAccount]:
        found = sorted(id_ for of, id_ in self.accounts if of == organization and id_ > after)
        return [self.accounts[organization, id_] for id_ in found[:size]]

    async def remove_service_account(self, organization: str, account: str) -> None:
        self.accounts.pop((organization, account), None)


class Identity:
    """All of it, put together."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = FakeStore()
        self.mailer = FakeMailer()
        self.keys = KeyRing({"1": ec.generate_private_key(ec.SECP256R1())})
        ids = TimeOrderedIds(self.clock)
        passwords, throttle = FakePasswords(), Throttle(self.store, self.clock)
        self.tokens = TokenMaker(self.keys, self.clock, timedelta(minutes=10))
        self.totp = Totp(self.store, self.clock, [SEAL])
        self.sign_ins = SignIns(
            self.store, passwords, self.totp, throttle, self.tokens, self.clock, ids, timedelta(days=30)
        )
        self.organizations = Organizations(self.store, self.tokens, self.clock, ids)
        self.accounts = Accounts(
            self.store,
            self.organizations,
            self.sign_ins,
            passwords,
            throttle,
            self.mailer,
            self.clock,
            ids,
            "https://video.example",
        )

    def open(self, organization: str, *, registration: bool = True) -> None:
        """Make an organization without an owner."""
        self.store.by_name[organization] = Organization(organization, "", registration, self.clock.now())

    def claims(self, token: str) -> dict[str, Any]:
        """Return what an access token says."""
        return self.keys.read(token, issuer="reelmesh", audience="reelmesh")
