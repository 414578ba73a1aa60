from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from discovery_fakes import Clock, Lost, Record, Topic, eventually

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.discovery.errors import (
    FacetUnknown,
    IndexNotReady,
    PageTooDeep,
    QueryInvalid,
    QueryTooLong,
    TitleUnknown,
)
from reelmesh.discovery.folders import Folders
from reelmesh.discovery.index import SCHEMA_VERSION, Index
from reelmesh.discovery.index_service import IndexService
from reelmesh.discovery.pool import Pool
from reelmesh.discovery.rebuild import Indexes, Kind
from reelmesh.discovery.service import DiscoveryService
from reelmesh.discovery.v1 import discovery_service_pb2 as pb
from reelmesh.discovery.v1 import index_service_pb2 as index_pb
from reelmesh.events.v1.title_event_pb2 import TitleEvent
from reelmesh.mesh import person
from reelmesh.mesh.clock import TimeOrderedIds
from reelmesh.mesh.errors import InvalidArgument, PageTokenInvalid
from reelmesh.mesh.person import Person, Role

PARENT = "organizations/default"


def film(
    text: str, *, territories: tuple[str, ...] = (), audience: Title.Audience.ValueType = Title.AUDIENCE_EVERYONE
) -> Title:
    made = Title(
        name=f"{PARENT}/titles/{uuid.uuid4()}",
        kind=Title.KIND_FILM,
        original_language="en",
        state=Title.STATE_PUBLISHED,
        revision=1,
        audience=audience,
        genres=["drama"],
    )
    made.localizations.add(language="en", title=text)
    if territories:
        made.availabilities.add(territories=territories)
    return made


def record(title: Title) -> Record:
    return Record(title.name, TitleEvent(title=title).SerializeToString())


class Context:
    """What the service reads of a call."""

    def __init__(self, **metadata: str) -> None:
        self._metadata = tuple((key.replace("_", "-"), value) for key, value in metadata.items())

    def invocation_metadata(self) -> Any:
        return self._metadata


NOWHERE: Any = Context()


class World:
    def __init__(self, indexes: Indexes[Index], topic: Topic) -> None:
        self.indexes, self.topic = indexes, topic
        self.pool = Pool(2, 10)
        self.service = DiscoveryService(indexes, self.pool, "X-Viewer-Country")
        self.upkeep = IndexService(indexes, "discovery")

    async def found(self, query: str, context: Any = NOWHERE, **request: Any) -> list[str]:
        answer = await self.service.Search(pb.SearchRequest(parent=PARENT, query=query, **request), context)
        return [hit.title.display_title for hit in answer.hits]


@asynccontextmanager
async def world(folder: Path, topic: Topic) -> AsyncIterator[World]:
    clock = Clock()
    kind = Kind(
        SCHEMA_VERSION, {SCHEMA_VERSION}, lambda path, _: Index.open(path, clock, None), Lost, timedelta(days=3)
    )
    indexes = Indexes(Folders(folder), kind, topic.follow, clock, TimeOrderedIds(clock))
    task = asyncio.create_task(indexes.run())
    made = World(indexes, topic)
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait({task})
        await made.pool.close()


@pytest.fixture
def titles() -> dict[str, Title]:
    return {
        "everywhere": film("Harbour everywhere"),
        "germany": film("Harbour in Germany", territories=("DE",)),
        "signed_in": film("Harbour signed in", audience=Title.AUDIENCE_SIGNED_IN),
        "members": film("Harbour of members", audience=Title.AUDIENCE_MEMBERS),
    }


@pytest.fixture
async def discovery(tmp_path: Path, titles: dict[str, Title]) -> AsyncIterator[World]:
    person.begin(None)
    async with world(tmp_path, Topic(*map(record, titles.values()))) as made:
        await eventually(lambda: made.indexes.held is not None and not made.indexes.going_on)
        yield made


async def test_nothing_answers_before_the_index_has_caught_up(tmp_path: Path) -> None:
    topic = Topic(record(film("x")))
    topic.gate.clear()
    async with world(tmp_path, topic) as made:
        await eventually(lambda: made.indexes.built is not None)
        with pytest.raises(IndexNotReady):
            await made.found("x")
        answer = await made.upkeep.GetIndex(index_pb.GetIndexRequest(), NOWHERE)
        assert answer.index.state == index_pb.Index.STATE_BUILDING
        assert answer.index.build.reason == "FIRST"


@pytest.mark.parametrize(
    ("context", "territory", "found"),
    [
        (Context(), "", False),
        (Context(), "DE", True),
        (Context(x_viewer_country="de"), "", True),
        (Context(x_viewer_country="FR"), "DE", False),  # the edge knows better
        (Context(x_viewer_country=""), "DE", True),
        (Context(x_viewer_country="D!"), "DE", True),
    ],
)
async def test_where_the_viewer_is(discovery: World, context: Any, territory: str, *, found: bool) -> None:
    answer = await discovery.found("harbour", context, viewer=pb.ViewerContext(territory=territory))
    assert ("Harbour in Germany" in answer) is found


@pytest.mark.parametrize(
    ("caller", "found"),
    [
        (None, set()),
        (Person("users/1"), {"Harbour signed in"}),
        (Person("users/1", {"default": Role.VIEWER}), {"Harbour signed in"}),
        (Person("users/1", {"other": Role.OWNER}), {"Harbour signed in"}),
        (Person("users/1", {"default": Role.EDITOR}), {"Harbour signed in", "Harbour of members"}),
        (Person("users/1", operator=True), {"Harbour signed in", "Harbour of members"}),
    ],
)
async def test_who_the_viewer_is(discovery: World, caller: Person | None, found: set[str]) -> None:
    person.begin(caller)
    assert set(await discovery.found("harbour")) == found | {"Harbour everywhere"}


async def test_what_a_page_shows_is_kept_from_who_may_not_find_it(discovery: World, titles: dict[str, Title]) -> None:
    request = pb.GetTitleDetailsRequest(name=titles["germany"].name)
    with pytest.raises(TitleUnknown):
        await discovery.service.GetTitleDetails(request, NOWHERE)
    request.viewer.territory = "DE"
    answer = await discovery.service.GetTitleDetails(request, NOWHERE)
    assert answer.title.display_title == "Harbour in Germany"


async def test_recommend_says_for_whom_it_asks(discovery: World, titles: dict[str, Title]) -> None:
    names = [each.name for each in titles.values()]
    request = pb.BatchGetTitlesRequest(parent=PARENT, names=names, viewer=pb.ViewerContext(territory="DE"))

    async def asked() -> list[str]:
        answer = await discovery.service.BatchGetTitles(request, NOWHERE)
        return [each.title for each in answer.titles]

    assert await asked() == names[:2]
    request.signed_in = True
    assert await asked() == names[:3]
    request.member = True
    assert await asked() == names


async def test_suggestions_and_lists(discovery: World) -> None:
    asked = pb.SuggestRequest(parent=PARENT, prefix="harb", size=1)
    answer = await discovery.service.Suggest(asked, NOWHERE)
    assert [each.title.display_title for each in answer.suggestions] == ["Harbour everywhere"]
    listed = pb.BrowseRequest(parent=PARENT, order=pb.BrowseRequest.ORDER_NAME, facets=["genre"])
    listed.viewer.territory = "DE"
    listed.page_size = 1
    first = await discovery.service.Browse(listed, NOWHERE)
    assert [(each.value, each.titles) for each in first.facets[0].values] == [("drama", 2)]
    listed.page_token = first.next_page_token
    second = await discovery.service.Browse(listed, NOWHERE)
    assert {first.titles[0].display_title, second.titles[0].display_title} == {
        "Harbour everywhere",
        "Harbour in Germany",
    }
    assert second.next_page_token == ""


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (pb.SearchRequest(query='"harbour'), QueryInvalid),
        (pb.SearchRequest(query="x" * 10_000), QueryTooLong),
        (pb.SearchRequest(query="x", facets=["colour"]), FacetUnknown),
        (pb.SearchRequest(query="x", filters=[pb.FacetFilter(facet="colour", values=["a"])]), FacetUnknown),
        (pb.SearchRequest(query="x", filters=[pb.FacetFilter(facet="genre", values=["a"])] * 2), InvalidArgument),
        (pb.SearchRequest(query="x", page_token="%%%"), PageTokenInvalid),  # noqa: S106 - no password
    ],
)
async def test_bad_input_is_told_apart(discovery: World, request_: pb.SearchRequest, error: type[Exception]) -> None:
    request_.parent = PARENT
    with pytest.raises(error):
        await discovery.service.Search(request_, NOWHERE)


async def test_nobody_turns_a_thousand_pages(tmp_path: Path) -> None:
    topic = Topic(*(record(film(f"Film {number}")) for number in range(1010)))
    topic.turn = 500
    async with world(tmp_path, topic) as made:
        await eventually(lambda: made.indexes.held is not None and not made.indexes.going_on, 20)
        request = pb.BrowseRequest(parent=PARENT, page_size=100)
        for _ in range(10):
            answer = await made.service.Browse(request, NOWHERE)
            request.page_token = answer.next_page_token
        if request.page_token:
            with pytest.raises(PageTooDeep):
                await made.service.Browse(request, NOWHERE)


async def test_an_operator_has_the_index_built_anew_and_watches(discovery: World) -> None:
    before = discovery.indexes.current
    begun = await discovery.upkeep.RebuildIndex(index_pb.RebuildIndexRequest(), NOWHERE)
    assert begun.index.state == index_pb.Index.STATE_REBUILDING
    seen = [each.index async for each in discovery.upkeep.WatchIndex(index_pb.WatchIndexRequest(), NOWHERE)]
    assert seen[-1].state == index_pb.Index.STATE_SERVING
    assert (seen[-1].titles, seen[-1].build.records, seen[-1].build.reason) == (4, 4, "ASKED")
    assert seen[-1].build.HasField("end_time")
    assert seen[-1].bytes > 0
    assert discovery.indexes.current is not before


async def test_searches_go_on_while_another_index_takes_its_place(discovery: World) -> None:
    stop = asyncio.Event()
    answered = 0

    async def ask() -> None:
        nonlocal answered
        while not stop.is_set():
            assert len(await discovery.found("harbour", viewer=pb.ViewerContext(territory="DE"))) == 2
            answered += 1

    asking = [asyncio.create_task(ask()) for _ in range(3)]
    for _ in range(3):
        before = discovery.indexes.current
        discovery.indexes.rebuild()
        await eventually(lambda before=before: discovery.indexes.current is not before, 20)  # type: ignore[misc]
        seen = answered
        await eventually(lambda seen=seen: answered > seen + 5)  # type: ignore[misc]
    stop.set()
    await asyncio.gather(*asking)


async def test_a_new_title_is_not_taken_for_a_deleted_one(discovery: World, titles: dict[str, Title]) -> None:
    request = pb.BatchGetTitlesRequest(parent=PARENT, names=[titles["everywhere"].name])
    assert (await discovery.service.BatchGetTitles(request, NOWHERE)).titles
    discovery.topic.add(Record(titles["everywhere"].name, b""))
    await eventually(lambda: discovery.indexes.current.titles == len(titles) - 1)
    discovery.topic.add(record(film("Lighthouse")))
    await eventually(lambda: discovery.indexes.current.titles == len(titles))
    assert await discovery.found("lighthouse") == ["Lighthouse"]
    assert "Harbour everywhere" not in await discovery.found("harbour")
