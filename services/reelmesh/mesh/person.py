"""Who stands behind a call that came through the gateway: a person, or a service account of an organization.

The gateway has checked the token; the interceptor `People` reads what it says and holds it against the contract. What a
service asks beyond that (whose progress is it, what may this viewer watch) it asks of `current()`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import IntEnum

HEADER = "x-reelmesh-person"
"""Metadata in which the gateway says what the token says: its claims as JSON, in base64url."""
ISSUER = "reelmesh"
"""Issuer of our own tokens. Others may say who someone is and in which role, not who is an operator."""


class Role(IntEnum):
    """Roles within one organization, each including those before it; the numbers are the contract's."""

    ANONYMOUS = 1
    VIEWER = 2
    EDITOR = 3
    OWNER = 4
    OPERATOR = 5


@dataclass(frozen=True, slots=True)
class Person:
    """What a token says."""

    subject: str
    """Resource name: "users/{user}", or "organizations/{organization}/serviceAccounts/{account}"."""
    roles: Mapping[str, Role] = field(default_factory=dict)
    """Role by organization."""
    operator: bool = False
    """Runs the installation."""
    scopes: frozenset[str] | None = None
    """What a service account is limited to, such as "catalog.read"; None for everything that its role allows."""
    session: str = ""
    """Id of the sign-in, by which it is listed and revoked."""

    def role_in(self, organization: str) -> Role:
        """Return the role in an organization."""
        return Role.OPERATOR if self.operator else self.roles.get(organization, Role.ANONYMOUS)

    def is_member(self, organization: str) -> bool:
        """Tell whether it is more than a viewer in an organization."""
        return self.role_in(organization) > Role.VIEWER


@dataclass(frozen=True, slots=True)
class Client:
    """Where a call came from."""

    address: str = ""
    """Network address, as the gateway saw it; empty for a call of a service."""
    user_agent: str = ""
    """What the client calls itself."""


_person: ContextVar[Person | None] = ContextVar("person", default=None)
_client: ContextVar[Client | None] = ContextVar("client", default=None)


def begin(person: Person | None, client: Client | None = None) -> None:
    """Note on whose behalf the call being served was made, and where it came from."""
    _person.set(person)
    _client.set(client)


def current() -> Person | None:
    """Return on whose behalf the call was made; None for a service of the mesh and for who did not sign in."""
    return _person.get()


def client() -> Client:
    """Return where the call came from."""
    return _client.get() or Client()
