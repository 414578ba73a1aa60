"""From outside: every rpc that people may call, called by everyone who may not."""

from __future__ import annotations

import base64
import datetime as dt
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from rpc_world import admits, methods
from rpc_world import channel as inside

from reelmesh.annotations.v1 import annotations_pb2
from reelmesh.mesh.keys import KeyRing
from reelmesh.mesh.person import Role
from reelmesh_tools.client.platform import problem_of
from reelmesh_tools.stack.client import Stack
from reelmesh_tools.stack.plan import LISTENING_SERVICES

pytestmark = [pytest.mark.stack]

USER = f"users/{uuid.uuid4()}"
OTHER_USER = f"users/{uuid.uuid4()}"


@dataclass(frozen=True)
class Rpc:
    """An rpc for people, and a request about a resource of the organization, or the user, that owns it."""

    method: MethodDescriptor
    role: Role
    resource: str
    """Field that names the resource; empty where the contract names none."""

    @property
    def path(self) -> str:
        return f"/{self.method.containing_service.full_name}/{self.method.name}"

    def request(self, user: str) -> bytes:
        """Return a request about something of organization "default", or of `user` where it is about users."""
        message = message_factory.GetMessageClass(self.method.input_type)()
        holder: Message = message
        *outer, last = self.resource.split(".")
        for field in outer:
            holder = getattr(holder, field)
        setattr(holder, last, f"{user}/devices/1" if self.about_users() else "organizations/default/things/1")
        return message.SerializeToString()

    def about_users(self) -> bool:
        return self.method.containing_service.full_name.endswith("AccountService")

    def call(self, opened: grpc.Channel, request: bytes, token: str | None) -> tuple[str, str]:
        """Return the code and the reason, or the message where the gateway answers, of how the call ends."""
        sends = iter([request]) if self.method.client_streaming else request
        kind = f"{'stream' if self.method.client_streaming else 'unary'}_"
        kind += "stream" if self.method.server_streaming else "unary"
        metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        try:
            answer = getattr(opened, kind)(self.path)(sends, timeout=20, metadata=metadata)
            if self.method.server_streaming:
                next(answer)
        except grpc.RpcError as error:
            problem = problem_of(error)
            return problem.code.name, problem.reason or problem.message
        return "OK", ""


@pytest.fixture(scope="module")
def rpcs(stack: Stack) -> list[Rpc]:
    """Every rpc of every service that more than the mesh may call, by reflection."""
    found = []
    for service in LISTENING_SERVICES:
        with inside(stack, service, stack.layout.certificates, "gateway") as opened:
            for method in methods(opened):
                options = method.GetOptions().SerializeToString()
                known = type(method.GetOptions()).FromString(options)
                access = known.Extensions[annotations_pb2.access]
                if access.role:
                    found.append(Rpc(method, Role(access.role), access.resource))
    return found


@pytest.fixture
def outside(stack: Stack) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(stack.plan.gateway_url.removeprefix("http://")) as opened:
        yield opened


class Signer:
    """Makes the tokens of everyone, good and bad."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def token(self, *, seconds: float = 600, **claims: Any) -> str:
        expire = int((dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)).timestamp())
        return self._keys.sign({"iss": "reelmesh", "aud": "reelmesh", "sub": USER, "exp": expire, **claims})

    def role(self, role: Role, organization: str = "default") -> str:
        """Return the token of someone with a role, or an operator's."""
        if role is Role.OPERATOR:
            return self.token(operator=True)
        return self.token(organizations={organization: role.name.lower()})


@pytest.fixture(scope="module")
def signer(stack: Stack) -> Signer:
    return Signer(KeyRing.load(stack.layout.identity_keys))


def forged(good: str, signer: Signer) -> dict[str, str]:
    """Return tokens that say the same as `good`, and that nobody may believe."""
    head, body, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    stranger = Signer(KeyRing({"0001": ec.generate_private_key(ec.SECP256R1())}))
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    return {
        "expired": signer.token(seconds=-60, **without_time(claims)),
        "tampered": f"{head}.{body}.{signature[:-4]}{'AAAA' if signature[-4:] != 'AAAA' else 'BBBB'}",
        "another key": stranger.token(**without_time(claims)),
        "unsigned": f"{unsigned}.{body}.",
        "another audience": signer.token(**{**without_time(claims), "aud": "refresh"}),
        "another issuer": signer.token(**{**without_time(claims), "iss": "https://elsewhere"}),
    }


def without_time(claims: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in claims.items() if name != "exp"}


def test_nobody_is_admitted_who_may_not(rpcs: list[Rpc], outside: grpc.Channel, signer: Signer) -> None:
    tried = 0
    admitted = []

    def refuse(rpc: Rpc, who: str, token: str | None, request: bytes, codes: set[str]) -> None:
        nonlocal tried
        tried += 1
        code, reason = rpc.call(outside, request, token)
        if code not in codes:
            admitted.append(f"{who} {rpc.path}: {code} {reason}")

    closed = [rpc for rpc in rpcs if rpc.role > Role.ANONYMOUS]
    for rpc in rpcs:
        request = rpc.request(USER) if rpc.resource else b""
        for who, token in forged(signer.role(Role.OPERATOR), signer).items():
            refuse(rpc, who, token, request, {"UNAUTHENTICATED", "PERMISSION_DENIED"})
    for rpc in closed:
        request = rpc.request(OTHER_USER) if rpc.resource else b""
        refuse(rpc, "nobody", None, request, {"UNAUTHENTICATED"})
        refuse(rpc, "another organization's owner", signer.role(Role.OWNER, "other"), request, {"PERMISSION_DENIED"})
        scoped = signer.token(organizations={"default": "owner"}, scope="nothing.read")
        refuse(rpc, "an account with another scope", scoped, request, {"PERMISSION_DENIED"})
        lower = [role for role in (Role.VIEWER, Role.EDITOR, Role.OWNER) if role < rpc.role]
        for role in lower if not (rpc.resource and rpc.about_users()) else [Role.OWNER]:
            refuse(rpc, f"a mere {role.name.lower()}", signer.role(role), request, {"PERMISSION_DENIED"})
    print(json.dumps({"rpcs": len(rpcs), "closed": len(closed), "cases": tried, "admitted": len(admitted)}))  # noqa: T201
    assert len(closed) > 30
    assert not admitted, "\n".join(admitted)


def test_who_may_is_not_kept_out(rpcs: list[Rpc], outside: grpc.Channel, signer: Signer) -> None:
    """The other side of the walk: it would prove nothing if everyone were refused."""
    for rpc in rpcs:
        request = rpc.request(USER) if rpc.resource else b""
        code, reason = rpc.call(outside, request, signer.role(rpc.role) if rpc.role > Role.ANONYMOUS else None)
        assert admits(code, reason), f"{rpc.path}: {code} {reason}"


def test_the_contract_names_what_a_role_is_held_in(rpcs: list[Rpc]) -> None:
    for rpc in rpcs:
        assert bool(rpc.resource) == (Role.ANONYMOUS < rpc.role < Role.OPERATOR), rpc.path
