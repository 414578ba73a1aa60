"""`reelmesh members` and `reelmesh api-keys`: who may do what in an organization."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table

from reelmesh.annotations.v1 import annotations_pb2
from reelmesh.identity.v1.organization_pb2 import Member, ServiceAccount
from reelmesh.identity.v1.organization_service_pb2 import (
    CreateServiceAccountRequest,
    DeleteServiceAccountRequest,
    ListMembersRequest,
    ListServiceAccountsRequest,
    RemoveMemberRequest,
    SetMemberRequest,
)
from reelmesh_tools.client.commands import connected
from reelmesh_tools.client.platform import CALL_SECONDS

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
_LIMIT = 1000


class RoleName(StrEnum):
    """Roles that a member or a service account may have."""

    VIEWER = "viewer"
    EDITOR = "editor"
    OWNER = "owner"


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(members)
    app.command(name="api-keys")(api_keys)


def members(
    email: Annotated[str | None, typer.Argument(help="Whose role to set; lists everyone when left out.")] = None,
    role: Annotated[RoleName, typer.Option(help="The role.")] = RoleName.VIEWER,
    remove: Annotated[bool, typer.Option("--remove", help="Take the member out instead.")] = False,
    as_json: _Json = False,
) -> None:
    """List the members of the organization, or set or remove one who has an account."""
    with connected(as_json=as_json) as platform:
        listing = ListMembersRequest(parent=platform.parent, page_size=_LIMIT)
        if email is not None and not remove:
            member = Member(email=email, role=_role(role))
            request = SetMemberRequest(parent=platform.parent, member=member)
            member = platform.organizations.SetMember(request, timeout=CALL_SECONDS).member
            _print("members", [member], as_json=as_json)
            return
        found = list(platform.organizations.ListMembers(listing, timeout=CALL_SECONDS).members)
        if email is not None:
            found = [member for member in found if member.email == email.lower()]
            for member in found:
                platform.organizations.RemoveMember(RemoveMemberRequest(name=member.name), timeout=CALL_SECONDS)
        _print("members", found, as_json=as_json)


def api_keys(
    create: Annotated[str | None, typer.Option(help="Make a key; this is what it is for.")] = None,
    role: Annotated[RoleName, typer.Option(help="Role of the new key.")] = RoleName.EDITOR,
    scope: Annotated[list[str] | None, typer.Option(help="Limit it, such as to catalog.read; may be repeated.")] = None,
    remove: Annotated[str | None, typer.Option(help="Name of a service account whose key to end.")] = None,
    as_json: _Json = False,
) -> None:
    """List the service accounts of the organization, make one with its key, or remove one."""
    with connected(as_json=as_json) as platform:
        if create is not None:
            account = ServiceAccount(display_name=create, role=_role(role), scopes=scope or ())
            request = CreateServiceAccountRequest(parent=platform.parent, service_account=account)
            made = platform.organizations.CreateServiceAccount(request, timeout=CALL_SECONDS)
            if as_json:
                typer.echo(json.dumps({"name": made.service_account.name, "api_key": made.api_key}, indent=2))
            else:
                typer.echo(f"{made.service_account.name}\n{made.api_key}\nIt is shown this once: keep it safe.")
            return
        if remove is not None:
            request_to_remove = DeleteServiceAccountRequest(name=remove)
            platform.organizations.DeleteServiceAccount(request_to_remove, timeout=CALL_SECONDS)
        listing = ListServiceAccountsRequest(parent=platform.parent, page_size=_LIMIT)
        answer = platform.organizations.ListServiceAccounts(listing, timeout=CALL_SECONDS)
        _print("service_accounts", list(answer.service_accounts), as_json=as_json)


def _role(role: RoleName) -> annotations_pb2.Role.ValueType:
    return annotations_pb2.Role.Value(f"ROLE_{role.name}")


def _print(key: str, messages: list[Member] | list[ServiceAccount], *, as_json: bool) -> None:
    if as_json:
        found: list[Message] = list(messages)
        everything = [MessageToDict(each, always_print_fields_with_no_presence=True) for each in found]
        typer.echo(json.dumps({key: everything}, indent=2))
        return
    table = Table("who", "role", "name")
    for message in messages:
        who = message.email if isinstance(message, Member) else message.display_name
        table.add_row(who, annotations_pb2.Role.Name(message.role)[5:].lower(), message.name)
    Console().print(table)
