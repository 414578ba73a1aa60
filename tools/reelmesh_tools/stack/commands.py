"""`reelmesh up`, `down`, `status` and `logs`, and the hidden `reelmesh stack …`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from reelmesh_tools.stack import jarlock, lifecycle, logs
from reelmesh_tools.stack.client import Stack, StackError
from reelmesh_tools.stack.layout import Layout, repository
from reelmesh_tools.stack.plan import JVM_SERVERS, USUAL
from reelmesh_tools.stack.report import Bars, Lines, Reporter, Silent, status_table

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
_Name = Annotated[str, typer.Argument(help="Name of the process, as `reelmesh status` prints it.")]


def register(app: typer.Typer) -> None:
    """Add the commands of the local stack to `app`."""
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command(name="logs")(show_logs)
    app.command()(serve)
    hidden = typer.Typer(help="Act on single parts of the local stack.", no_args_is_help=True)
    hidden.command(name="stop")(stop_process)
    hidden.command(name="start")(start_process)
    hidden.command(name="lock")(lock_jars)
    app.add_typer(hidden, name="stack", hidden=True)


def up(
    as_json: _Json = False,
    only: Annotated[
        list[str] | None, typer.Option(help="Start this process and no others; may be repeated.", hidden=True)
    ] = None,
    also: Annotated[
        list[str] | None, typer.Option(help="Start this process too: discovery-2, a second replica; may be repeated.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds until every process must be healthy.")] = 180.0,
) -> None:
    """Start the local platform, or find it running, and print where it is."""
    began = time.monotonic()
    with _errors():
        chosen = [*(only or USUAL), *also] if also else only or None
        stack = lifecycle.up(_layout(), os.environ, _reporter(as_json=as_json), chosen, timeout)
        seconds = time.monotonic() - began
        if as_json:
            typer.echo(json.dumps(stack.description(seconds), indent=2))
        else:
            typer.echo(f"reelmesh is up after {seconds:.1f} s: {stack.plan.gateway_url}/")


def down(as_json: _Json = False) -> None:
    """Stop the local platform; its data stays."""
    with _errors():
        stopped = lifecycle.down(_layout())
    if as_json:
        typer.echo(json.dumps({"stopped": stopped}, indent=2))
    else:
        typer.echo("stopped" if stopped else "nothing was running")


def status(as_json: _Json = False) -> None:
    """Show the processes of the local platform; exits with 1 unless all are healthy."""
    stack = Stack(_layout())
    with _errors():
        description = stack.description()
    found = stack.state()
    states = found.processes if found else ()
    if as_json:
        typer.echo(json.dumps(description, indent=2))
    else:
        Console().print(status_table(states))
        if description["running"]:
            typer.echo(f"gateway {description['gateway']}/")
        elif any(process.pid for process in states):
            typer.echo("the supervisor has gone; `reelmesh down` stops what it has left")
        else:
            typer.echo("not running")
    if not (description["running"] and all(process.health == "healthy" for process in states)):
        raise typer.Exit(1)


def show_logs(
    name: Annotated[str | None, typer.Argument(help="One process; all when left out.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 100,
    as_json: _Json = False,
) -> None:
    """Show what the processes have logged."""
    layout = _layout()
    with _errors():
        files = logs.files(layout.logs, name)
        if as_json and follow:
            raise ValueError("--json prints one object, and --follow has no end")
    if as_json:
        last = {file.stem: logs.last(file, lines) for file in files}
        typer.echo(json.dumps({"logs": last}, indent=2, ensure_ascii=False))
        return
    try:
        logs.show(files, lines, typer.echo, follow=follow)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def serve(
    targets: Annotated[list[str], typer.Argument(help="Services to run in this process, such as `ingest worker`.")],
    config: Annotated[
        Path | None, typer.Option(help="The installation's YAML file; the local stack's by default.")
    ] = None,
    process: Annotated[str, typer.Option(help="Name of the process in logs; the targets by default.")] = "",
) -> None:
    """Run any set of services in this process until it is told to stop."""
    file = config or _layout().services_file
    command = [sys.executable, "-P", "-m", "reelmesh.main", "--config", str(file)]
    # The process becomes the server: a signal to it reaches nobody else.
    os.execv(sys.executable, [*command, *(["--process", process] if process else []), *targets])  # noqa: S606


def stop_process(name: _Name) -> None:
    """Stop one process and hold it down until `reelmesh stack start`."""
    with _errors():
        Stack(_layout()).stop_process(name)
    typer.echo(f"{name} is held down")


def start_process(name: _Name) -> None:
    """Let a process that was held down run again."""
    with _errors():
        state = Stack(_layout()).start_process(name)
    typer.echo(f"{name} is {state.health}, pid {state.pid}")


def lock_jars() -> None:
    """Resolve the JVM servers' coordinates anew and write their locks."""
    # The resolver takes half a second to import, which no other command need pay.
    from reelmesh_tools.stack import jarfetch  # noqa: PLC0415

    folder = jarlock.repository_folder(os.environ)
    with _errors():
        for server in JVM_SERVERS:
            path = repository() / "deploy" / "jvm" / f"{server}.lock"
            lock = jarfetch.resolve(jarlock.read_endpoint(path), folder)
            jarlock.write(lock, path)
            size = sum(jar.size for jar in lock.jars)
            typer.echo(f"{path}: {len(lock.jars)} jars, {size / 1e6:.0f} MB")


def _layout() -> Layout:
    return Layout.from_environment(os.environ)


def _reporter(*, as_json: bool) -> Reporter:
    if as_json:
        return Silent()
    return Bars(Console()) if sys.stdout.isatty() else Lines(typer.echo)


@contextmanager
def _errors() -> Iterator[None]:
    """Turn what can go wrong into one message and exit status 1."""
    try:
        yield
    except (StackError, jarlock.LockError, ValueError) as error:
        typer.echo(f"reelmesh: {error}", err=True)
        raise typer.Exit(1) from error
