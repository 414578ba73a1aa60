"""`reelmesh keys rotate`: a new wrapping key for the content keys of the local stack."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any, NoReturn

import grpc
import typer

from reelmesh.drm.v1.key_service_pb2 import RewrapContentKeysRequest
from reelmesh.drm.v1.key_service_pb2_grpc import KeyServiceStub
from reelmesh_tools.client.platform import CALL_SECONDS, problem_of
from reelmesh_tools.stack.client import Stack, StackError
from reelmesh_tools.stack.inside import channel_as
from reelmesh_tools.stack.keys import add_wrapping
from reelmesh_tools.stack.layout import Layout

PAGE_VIDEOS = 100
"""Videos in one call; it takes well under a second."""


def register(app: typer.Typer) -> None:
    """Add `keys` to `app`."""
    group = typer.Typer(help="Keys of the local platform.", no_args_is_help=True)
    group.callback()(lambda: None)  # or its only command would take the group's name
    group.command()(rotate)
    app.add_typer(group, name="keys")


def rotate(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Add a wrapping key, and wrap every content key anew under it; viewers notice nothing."""
    stack = Stack(Layout.from_environment(os.environ))
    folder = stack.layout.wrapping_keys
    try:
        if not stack.is_running():
            _fail("STACK_NOT_RUNNING", f"no stack runs at {stack.layout.home}", as_json=as_json)
        version = add_wrapping(folder)
        with channel_as("cli", stack.layout, stack.plan, "drm") as channel:
            result = {"version": version, **rewrap(channel)}
    except StackError as error:
        _fail("STACK_NOT_RUNNING", str(error), as_json=as_json)
    except grpc.RpcError as error:
        problem = problem_of(error)
        _fail(problem.reason or problem.code.name, f"{problem.message} (run it again)", as_json=as_json)
    if as_json:
        typer.echo(json.dumps(result, indent=2))
    else:
        counts = f"{result['rewrapped']} of {result['examined']} keys wrapped under {version}"
        typer.echo(f"{counts}; the older files in {folder} may be put away")


def rewrap(channel: grpc.Channel) -> dict[str, Any]:
    """Wrap all content keys under the newest wrapping key; return how many there are and were wrapped anew."""
    stub = KeyServiceStub(channel)
    examined, rewrapped, token = 0, 0, ""
    while True:
        asked = RewrapContentKeysRequest(page_size=PAGE_VIDEOS, page_token=token)
        answer = stub.RewrapContentKeys(asked, timeout=CALL_SECONDS)
        examined += answer.examined
        rewrapped += answer.rewrapped
        token = answer.next_page_token
        if not token:
            return {"examined": examined, "rewrapped": rewrapped}


def _fail(reason: str, message: str, *, as_json: bool) -> NoReturn:
    if as_json:
        typer.echo(json.dumps({"error": {"reason": reason, "message": message}}, indent=2))
    else:
        typer.echo(f"{reason}: {message}", err=True)
    raise typer.Exit(1)
