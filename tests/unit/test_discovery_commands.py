from __future__ import annotations

import pytest
import typer

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.discovery.v1 import discovery_service_pb2 as pb
from reelmesh.discovery.v1.index_service_pb2 import Index
from reelmesh_tools.client import discovery
from reelmesh_tools.reindex import told


def test_filters_are_written_as_people_do() -> None:
    found = discovery.filters_of(["genre=science fiction,drama", "year=1999"])
    assert [(each.facet, list(each.values)) for each in found] == [
        ("genre", ["science fiction", "drama"]),
        ("year", ["1999"]),
    ]
    for wrong in ("genre", "=drama", "genre="):
        with pytest.raises(typer.BadParameter):
            discovery.filters_of([wrong])


def test_what_was_found_is_marked_and_nothing_else_is_markup() -> None:
    house = pb.SearchResponse.Range(start=6, end=11)
    highlight = pb.SearchResponse.Highlight(field="title", text="[red] house", ranges=[house])
    assert discovery._marked(highlight) == r"\[red] [bold]house[/]"
    title = pb.TitleSummary(
        display_title="Pilot", kind=Title.KIND_EPISODE, season_number=2, episode_number=3, year=1999
    )
    assert discovery._row(title) == ("Pilot", "episode 2.3", "1999")


def test_a_build_is_told_with_what_it_waits_for() -> None:
    index = Index(replica="discovery", build=Index.Build(records=1200, behind=30, problem="Kafka does not answer"))
    assert told(index) == "discovery: 1,200 records read, 30 to come, waits: Kafka does not answer"
