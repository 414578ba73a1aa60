"""The owner of a local stack, made at its first start, and how the command line signs in as its program."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from reelmesh.identity.v1.bootstrap_service_pb2 import BootstrapRequest
from reelmesh.identity.v1.bootstrap_service_pb2_grpc import BootstrapServiceStub
from reelmesh_tools.stack.files import write_whole
from reelmesh_tools.stack.inside import channel_as
from reelmesh_tools.stack.layout import Layout
from reelmesh_tools.stack.plan import Plan

ORGANIZATION = "organizations/default"
EMAIL = "owner@localhost.localdomain"
_IDENTITY = "cli"
_CALL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who owns a stack."""

    email: str
    """For signing in on the web page."""
    password: str
    api_key: str
    """For the command line."""

    @classmethod
    def load(cls, file: Path) -> Credentials | None:
        """Read what was kept; None when nothing was."""
        try:
            return cls(**json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None


def ensure(layout: Layout, plan: Plan) -> None:
    """Make sure that the running stack has an owner, and that we know who it is. Raises grpc.RpcError."""
    if layout.credentials_file.exists():
        return
    password = secrets.token_urlsafe(12)
    request = BootstrapRequest(organization=ORGANIZATION, email=EMAIL, password=password)
    # Past the gateway: before there is an account, only a certificate can say who we are.
    with channel_as(_IDENTITY, layout, plan, "identity") as channel:
        answer = BootstrapServiceStub(channel).Bootstrap(request, timeout=_CALL_SECONDS)
    credentials = Credentials(EMAIL, password, answer.api_key)
    write_whole(layout.credentials_file, f"{json.dumps(asdict(credentials), indent=2)}\n", 0o600)
