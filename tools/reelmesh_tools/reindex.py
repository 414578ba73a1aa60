"""`reelmesh reindex`: build the indexes of the local stack's replicas anew, while they go on answering."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, NoReturn

import grpc
import typer
from google.protobuf.json_format import MessageToDict
from rich.console import Console

from reelmesh.discovery.v1 import index_service_pb2 as pb
from reelmesh.discovery.v1.index_service_pb2_grpc import IndexServiceStub
from reelmesh_tools.client.platform import CALL_SECONDS, problem_of
from reelmesh_tools.stack.client import Stack, StackError
from reelmesh_tools.stack.inside import channel_to
from reelmesh_tools.stack.layout import Layout
from reelmesh_tools.stack.plan import SERVICE_PROCESSES

AGAIN_SECONDS = 0.5
"""Before a replica that was cut off is asked again."""
ATTEMPTS = 60
"""Times in a row that a replica may not answer."""
Tell = Callable[[pb.Index], None]


def register(app: typer.Typer) -> None:
    """Add `reindex` to `app`."""
    app.command()(reindex)


def reindex(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Build the index of every replica anew from the catalog's events; searches go on meanwhile."""
    stack = Stack(Layout.from_environment(os.environ))
    try:
        if not stack.is_running():
            _fail("STACK_NOT_RUNNING", f"no stack runs at {stack.layout.home}", as_json=as_json)
        with Console(stderr=True, quiet=as_json).status("") as status:
            found = rebuild(stack, lambda index: status.update(told(index)))
    except StackError as error:
        _fail("STACK_NOT_RUNNING", str(error), as_json=as_json)
    except grpc.RpcError as error:
        problem = problem_of(error)
        _fail(problem.reason or problem.code.name, problem.message, as_json=as_json)
    if as_json:
        typer.echo(json.dumps({"replicas": [_dict(index) for index in found]}, indent=2))
        return
    for index in found:
        build = index.build
        seconds = build.end_time.ToNanoseconds() / 1e9 - build.start_time.ToNanoseconds() / 1e9
        skipped = f", {build.skipped} records left out" if build.skipped else ""
        size = f"{index.titles:,} titles, {index.bytes / 1e6:.1f} MB"
        typer.echo(f"{index.replica}: {size} after {seconds:.1f} s{skipped}")


def rebuild(stack: Stack, tell: Tell = lambda index: None) -> Sequence[pb.Index]:
    """Build all replicas' indexes anew, one beside the other, and return how they are then.

    Raises grpc.RpcError where one does not come back, and StackError.
    """
    names = replicas(stack)
    with ThreadPoolExecutor(len(names)) as threads:
        return list(threads.map(lambda name: _rebuild(stack, name, tell), names))


def replicas(stack: Stack) -> Sequence[str]:
    """Return the names of a stack's processes that search. Raises StackError where there is none."""
    found = [name for name in stack.plan.processes if "discovery" in SERVICE_PROCESSES.get(name, ())]
    if not found:
        raise StackError("no process of the stack searches")
    return found


def told(index: pb.Index) -> str:
    """Say how far a build is."""
    build = index.build
    problem = f", waits: {build.problem}" if build.problem else ""
    return f"{index.replica}: {build.records:,} records read, {build.behind:,} to come{problem}"


def _rebuild(stack: Stack, name: str, tell: Tell) -> pb.Index:
    with channel_to("cli", stack.layout, stack.plan.address(name), "discovery") as channel:
        stub = IndexServiceStub(channel)
        begun = stub.RebuildIndex(pb.RebuildIndexRequest(), timeout=CALL_SECONDS, wait_for_ready=True).index
        left = ATTEMPTS
        index = begun
        while index.state != pb.Index.STATE_SERVING:
            try:
                for answer in stub.WatchIndex(pb.WatchIndexRequest()):
                    index, left = answer.index, ATTEMPTS
                    tell(index)
            except grpc.RpcError as error:
                left -= 1
                if not left or not problem_of(error).passing:
                    raise
                time.sleep(AGAIN_SECONDS)  # a replica that starts again has no event for who waits
        return index


def _dict(index: pb.Index) -> dict[str, Any]:
    found: dict[str, Any] = MessageToDict(index, preserving_proto_field_name=True)
    return found


def _fail(reason: str, message: str, *, as_json: bool) -> NoReturn:
    if as_json:
        typer.echo(json.dumps({"error": {"reason": reason, "message": message}}, indent=2))
    else:
        typer.echo(f"{reason}: {message}", err=True)
    raise typer.Exit(1)
