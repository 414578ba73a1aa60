"""A library to choose from, and the services that recommend asks, as servers of their contracts."""

# ruff: noqa: N802 -- rpc methods carry the contract's names

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import numpy as np

from reelmesh.analytics.v1 import experiment_pb2, experiment_service_pb2
from reelmesh.analytics.v1.experiment_service_pb2_grpc import (
    ExperimentServiceServicer,
    add_ExperimentServiceServicer_to_server,
)
from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.discovery.v1 import discovery_service_pb2 as discovery_pb
from reelmesh.discovery.v1.discovery_service_pb2_grpc import (
    DiscoveryServiceServicer,
    add_DiscoveryServiceServicer_to_server,
)
from reelmesh.mesh.interceptors import Errors, Validation
from reelmesh.playback.v1 import playback_service_pb2, session_pb2
from reelmesh.playback.v1.playback_service_pb2_grpc import (
    PlaybackServiceServicer,
    add_PlaybackServiceServicer_to_server,
)
from reelmesh.recommend.factors import Factors
from reelmesh.recommend.home import Home
from reelmesh.recommend.library import Library
from reelmesh.recommend.personalization import Personalization
from reelmesh.recommend.recommendation_service import RecommendationService
from reelmesh.recommend.similar import Similar
from reelmesh.recommend.stockroom import Stockroom
from reelmesh.recommend.v1 import recommendation_service_pb2 as pb
from reelmesh.recommend.v1.recommendation_service_pb2_grpc import (
    RecommendationServiceStub,
    add_RecommendationServiceServicer_to_server,
)
from reelmesh.recommend.viewer_peers import AnalyticsTrials, DiscoveryTitles, PlaybackHistories

ACME = "organizations/acme"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LENGTH = timedelta(minutes=100)


def id_of(number: int) -> str:
    return f"0198c0de-0000-7000-8000-{number:012d}"


def title_name(number: int) -> str:
    return f"{ACME}/titles/{id_of(number)}"


def video_name(number: int) -> str:
    """The video of a title; titles and videos have ids of their own."""
    return f"{ACME}/videos/{id_of(500_000 + number)}"


def film(id_: int, genres: Sequence[str] = ("drama",), people: Sequence[str] = (), **more: Any) -> Title:
    made = Title(
        name=title_name(id_),
        kind=Title.KIND_FILM,
        video=video_name(id_),
        state=Title.STATE_PUBLISHED,
        revision=1,
        genres=genres,
        original_language="en",
    )
    made.localizations.add(language="en", title=f"Film {id_}", synopsis=more.pop("synopsis", ""))
    for person in people:
        made.credits.add(person=person, role=1)
    for key, value in more.items():
        setattr(made, key, value)
    return made


def series(number: int, genres: Sequence[str] = ("crime",), **more: Any) -> Title:
    return film(number, genres, kind=Title.KIND_SERIES, video="", **more)


def season(number: int, of: int, place: int) -> Title:
    return film(number, (), kind=Title.KIND_SEASON, video="", parent_title=title_name(of), number=place)


def episode(number: int, of: int, place: int) -> Title:
    return film(number, (), kind=Title.KIND_EPISODE, parent_title=title_name(of), number=place)


def library_of(*titles: Title) -> Library:
    made = Library()
    for title in titles:
        made.put(title)
    return made


def model_of(name: str, groups: Sequence[Sequence[int]], size: int = 8) -> Factors:
    """A model by which titles of a group are watched together, and those of different groups are not."""
    noise = np.random.default_rng(7)
    titles, rows = [], []
    for place, group in enumerate(groups):
        for number in group:
            titles.append(id_of(number))
            rows.append(np.eye(size)[place] + noise.normal(0, 0.02, size))
    return Factors.of(name, titles, np.array(rows, np.float32), 0.1, 20.0)


class FakeDiscovery(DiscoveryServiceServicer):
    """Lets viewers find what is in it."""

    def __init__(self, library: Sequence[Title]) -> None:
        self.titles = {title.name: title for title in library}
        self.hidden: set[str] = set()
        self.lists: dict[int, list[int]] = {}
        self.away = False
        self.lists_away = False
        self.asked: list[discovery_pb.BatchGetTitlesRequest] = []

    def summary(self, name: str) -> discovery_pb.TitleSummary:
        title = self.titles[name]
        return discovery_pb.TitleSummary(
            title=name, kind=title.kind, video=title.video, display_title=title.localizations[0].title
        )

    async def BatchGetTitles(self, request: Any, context: Any) -> discovery_pb.BatchGetTitlesResponse:
        self.asked.append(request)
        if self.away:
            await context.abort(grpc.StatusCode.INTERNAL, "broken")
        found = [self.summary(name) for name in request.names if name in self.titles and name not in self.hidden]
        return discovery_pb.BatchGetTitlesResponse(titles=found)

    async def Browse(self, request: Any, context: Any) -> discovery_pb.BrowseResponse:
        if self.away or self.lists_away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        assert [set(each.values) for each in request.filters] == [{"film", "series"}]
        listed = [title_name(number) for number in self.lists.get(request.order, [])]
        found = [self.summary(name) for name in listed if name not in self.hidden]
        return discovery_pb.BrowseResponse(titles=found[: request.page_size])


class FakePlayback(PlaybackServiceServicer):
    """Knows what viewers watched."""

    def __init__(self) -> None:
        self.histories: dict[str, list[session_pb2.WatchedVideo]] = {}
        self.away = False
        self.asked = 0

    def watched(self, viewer: str, number: int, *, minutes: float | None = None, finished: bool = False) -> None:
        """Note that a viewer watched so much of a title just now, or all of it."""
        video = session_pb2.WatchedVideo(video=video_name(number), finished=finished or minutes is None)
        if minutes is not None:
            video.position.FromTimedelta(timedelta(minutes=minutes))
        video.duration.FromTimedelta(LENGTH)
        video.update_time.FromDatetime(NOW)
        mine = self.histories.setdefault(viewer, [])
        mine[:] = [video, *(each for each in mine if each.video != video.video)]

    async def ListWatchHistory(self, request: Any, context: Any) -> playback_service_pb2.ListWatchHistoryResponse:
        self.asked += 1
        if self.away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        return playback_service_pb2.ListWatchHistoryResponse(videos=self.histories.get(request.viewer, []))


class FakeExperiments(ExperimentServiceServicer):
    """Puts everyone in one arm."""

    def __init__(self) -> None:
        self.model: str | None = None
        self.asked: list[experiment_service_pb2.AssignExperimentsRequest] = []

    async def AssignExperiments(self, request: Any, context: Any) -> experiment_service_pb2.AssignExperimentsResponse:
        self.asked.append(request)
        answer = experiment_service_pb2.AssignExperimentsResponse()
        if self.model is not None:
            parameters = {"recommend_model": self.model}
            answer.assignments.append(experiment_pb2.Assignment(experiment="rows", arm="new", parameters=parameters))
        return answer


class MemoryOptOuts:
    """Opt-outs in memory; may be away."""

    def __init__(self) -> None:
        self.kept: set[tuple[str, bytes]] = set()
        self.error: Exception | None = None

    async def add(self, organization: str, viewer: bytes) -> None:
        self.kept.add((organization, viewer))

    async def remove(self, organization: str, viewer: bytes) -> None:
        self.kept.discard((organization, viewer))

    async def has(self, organization: str, viewer: bytes) -> bool:
        if self.error is not None:
            raise self.error
        return (organization, viewer) in self.kept

    async def all(self, organization: str) -> frozenset[bytes]:
        return frozenset(viewer for owner, viewer in self.kept if owner == organization)


class FakeModels:
    """Models in use, by id; the running one has none."""

    def __init__(self) -> None:
        self.models: dict[str, Factors] = {}

    async def load(self, organization: str, model: str) -> Factors | None:
        return self.models.get(model)


def fake(kind: Any, *arguments: Any) -> Any:
    """Make a fake that leaves most of its contract out."""
    return kind(*arguments)


class FixedClock:
    """It is always NOW."""

    def now(self) -> datetime:
        return NOW


class OneId:
    """Always the same id."""

    def new(self) -> str:
        return id_of(999)


@dataclass
class World:
    """Recommend before fakes, and a client."""

    library: Library
    stockroom: Stockroom
    discovery: FakeDiscovery
    playback: FakePlayback
    experiments: FakeExperiments
    opt_outs: MemoryOptOuts
    models: FakeModels
    away: list[str]
    stub: Any

    async def home(self, viewer: str = "ann", size: int = 5) -> pb.GetHomeResponse:
        answer: pb.GetHomeResponse = await self.stub.GetHome(
            pb.GetHomeRequest(parent=ACME, viewer=viewer, row_size=size)
        )
        return answer

    async def similar(self, number: int, size: int = 5) -> list[int]:
        request = pb.ListSimilarTitlesRequest(name=title_name(number), page_size=size)
        return [number_of(each.title) for each in (await self.stub.ListSimilarTitles(request)).titles]


@asynccontextmanager
async def world_of(titles: Sequence[Title]) -> AsyncIterator[World]:
    """Serve recommend for a library."""
    library, models, opt_outs = library_of(*titles), FakeModels(), MemoryOptOuts()
    discovery, playback, experiments = fake(FakeDiscovery, titles), fake(FakePlayback), fake(FakeExperiments)
    away: list[str] = []
    server = grpc.aio.server(interceptors=[Errors(), Validation(b"key")])
    add_DiscoveryServiceServicer_to_server(discovery, server)
    add_PlaybackServiceServicer_to_server(playback, server)
    add_ExperimentServiceServicer_to_server(experiments, server)
    port = server.add_insecure_port("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stockroom = Stockroom(library, asyncio.Event(), models, lambda: 0.0)
        found = DiscoveryTitles(channel)
        personalization = Personalization(opt_outs, lambda organization, viewer: f"{organization}/{viewer}".encode())
        home = Home(
            library,
            stockroom,
            PlaybackHistories(channel),
            found,
            AnalyticsTrials(channel, OneId()),
            personalization,
            FixedClock(),
            away.append,
        )
        service = RecommendationService(home, Similar(library, stockroom, found), personalization, "x-country")
        add_RecommendationServiceServicer_to_server(service, server)
        await server.start()
        stub = RecommendationServiceStub(channel)
        yield World(library, stockroom, discovery, playback, experiments, opt_outs, models, away, stub)
        await server.stop(0)


def number_of(summary: discovery_pb.TitleSummary) -> int:
    return int(summary.title.rpartition("-")[2])


def rows_of(page: pb.GetHomeResponse) -> dict[str, list[int]]:
    """Return the titles of each row by its kind, and its subject where it has one."""
    found = {}
    for row in page.rows:
        kind = pb.Row.Kind.Name(row.kind).removeprefix("KIND_").lower()
        subject = f" {number_of(row.subject)}" if row.HasField("subject") else ""
        found[kind + subject] = [number_of(each.title) for each in row.titles]
    return found
