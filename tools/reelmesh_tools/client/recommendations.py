"""`reelmesh home`, `similar` and `personalization`: what viewers are shown, and whether their history is used."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import grpc
import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table

from reelmesh.discovery.v1.discovery_service_pb2 import TitleSummary, ViewerContext
from reelmesh.recommend.v1 import recommendation_service_pb2 as pb
from reelmesh_tools.client.commands import connected
from reelmesh_tools.client.platform import CALL_SECONDS, Platform, problem_of

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
_Viewer = Annotated[
    str, typer.Option(help="A viewer whom a client names and who did not sign in; yourself when left out.")
]
_Territory = Annotated[str, typer.Option(help="Country where they are (ISO 3166-1 alpha-2).")]
_Language = Annotated[str, typer.Option(help="Language that titles are told in (BCP 47).")]
_Size = Annotated[int, typer.Option(min=1, max=50, help="Most titles in a row.")]


class Switch(StrEnum):
    """Whether a history is used."""

    ON = "on"
    OFF = "off"


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(home)
    app.command()(similar)
    app.command()(personalization)


def home(
    viewer: _Viewer = "", territory: _Territory = "", language: _Language = "", size: _Size = 20, as_json: _Json = False
) -> None:
    """Show the home page of a viewer."""
    with connected(as_json=as_json) as platform:
        request = pb.GetHomeRequest(
            parent=platform.parent,
            viewer=viewer,
            context=ViewerContext(territory=territory, language=language),
            row_size=size,
        )
        service = platform.unsigned_recommendations if viewer else platform.recommendations
        page = service.GetHome(request, timeout=CALL_SECONDS)
    if as_json:
        _echo(page)
        return
    console = Console()
    for row in page.rows:
        kind = pb.Row.Kind.Name(row.kind).removeprefix("KIND_").replace("_", " ").capitalize()
        console.print(_table(f"{kind} {row.subject.display_title}".strip(), row.titles))
    told = [f"chosen by {page.model}" if page.model else "chosen without a model"]
    told += ["from what you watched"] if page.personal else []
    told += [f"in {page.arm}"] if page.arm else []
    told += [f"without {', '.join(page.missing)}, which did not answer"] if page.missing else []
    console.print(", ".join(told))


def similar(
    title: Annotated[str, typer.Argument(help="A title's or a video's name or id.")],
    territory: _Territory = "",
    language: _Language = "",
    size: _Size = 20,
    as_json: _Json = False,
) -> None:
    """Show what resembles a title."""
    with connected(as_json=as_json) as platform:
        context = ViewerContext(territory=territory, language=language)
        names = [title] if "/" in title else [f"{platform.parent}/{kind}/{title}" for kind in ("titles", "videos")]
        found = _first(
            platform, [pb.ListSimilarTitlesRequest(name=each, context=context, page_size=size) for each in names]
        )
    if as_json:
        _echo(found)
    else:
        Console().print(_table("", found.titles))


def personalization(
    switch: Annotated[Switch | None, typer.Argument(help="Whether to use the history; tells it when left out.")] = None,
    viewer: _Viewer = "",
    as_json: _Json = False,
) -> None:
    """Say whether a viewer's history is used to choose what they are shown."""
    with connected(as_json=as_json) as platform:
        service = platform.unsigned_recommendations if viewer else platform.recommendations
        if switch is None:
            asked = pb.GetPersonalizationRequest(parent=platform.parent, viewer=viewer)
            enabled = service.GetPersonalization(asked, timeout=CALL_SECONDS).enabled
        else:
            wanted = pb.UpdatePersonalizationRequest(parent=platform.parent, viewer=viewer, enabled=switch is Switch.ON)
            enabled = service.UpdatePersonalization(wanted, timeout=CALL_SECONDS).enabled
    if as_json:
        typer.echo(json.dumps({"enabled": enabled}, indent=2))
    else:
        typer.echo("The history is used." if enabled else "The history is not used.")


def _first(platform: Platform, requests: Sequence[pb.ListSimilarTitlesRequest]) -> pb.ListSimilarTitlesResponse:
    """Return the answer to the first request whose name is known; an id does not say what it is one of."""
    *others, last = requests
    for request in others:
        try:
            return platform.recommendations.ListSimilarTitles(request, timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            if problem_of(error).reason != "TITLE_UNKNOWN":
                raise
    return platform.recommendations.ListSimilarTitles(last, timeout=CALL_SECONDS)


def _table(heading: str, titles: Sequence[pb.RecommendedTitle]) -> Table:
    table = Table("title", "why", "at", title=heading or None, title_justify="left")
    for each in titles:
        at = f"{each.position.seconds} s of {each.duration.seconds} s" if each.HasField("position") else ""
        table.add_row(_named(each.title), _why(each.explanation), at)
    return table


def _named(title: TitleSummary) -> str:
    year = f" ({title.year})" if title.year else ""
    episode = f", {title.season_number or 1}x{title.episode_number:02}" if title.episode_number else ""
    return f"{title.display_title}{year}{episode}"


def _why(explanation: pb.Explanation) -> str:
    reason = pb.Explanation.Reason.Name(explanation.reason).removeprefix("REASON_").replace("_", " ").lower()
    because = ", ".join(title.display_title for title in explanation.because_of)
    shared = ", ".join(explanation.shared)
    return re.sub(r"\s+", " ", f"{reason}{': ' if because else ''}{because}{f' ({shared})' if shared else ''}")


def _echo(message: Message) -> None:
    typer.echo(json.dumps(MessageToDict(message, preserving_proto_field_name=True), indent=2, ensure_ascii=False))
