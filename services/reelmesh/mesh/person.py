"""Who stands behind a call that came through the gateway: a person, or a service account of an organization.

The gateway has checked the token; the interceptor `People` reads what it says and holds it against the contract. What a
service asks beyond that (whose progress is it, what may this viewer watch) it asks of `current()`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import IntEnum


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


_person: ContextVar[Person | None] = ContextVar("person", default=None)


def begin(person: Person | None) -> None:
    """Note on whose behalf the call being served was made."""
    _person.set(person)


def current() -> Person | None:
    """Return on whose behalf the call was made; None for a service of the mesh and for who did not sign in."""
    return _person.get()
