"""`reelmesh catalog …`: titles in and out in bulk, and one by one."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from reelmesh.catalog.rowcodecs.json_rows import JsonRows
from reelmesh.catalog.rowcodecs.model import Row
from reelmesh.catalog.title_model import imported_name
from reelmesh.catalog.v1 import library_service_pb2 as library_pb
from reelmesh.catalog.v1 import title_service_pb2 as pb
from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh_tools.client import library
from reelmesh_tools.client.commands import connected
from reelmesh_tools.client.platform import CALL_SECONDS, Platform
from reelmesh_tools.library.generator import titles as generated

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
_Title = Annotated[str, typer.Argument(help="A title's name, id or external id.")]
_Words = Annotated[list[str] | None, typer.Option(help="Repeat it for several.")]
MOST_SHOWN = 50
"""Refused rows that people are shown."""
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Format(StrEnum):
    """How rows are written."""

    JSON = "json"
    CSV = "csv"


class State(StrEnum):
    """Whether viewers find a title."""

    DRAFT = "draft"
    PUBLISHED = "published"
    WITHDRAWN = "withdrawn"


_FORMATS = {Format.JSON: library_pb.ROW_FORMAT_JSON, Format.CSV: library_pb.ROW_FORMAT_CSV}
_Format = Annotated[Format | None, typer.Option("--format", help="By the file's ending where it is left out.")]


def register(app: typer.Typer) -> None:
    """Add `catalog` to `app`."""
    group = typer.Typer(help="Titles of the catalog: in and out in bulk, and one by one.", no_args_is_help=True)
    group.command()(seed)
    group.command(name="import")(import_file)
    group.command()(export)
    group.command()(edit)
    group.command()(get)
    group.command()(revisions)
    group.command()(restore)
    app.add_typer(group, name="catalog")


def seed(
    titles: Annotated[int, typer.Option(min=1, max=5_000_000, help="How many titles.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same titles.")] = 1,
    as_json: _Json = False,
) -> None:
    """Fill the catalog with a believable library; run again, it changes nothing."""
    codec = JsonRows()

    def pieces() -> Iterator[bytes]:
        return library.gathered(codec.encode(Row(title)) for title in generated(titles, seed, organization))

    with connected(as_json=as_json) as platform:
        organization = platform.parent.removeprefix("organizations/")
        tally, refused = library.Tally(), []
        wanted = _settings(platform, Format.JSON, dry_run=False)
        began = time.monotonic()
        with _bar("titles", titles, hidden=as_json) as advance:
            for answer in library.send(platform, wanted, pieces, tally):
                advance(1)
                if answer.effect == library_pb.ImportTitlesResponse.EFFECT_REFUSED:
                    refused.append(_outcome(answer))
        result = tally.as_dict(time.monotonic() - began)
    if as_json:
        typer.echo(json.dumps({"titles": titles, "seed": seed, **result, "refusals": refused[:MOST_SHOWN]}, indent=2))
    else:
        typer.echo(_summary(result))
        _print_refused(refused)
    raise typer.Exit(1 if refused else 0)


def import_file(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="JSON Lines, or CSV.")],
    row_format: _Format = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would become of the rows.")] = False,
    as_json: _Json = False,
) -> None:
    """Take a library's titles into the catalog; exits with 1 where a row was refused. See docs/import.md."""
    chosen = row_format or _by_ending(file)
    outcomes: list[dict[str, Any]] = []
    with connected(as_json=as_json) as platform:
        tally = library.Tally()
        wanted = _settings(platform, chosen, dry_run=dry_run)
        began = time.monotonic()
        with _bar("rows", None, hidden=as_json) as advance:
            for answer in library.send(platform, wanted, lambda: library.pieces_of(file), tally):
                advance(1)
                if as_json or answer.effect == library_pb.ImportTitlesResponse.EFFECT_REFUSED:
                    outcomes.append(_outcome(answer))
        result = tally.as_dict(time.monotonic() - began)
    if as_json:
        report = {"file": str(file), "format": chosen, "dry_run": dry_run, "rows": tally.rows, **result}
        typer.echo(json.dumps({**report, "outcomes": outcomes}, indent=2))
    else:
        typer.echo(_summary(result) + (" (dry run: nothing was changed)" if dry_run else ""))
        _print_refused(outcomes)
    raise typer.Exit(1 if tally.effects["refused"] else 0)


def export(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="Where to write.")],
    row_format: _Format = None,
    as_json: _Json = False,
) -> None:
    """Write all titles to a file that `reelmesh catalog import` takes."""
    chosen = row_format or _by_ending(file)
    unfinished = file.with_name(f"{file.name}.part")
    size = 0
    began = time.monotonic()
    try:
        with (
            connected(as_json=as_json) as platform,
            unfinished.open("wb") as sink,
            _bar("bytes", None, hidden=as_json) as advance,
        ):
            for piece in library.fetch(platform, _FORMATS[chosen]):
                size += sink.write(piece)
                advance(len(piece))
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
    result = {"file": str(file), "format": chosen, "bytes": size, "seconds": round(time.monotonic() - began, 3)}
    typer.echo(json.dumps(result, indent=2) if as_json else f"{file}: {size:,} bytes in {result['seconds']} s")


def edit(
    titles: Annotated[list[str], typer.Argument(help="Names, ids or external ids.")],
    add_genre: _Words = None,
    remove_genre: _Words = None,
    add_tag: _Words = None,
    remove_tag: _Words = None,
    state: Annotated[State | None, typer.Option(help="The state that they get.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would become of them.")] = False,
    as_json: _Json = False,
) -> None:
    """Make the same edit to many titles; exits with 1 where one could not be edited."""
    change = pb.TitleEdit(
        add_genres=add_genre,
        remove_genres=remove_genre,
        add_tags=add_tag,
        remove_tags=remove_tag,
        state=Title.State.Value(f"STATE_{state.name}") if state else Title.STATE_UNSPECIFIED,
    )
    outcomes: list[pb.BulkEditTitlesResponse.Outcome] = []
    with connected(as_json=as_json) as platform:
        names = list(dict.fromkeys(title_name(platform, each) for each in titles))
        for start in range(0, len(names), 1000):
            request = pb.BulkEditTitlesRequest(
                parent=platform.parent, names=names[start : start + 1000], edit=change, dry_run=dry_run
            )
            outcomes += platform.titles.BulkEditTitles(request, timeout=3 * CALL_SECONDS).outcomes
    if as_json:
        typer.echo(json.dumps({"dry_run": dry_run, "outcomes": [_dict(each) for each in outcomes]}, indent=2))
    else:
        table = Table("title", "revision", "changed")
        for each in outcomes:
            table.add_row(each.name, str(each.revision), each.reason or ("yes" if each.changed else "no"))
        Console().print(table)
    raise typer.Exit(1 if any(each.reason for each in outcomes) else 0)


def get(title: _Title, as_json: _Json = False) -> None:
    """Show a title."""
    with connected(as_json=as_json) as platform:
        found = platform.titles.GetTitle(pb.GetTitleRequest(name=title_name(platform, title)), timeout=CALL_SECONDS)
    _print_title(found.title, as_json=as_json)


def revisions(
    title: _Title,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many of the latest.")] = 20,
    as_json: _Json = False,
) -> None:
    """List what a title was, latest first."""
    with connected(as_json=as_json) as platform:
        request = pb.ListTitleRevisionsRequest(name=title_name(platform, title), page_size=limit)
        found = platform.titles.ListTitleRevisions(request, timeout=CALL_SECONDS).revisions
    if as_json:
        typer.echo(json.dumps({"revisions": [_dict(each) for each in found]}, indent=2))
        return
    table = Table("revision", "when", "who", "changed", "title")
    for each in found:
        fields = ", ".join(each.fields) if each.fields else "deleted"
        table.add_row(str(each.title.revision), each.time.ToJsonString(), each.author, fields, words_of(each.title))
    Console().print(table)


def restore(
    title: _Title,
    revision: Annotated[int, typer.Argument(min=1, help="The revision that it becomes again.")],
    as_json: _Json = False,
) -> None:
    """Make a title what it was in a revision, as a new one; also one that was deleted."""
    with connected(as_json=as_json) as platform:
        request = pb.RestoreTitleRequest(name=title_name(platform, title), revision=revision)
        found = platform.titles.RestoreTitle(request, timeout=CALL_SECONDS)
    _print_title(found.title, as_json=as_json)


def title_name(platform: Platform, text: str) -> str:
    """Return the resource name of a title given by its name, its id, or the external id that it was imported under."""
    if text.startswith("organizations/"):
        return text
    if _ID.fullmatch(text):
        return f"{platform.parent}/titles/{text}"
    return str(imported_name(platform.parent.removeprefix("organizations/"), text))


def words_of(title: Title) -> str:
    """Return what a title is called in its original language, or in the first one; empty where it is gone."""
    names = {each.language: each.title for each in title.localizations}
    return names.get(title.original_language) or next(iter(names.values()), "")


def _settings(platform: Platform, chosen: Format, *, dry_run: bool) -> library_pb.ImportTitlesRequest.Settings:
    return library_pb.ImportTitlesRequest.Settings(parent=platform.parent, format=_FORMATS[chosen], dry_run=dry_run)


def _by_ending(file: Path) -> Format:
    return Format.CSV if file.suffix.lower() == ".csv" else Format.JSON


def _outcome(answer: library_pb.ImportTitlesResponse) -> dict[str, Any]:
    found = {"row": answer.row, "external_id": answer.external_id, "name": answer.name}
    refused = {"reason": answer.reason, "field": answer.field, "message": answer.message}
    return {**found, "effect": library.effect_of(answer), **(refused if answer.reason else {})}


def _summary(result: dict[str, Any]) -> str:
    counts = ", ".join(f"{result[effect]:,} {effect}" for effect in ("created", "updated", "unchanged", "refused"))
    return f"{counts} in {result['seconds']:.1f} s, {result['rate']:,.0f} a second"


def _print_refused(outcomes: list[dict[str, Any]]) -> None:
    if not outcomes:
        return
    table = Table("row", "external id", "reason", "field", "what is wrong")
    for each in outcomes[:MOST_SHOWN]:
        table.add_row(str(each["row"]), each["external_id"], each["reason"], each["field"], each["message"])
    Console(stderr=True).print(table)
    if len(outcomes) > MOST_SHOWN:
        typer.echo(f"and {len(outcomes) - MOST_SHOWN:,} more; --json tells all", err=True)


def _print_title(title: Title, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(_dict(title), indent=2, ensure_ascii=False))
        return
    table = Table("field", "value", title=words_of(title), show_header=False)
    for field, value in title.ListFields():
        shown = _dict(title).get(field.name, value)
        table.add_row(field.name, shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False))
    Console().print(table)


@contextmanager
def _bar(what: str, total: int | None, *, hidden: bool) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), disable=hidden) as bars:
        task = bars.add_task("", total=total)
        yield lambda over: bars.advance(task, over)


def _dict(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return found
