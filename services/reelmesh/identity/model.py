"""Accounts, devices, organizations and their members. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reelmesh.mesh.person import Role


@dataclass(frozen=True, slots=True)
class Membership:
    """A user in an organization."""

    organization: str
    role: Role


@dataclass(frozen=True, slots=True)
class User:
    """Someone with an account."""

    id: str
    email: str
    """In lower case."""
    display_name: str
    password_hash: str
    """As argon2 writes it, with its parameters."""
    create_time: datetime
    email_verified: bool = False
    operator: bool = False
    totp_secret: str = ""
    """Sealed; empty without a second factor."""
    totp_pending: str = ""
    """Sealed; a secret that no code has confirmed yet."""
    totp_counter: int = 0
    """Half minute of the last code that was taken: none is taken twice."""

    @property
    def name(self) -> str:
        """Resource name."""
        return f"users/{self.id}"


@dataclass(frozen=True, slots=True)
class Device:
    """A place where a user is signed in."""

    user: str
    id: str
    display_name: str
    address: str
    generation: int
    """Times that its tokens were refreshed."""
    create_time: datetime
    refresh_time: datetime
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class Organization:
    """Who owns videos."""

    id: str
    display_name: str
    open_registration: bool
    create_time: datetime


@dataclass(frozen=True, slots=True)
class Member:
    """A member as its organization lists it."""

    organization: str
    user: str
    email: str
    role: Role


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A program that acts for an organization."""

    organization: str
    id: str
    display_name: str
    role: Role
    scopes: tuple[str, ...]
    key_hash: bytes
    create_time: datetime

    @property
    def name(self) -> str:
        """Resource name."""
        return f"organizations/{self.organization}/serviceAccounts/{self.id}"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What proves who calls."""

    access: str
    access_expire_time: datetime
    refresh: str = ""
    refresh_expire_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A user, where the user belongs, and the tokens of the device."""

    user: User
    memberships: tuple[Membership, ...]
    tokens: Tokens
