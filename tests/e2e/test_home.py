"""What viewers are shown, through the gateway: a real history, made by watching, and what follows from it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from e2e_world import eventually, log_of, refused

from reelmesh.catalog.v1.title_pb2 import Credit, Title
from reelmesh.catalog.v1.title_service_pb2 import CreateTitleRequest
from reelmesh.catalog.v1.title_service_pb2_grpc import TitleServiceStub
from reelmesh.playback.v1.playback_service_pb2 import CreatePlaybackSessionRequest, UpdateProgressRequest
from reelmesh.playback.v1.playback_service_pb2_grpc import PlaybackServiceStub
from reelmesh.playback.v1.session_pb2 import PlaybackSession
from reelmesh.recommend.v1 import recommendation_service_pb2 as pb
from reelmesh.recommend.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from reelmesh.stores.cassandra import Cassandra
from reelmesh_tools.client.platform import CALL_SECONDS, Platform
from reelmesh_tools.stack.client import Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

Run = Callable[..., dict[str, Any]]
Kind = pb.Row.Kind
SECONDS = 10


@dataclass
class Library:
    """A series of two episodes that play, and films of its genre and of another."""

    series: str
    episodes: tuple[str, str]
    videos: tuple[str, str]
    crime: list[str]
    space: list[str]


@pytest.fixture(scope="module")
def library(stack: Stack, reelmesh: Run, clip: Callable[..., Path]) -> Iterator[Library]:
    videos = tuple(
        reelmesh("upload", str(clip(SECONDS, 320, 180)), "--title", name)["video"] for name in ("Pilot", "Second")
    )
    with Platform.of_stack(stack.layout, stack.plan.gateway_url) as platform:
        titles = TitleServiceStub(platform.channel)

        def make(name: str, kind: Title.Kind.ValueType, **more: Any) -> str:
            title = Title(kind=kind, state=Title.STATE_PUBLISHED, original_language="en", **more)
            title.localizations.add(language="en", title=name, synopsis=f"{name}: a story of rows.")
            request = CreateTitleRequest(parent=platform.parent, title=title, request_id=str(uuid.uuid4()))
            return titles.CreateTitle(request, timeout=CALL_SECONDS).title.name

        cast = [Credit(person="Rowena Rowley", role=Credit.ROLE_ACTOR)]
        series = make("Harbor Rows", Title.KIND_SERIES, genres=["row crime"], credits=cast)
        season = make("Season 1", Title.KIND_SEASON, parent_title=series, number=1)
        episodes = tuple(
            make(f"Episode {place}", Title.KIND_EPISODE, parent_title=season, number=place, video=video)
            for place, video in enumerate(videos, 1)
        )
        made = Library(
            series,
            (episodes[0], episodes[1]),
            (videos[0], videos[1]),
            [
                make(f"Crime row {place}", Title.KIND_FILM, genres=["row crime"], credits=cast if place < 3 else [])
                for place in range(16)
            ],
            [make(f"Space row {place}", Title.KIND_FILM, genres=["row space"]) for place in range(5)],
        )
        # Recommend and discovery follow the catalog by themselves; both know the last title when they know all.
        eventually(lambda: _similar(platform, made.space[-1]), "titles are known")
        yield made


def _similar(platform: Platform, name: str) -> list[str]:
    request = pb.ListSimilarTitlesRequest(name=name)
    try:
        answer = platform.recommendations.ListSimilarTitles(request, timeout=CALL_SECONDS)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return []
        raise
    return [each.title.title for each in answer.titles]


@pytest.fixture
def viewer() -> str:
    """A viewer of whom nothing is known."""
    return f"rows-{uuid.uuid4()}"


def watch(platform: Platform, channel: grpc.Channel, viewer: str, video: str, seconds: float) -> None:
    playback = PlaybackServiceStub(channel)
    wanted = CreatePlaybackSessionRequest(parent=platform.parent, session=PlaybackSession(video=video, viewer=viewer))
    session = playback.CreatePlaybackSession(wanted, timeout=CALL_SECONDS).session
    request = UpdateProgressRequest(session=session.name)
    request.position.FromTimedelta(timedelta(seconds=seconds))
    playback.UpdateProgress(request, timeout=CALL_SECONDS)


def home(platform: Platform, viewer: str, service: Any = None) -> pb.GetHomeResponse:
    """Return a whole page: a part that takes its time is left out of one, and is there when it is asked for again."""
    service = service or platform.unsigned_recommendations
    request = pb.GetHomeRequest(parent=platform.parent, viewer=viewer, row_size=10)

    def whole() -> pb.GetHomeResponse | None:
        page: pb.GetHomeResponse = service.GetHome(request, timeout=CALL_SECONDS)
        return None if page.missing else page

    return eventually(whole, "a page that lacks nothing")


def row_of(page: pb.GetHomeResponse, kind: Kind.ValueType) -> list[pb.RecommendedTitle]:
    return [title for row in page.rows if row.kind == kind for title in row.titles]


def test_what_was_begun_goes_on_where_it_was(nobody: Platform, library: Library, viewer: str) -> None:
    page = home(nobody, viewer)
    assert not page.personal
    assert Kind.KIND_NEW in {row.kind for row in page.rows}

    watch(nobody, nobody.channel, viewer, library.videos[0], 0.5)
    assert not home(nobody, viewer).personal  # it was opened, and not begun

    watch(nobody, nobody.channel, viewer, library.videos[0], 3.5)
    page = home(nobody, viewer)
    assert page.personal
    (begun,) = row_of(page, Kind.KIND_CONTINUE_WATCHING)
    assert begun.title.title == library.episodes[0]
    assert begun.position.ToTimedelta() == timedelta(seconds=3.5)
    assert abs(begun.duration.ToTimedelta() - timedelta(seconds=SECONDS)) < timedelta(seconds=0.5)
    assert begun.explanation.reason == pb.Explanation.REASON_BEGUN

    watch(nobody, nobody.channel, viewer, library.videos[0], SECONDS)
    page = home(nobody, viewer)
    (following,) = row_of(page, Kind.KIND_CONTINUE_WATCHING)
    assert (following.title.title, following.explanation.reason) == (library.episodes[1], pb.Explanation.REASON_NEXT)
    (about,) = (row for row in page.rows if row.kind == Kind.KIND_BECAUSE_YOU_WATCHED)
    assert about.subject.title == library.series
    everything = [title.title.title for row in page.rows for title in row.titles]
    assert len(everything) == len(set(everything))
    assert library.series not in everything
    for_you = row_of(page, Kind.KIND_FOR_YOU)
    assert len(for_you) == 10
    chosen = [*for_you, *about.titles]
    assert {each.title.title for each in chosen} == set(library.crime)
    for each in chosen:
        assert [because.title for because in each.explanation.because_of] == [library.series]
        assert "row crime" in each.explanation.shared


def test_opting_out_holds_at_once_and_tells_the_database_no_name(
    nobody: Platform, library: Library, viewer: str, reelmesh: Run, stack: Stack
) -> None:
    watch(nobody, nobody.channel, viewer, library.videos[0], 5)
    assert home(nobody, viewer).personal
    assert reelmesh("personalization", "off", "--viewer", viewer) == {"enabled": False}
    page = home(nobody, viewer)
    assert not page.personal
    assert {row.kind for row in page.rows} <= {Kind.KIND_TRENDING, Kind.KIND_NEW, Kind.KIND_POPULAR}
    assert reelmesh("personalization", "--viewer", viewer) == {"enabled": False}
    assert reelmesh("personalization", "on", "--viewer", viewer) == {"enabled": True}
    assert home(nobody, viewer).personal
    assert not [line for line in log_of(stack, "recommend") if viewer in line.message]


async def test_an_opt_out_is_kept_under_a_pseudonym(nobody: Platform, viewer: str, cassandra: Cassandra) -> None:
    request = pb.UpdatePersonalizationRequest(parent=nobody.parent, viewer=viewer)
    nobody.recommendations.UpdatePersonalization(request, timeout=CALL_SECONDS)
    rows = await cassandra.execute("SELECT * FROM reelmesh_recommend.opt_outs")
    assert rows
    assert not [row for row in rows if viewer.encode() in bytes(row.viewer) or len(row.viewer) != 16]


def test_who_signed_in_gets_their_own_page(platform: Platform, nobody: Platform, library: Library, viewer: str) -> None:
    watch(nobody, nobody.channel, viewer, library.videos[1], 4)
    watch(platform, platform.channel, "", library.videos[0], 2)
    page = home(platform, viewer, platform.recommendations)
    (begun,) = row_of(page, Kind.KIND_CONTINUE_WATCHING)
    assert (begun.title.title, begun.position.seconds) == (library.episodes[0], 2)


def test_what_resembles_and_what_follows_by_http(nobody: Platform, library: Library, reelmesh: Run) -> None:
    found = reelmesh("similar", library.videos[0].rpartition("/")[2], "--size", "4")
    assert {each["title"]["title"] for each in found["titles"]} <= set(library.crime)
    assert len(found["titles"]) == 4
    answer = httpx.get(f"{nobody.url}/v1/{library.series}:similar", timeout=CALL_SECONDS, trust_env=False)
    assert {each["title"]["title"] for each in answer.json()["titles"]} == set(library.crime)
    answer = httpx.get(f"{nobody.url}/v1/{library.videos[0]}:next", timeout=CALL_SECONDS, trust_env=False)
    assert answer.json()["title"]["title"] == library.episodes[1]
    answer = httpx.get(f"{nobody.url}/v1/{library.episodes[1]}:next", timeout=CALL_SECONDS, trust_env=False)
    assert "title" not in answer.json()
    shown = reelmesh("home", "--viewer", "nobody-in-particular")
    assert {row["kind"] for row in shown["rows"]} <= {"KIND_TRENDING", "KIND_NEW", "KIND_POPULAR"}


def test_an_experiment_has_those_who_saw_a_page(
    nobody: Platform, library: Library, viewer: str, reelmesh: Run, stack: Stack
) -> None:
    name = f"rows-{uuid.uuid4()}"
    arms = ["--arm", "running", "--arm", "none:recommend_model=none"]
    reelmesh("experiments", "create", name, *arms)
    watch(nobody, nobody.channel, viewer, library.videos[0], SECONDS)
    # What runs is asked for every few seconds; once it is known, it is for everyone.
    arm = eventually(lambda: home(nobody, viewer).arm, "the experiment is known")
    assert arm in {f"{name}:running", f"{name}:none"}
    others = [f"{viewer[:50]}-{number}" for number in range(12)]
    told = {each: home(nobody, each).arm for each in others}
    assert set(told.values()) == {f"{name}:running", f"{name}:none"}
    assert {each: home(nobody, each).arm for each in others} == told

    def counted() -> bool:
        found = {each["arm"]: int(each.get("units", 0)) for each in reelmesh("experiments", "results", name)["arms"]}
        return sum(found.values()) == len(others) + 1 and min(found.values()) > 0

    assert eventually(counted, "all who saw a page are in the results")
    reelmesh("experiments", "end", name)


def test_senseless_questions_have_clear_answers(nobody: Platform, library: Library) -> None:
    service = RecommendationServiceStub(nobody.channel)
    unknown = f"{nobody.parent}/titles/{uuid.uuid4()}"
    asked = pb.ListSimilarTitlesRequest(name=unknown)
    assert refused(lambda: service.ListSimilarTitles(asked, timeout=CALL_SECONDS)).reason == "TITLE_UNKNOWN"
    film = pb.GetNextEpisodeRequest(name=library.crime[0])
    assert refused(lambda: service.GetNextEpisode(film, timeout=CALL_SECONDS)).reason == "NOT_AN_EPISODE"
    nameless = pb.GetPersonalizationRequest(parent=nobody.parent)
    assert refused(lambda: service.GetPersonalization(nameless, timeout=CALL_SECONDS)).reason == "VIEWER_MISSING"
    large = pb.GetHomeRequest(parent=nobody.parent, row_size=51)
    assert refused(lambda: service.GetHome(large, timeout=CALL_SECONDS)).reason == "INVALID_REQUEST"
