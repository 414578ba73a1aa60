"""`reelmesh search`, `browse` and `suggest`: find titles as a viewer does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.discovery.v1 import discovery_service_pb2 as pb
from reelmesh_tools.client.commands import connected
from reelmesh_tools.client.platform import CALL_SECONDS

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
_Territory = Annotated[
    str, typer.Option(help="Country of the viewer (ISO 3166-1 alpha-2), where the edge knows no better.")
]
_Language = Annotated[str, typer.Option(help="Language that titles are told in (BCP 47).")]
_Age = Annotated[int, typer.Option(min=0, max=21, help="Age up to which titles are found; 0 for no bound.")]
_Filter = Annotated[
    list[str] | None,
    typer.Option("--filter", help="What titles have to be, such as genre=drama,comedy; repeat it for another facet."),
]
_Facet = Annotated[list[str] | None, typer.Option(help="Facet to be counted, such as genre; repeat it.")]
_PageSize = Annotated[int, typer.Option(min=1, max=100, help="Titles on a page.")]
_PageToken = Annotated[str, typer.Option(help="next_page_token of the page before.")]


class Mode(StrEnum):
    """How words are understood."""

    BEST = "best"
    LEXICAL = "lexical"
    SEMANTIC = "semantic"


class Order(StrEnum):
    """In what order titles are listed."""

    POPULAR = "popular"
    NEW = "new"
    NAME = "name"
    TRENDING = "trending"
    NUMBER = "number"


_MODES = {
    Mode.BEST: pb.SearchRequest.MODE_UNSPECIFIED,
    Mode.LEXICAL: pb.SearchRequest.MODE_LEXICAL,
    Mode.SEMANTIC: pb.SearchRequest.MODE_SEMANTIC,
}


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(search)
    app.command()(browse)
    app.command()(suggest)


def search(
    query: Annotated[str, typer.Argument(help='Words, "phrases", field:word; misspelt words are found too.')],
    territory: _Territory = "",
    language: _Language = "",
    age: _Age = 0,
    facet: _Facet = None,
    filters: _Filter = None,
    mode: Annotated[Mode, typer.Option(help="How words are understood.")] = Mode.BEST,
    page_size: _PageSize = 20,
    page_token: _PageToken = "",
    as_json: _Json = False,
) -> None:
    """Find titles by words."""
    request = pb.SearchRequest(
        query=query,
        viewer=pb.ViewerContext(territory=territory, language=language, maximum_age=age),
        filters=filters_of(filters or ()),
        facets=facet or (),
        mode=_MODES[mode],
        page_size=page_size,
        page_token=page_token,
    )
    with connected(as_json=as_json) as platform:
        request.parent = platform.parent
        found = platform.discovery.Search(request, timeout=CALL_SECONDS)
    if as_json:
        _print(found)
        return
    console = Console()
    table = Table("title", "kind", "year", "where", title=f"{found.total} found")
    for hit in found.hits:
        table.add_row(*_row(hit.title), " … ".join(map(_marked, hit.highlights)))
    console.print(table)
    _tell_facets(console, found.facets)
    _tell_next(console, found.next_page_token)


def browse(
    order: Annotated[Order, typer.Option(help="In what order.")] = Order.POPULAR,
    territory: _Territory = "",
    language: _Language = "",
    age: _Age = 0,
    facet: _Facet = None,
    filters: _Filter = None,
    page_size: _PageSize = 20,
    page_token: _PageToken = "",
    as_json: _Json = False,
) -> None:
    """List titles."""
    request = pb.BrowseRequest(
        viewer=pb.ViewerContext(territory=territory, language=language, maximum_age=age),
        filters=filters_of(filters or ()),
        facets=facet or (),
        order=pb.BrowseRequest.Order.Value(f"ORDER_{order.name}"),
        page_size=page_size,
        page_token=page_token,
    )
    with connected(as_json=as_json) as platform:
        request.parent = platform.parent
        found = platform.discovery.Browse(request, timeout=CALL_SECONDS)
    if as_json:
        _print(found)
        return
    console = Console()
    table = Table("title", "kind", "year", "genres")
    for title in found.titles:
        table.add_row(*_row(title), ", ".join(title.genres))
    console.print(table)
    _tell_facets(console, found.facets)
    _tell_next(console, found.next_page_token)


def suggest(
    prefix: Annotated[str, typer.Argument(help="What is typed so far.")],
    territory: _Territory = "",
    language: _Language = "",
    age: _Age = 0,
    size: Annotated[int, typer.Option(min=1, max=20, help="Suggestions at most.")] = 8,
    as_json: _Json = False,
) -> None:
    """Complete what somebody is typing."""
    viewer = pb.ViewerContext(territory=territory, language=language, maximum_age=age)
    with connected(as_json=as_json) as platform:
        request = pb.SuggestRequest(parent=platform.parent, prefix=prefix, viewer=viewer, size=size)
        found = platform.discovery.Suggest(request, timeout=CALL_SECONDS)
    if as_json:
        _print(found)
        return
    for each in found.suggestions:
        typer.echo(each.query)


def filters_of(texts: Iterable[str]) -> list[pb.FacetFilter]:
    """Return the filters that "genre=drama,comedy" (one of them) means. Raises typer.BadParameter."""
    found = []
    for text in texts:
        facet, sign, values = text.partition("=")
        if not (facet and sign and values):
            raise typer.BadParameter(f"{text} is no filter; write genre=drama,comedy")
        found.append(pb.FacetFilter(facet=facet, values=values.split(",")))
    return found


def _row(title: pb.TitleSummary) -> Sequence[str]:
    kind = Title.Kind.Name(title.kind).removeprefix("KIND_").lower()
    place = ""
    if title.episode_number:
        place = f" {title.season_number}.{title.episode_number}" if title.season_number else f" {title.episode_number}"
    return escape(title.display_title), kind + place, str(title.year or "")


def _marked(highlight: pb.SearchResponse.Highlight) -> str:
    """Return a piece of text with what was found in bold."""
    parts, at = [], 0
    for each in highlight.ranges:
        parts += [escape(highlight.text[at : each.start]), f"[bold]{escape(highlight.text[each.start : each.end])}[/]"]
        at = each.end
    return "".join([*parts, escape(highlight.text[at:])])


def _tell_facets(console: Console, facets: Iterable[pb.Facet]) -> None:
    for facet in facets:
        values = ", ".join(f"{each.value} {each.titles:,}" for each in facet.values)
        console.print(f"{facet.facet}: {values}", markup=False)


def _tell_next(console: Console, token: str) -> None:
    if token:
        console.print(f"there is more: --page-token {token}", markup=False)


def _print(message: Message) -> None:
    found: dict[str, Any] = MessageToDict(
        message, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
    )
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
