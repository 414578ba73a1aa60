"""`reelmesh doctor`: what is unsafe about this installation, and what to do about it."""

from __future__ import annotations

import datetime as dt
import json
import os
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from reelmesh.mesh.settings import SettingError
from reelmesh_tools.doctor.checks import CHECKS, Finding, Installation, Level, examine
from reelmesh_tools.stack.client import Stack, StackError
from reelmesh_tools.stack.layout import Layout


def register(app: typer.Typer) -> None:
    """Add `doctor` to `app`."""
    app.command()(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Report settings that are unsafe; exits with 1 when there are any. Warnings alone do not fail."""
    stack = Stack(Layout.from_environment(os.environ))
    try:
        found = examine(Installation.read(stack, dt.datetime.now(dt.UTC)))
    except (StackError, SettingError) as error:
        if as_json:
            typer.echo(json.dumps({"error": {"reason": "NOT_EXAMINED", "message": str(error)}}, indent=2))
        else:
            typer.echo(f"reelmesh: {error}", err=True)
        raise typer.Exit(1) from error
    safe = not any(finding.level is Level.UNSAFE for finding in found)
    if as_json:
        typer.echo(
            json.dumps({"safe": safe, "checks": list(CHECKS), "findings": [_as_dict(f) for f in found]}, indent=2)
        )
    else:
        _print(found)
    raise typer.Exit(0 if safe else 1)


def _as_dict(finding: Finding) -> dict[str, str]:
    return {
        "check": finding.check,
        "level": finding.level.value,
        "message": finding.message,
        "remedy": finding.remedy,
    }


def _print(found: list[Finding]) -> None:
    if not found:
        typer.echo(f"{len(CHECKS)} checks, nothing found")
        return
    table = Table("", "check", "what is wrong", "what to do")
    for finding in found:
        table.add_row(finding.level.value, finding.check, finding.message, finding.remedy)
    Console().print(table)
