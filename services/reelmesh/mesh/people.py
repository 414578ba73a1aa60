"""Admits people: the interceptor that holds who is calling against what the contract asks.

The gateway has checked the token's signature and time, took it away, and passes on what it says. Nobody else can: the
gateway removes that header from what comes from outside, and only a call under the gateway's certificate is read.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import MethodOptions

from reelmesh.mesh import person
from reelmesh.mesh.annotations import MOST_METHODS, access_of
from reelmesh.mesh.errors import InvalidArgument, PermissionDenied, Unauthenticated
from reelmesh.mesh.identity import caller_of
from reelmesh.mesh.interceptors import PEOPLE, PLUMBING, Context, Layer
from reelmesh.mesh.person import HEADER, ISSUER, Client, Person, Role

_ORGANIZATION = re.compile("[a-z0-9-]{1,63}")


class SignInRequired(Unauthenticated):
    """The rpc is not for everyone, and the call carries no token."""

    reason = "SIGN_IN_REQUIRED"


class RoleTooLow(PermissionDenied):
    """The caller's role in the organization does not suffice; someone else's resource looks the same."""

    reason = "ROLE_TOO_LOW"


class ScopeMissing(PermissionDenied):
    """The service account's role would suffice, but its scopes leave this out."""

    reason = "SCOPE_MISSING"


@dataclass(slots=True)
class _Call:
    """What is asked of the requests of one call; `admitted` once one of them named its resource."""

    person: Person
    role: Role
    resource: tuple[str, ...]
    admitted: bool = False


_call: ContextVar[_Call | None] = ContextVar("call", default=None)


class People(Layer):
    """Admits a person, or a service account, whose role suffices in the organization that the request is about."""

    def __init__(self, trust_domain: str) -> None:
        self._trust_domain = trust_domain

    @asynccontextmanager
    async def _admit(self, method: str, context: Context) -> AsyncIterator[None]:
        _call.set(None)
        person.begin(None, Client())
        if caller_of(context.auth_context(), self._trust_domain) == PEOPLE and not method[1:].startswith(PLUMBING):
            metadata = dict(context.invocation_metadata() or ())
            _begin(method, metadata)
        yield

    def around(self, method: str, context: Context, streaming: bool) -> AbstractAsyncContextManager[None]:
        """Note who calls, and refuse who may not call such an rpc at all."""
        return self._admit(method, context)

    def request(self, message: Any) -> None:
        """Refuse a request about a resource of an organization in which the caller is too little."""
        call = _call.get()
        if call is not None:
            _check(call, message)


def _begin(method: str, metadata: Mapping[str, Any]) -> None:
    caller = person_of(metadata.get(HEADER, ""))
    # The gateway adds the address that it sees behind those that a client may have made up.
    address = str(metadata.get("x-forwarded-for", "")).rpartition(",")[2].strip()
    person.begin(caller, Client(address, str(metadata.get("user-agent", ""))))
    access = access_of(method)
    role = Role(access.role) if access and access.role else Role.OPERATOR
    if role is Role.ANONYMOUS:
        return
    if caller is None:
        raise SignInRequired("sign in first")
    if caller.scopes is not None and scope_of(method) not in caller.scopes:
        raise ScopeMissing("the service account's scopes do not allow this", scope=scope_of(method))
    if role is Role.OPERATOR:
        if not caller.operator:
            raise RoleTooLow("only for operators of the installation", role=role.name)
        return
    _call.set(_Call(caller, role, tuple(access.resource.split(".")) if access else ()))


def _check(call: _Call, message: Any) -> None:
    name = message
    for field in call.resource:
        name = getattr(name, field)
    if call.admitted and not name:
        return  # a later message of a stream
    match str(name).split("/"):
        case ["users", user, *_]:
            enough = call.person.operator or call.person.subject == f"users/{user}"
        case ["organizations", organization, *_] if _ORGANIZATION.fullmatch(organization):
            enough = call.person.role_in(organization) >= call.role
        case _:
            field = ".".join(call.resource)
            problem = "must name a resource of an organization or a user"
            raise InvalidArgument(f"{field}: {problem}", violations=[(field, problem)])
    if not enough:
        raise RoleTooLow("your role there does not allow this", role=call.role.name)
    call.admitted = True


def person_of(header: str) -> Person | None:
    """Read who calls from what the gateway passes on; None where it passes nothing on. Raises Unauthenticated."""
    if not header:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
        ours = claims["iss"] == ISSUER
        scope = claims.get("scope")
        return Person(
            subject=claims["sub"] if ours else subject_of(claims["iss"], claims["sub"]),
            roles={name: Role[role.upper()] for name, role in claims.get("organizations", {}).items()},
            operator=ours and claims.get("operator") is True,
            scopes=None if scope is None else frozenset(scope.split()),
            session=str(claims.get("sid", "")),
        )
    except (ValueError, KeyError, AttributeError, TypeError, binascii.Error) as error:
        raise Unauthenticated("the token does not say who calls") from error


def subject_of(issuer: str, subject: str) -> str:
    """Return the resource name of a user of another issuer: always the same, and nobody else's."""
    return f"users/{uuid.uuid5(uuid.NAMESPACE_URL, f'{issuer}#{subject}')}"


@lru_cache(MOST_METHODS)
def scope_of(method: str) -> str:
    """Return the scope that an rpc needs, such as "catalog.read": its area, and whether it has side effects."""
    service, _, name = method[1:].rpartition("/")
    descriptor = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    reads = descriptor.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
    return f"{service.split('.')[1]}.{'read' if reads else 'write'}"
