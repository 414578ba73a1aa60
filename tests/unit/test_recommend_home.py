from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import grpc
import pytest
from refusals import refusal
from rows_fakes import (
    ACME,
    LENGTH,
    World,
    episode,
    film,
    id_of,
    model_of,
    number_of,
    rows_of,
    season,
    series,
    title_name,
    video_name,
    world_of,
)

from reelmesh.discovery.v1.discovery_service_pb2 import BrowseRequest
from reelmesh.mesh.errors import Unavailable
from reelmesh.recommend.v1 import recommendation_service_pb2 as pb

reason_of = partial(refusal, domain="reelmesh.recommend")

CRIME, SPACE, LOVE = range(100, 120), range(200, 220), range(300, 320)
TITLES = [
    *(film(number, ["crime"], [f"Detective {number % 4}"]) for number in CRIME),
    *(film(number, ["space"], [f"Captain {number % 4}"]) for number in SPACE),
    *(film(number, ["love"], [f"Lover {number % 4}"]) for number in LOVE),
    series(1, ["crime"]),
    season(10, 1, 1),
    season(20, 1, 2),
    *(episode(10 + place, 10, place) for place in (1, 2)),
    *(episode(20 + place, 20, place) for place in (1, 2)),
]
EVERYTHING = [title.name for title in TITLES]
Reason = pb.Explanation


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with world_of(TITLES) as made:
        made.discovery.lists = {
            BrowseRequest.ORDER_TRENDING: [1, *CRIME[:4], *SPACE[:4], *LOVE[:4]],
            BrowseRequest.ORDER_NEW: [*LOVE, *CRIME],
            BrowseRequest.ORDER_POPULAR: [*SPACE, *CRIME, *LOVE, 1],
        }
        made.models.models[""] = model_of("m1", [[*CRIME, 1], SPACE, LOVE])
        yield made


async def test_who_watched_nothing_gets_rows_that_are_nobodys(world: World) -> None:
    page = await world.home()
    assert list(rows_of(page)) == ["trending", "new", "popular"]
    assert not page.personal
    assert not page.model
    assert not page.missing
    reasons = {pb.Row.Kind.Name(row.kind): {each.explanation.reason for each in row.titles} for row in page.rows}
    assert reasons == {
        "KIND_TRENDING": {Reason.REASON_TRENDING},
        "KIND_NEW": {Reason.REASON_NEW},
        "KIND_POPULAR": {Reason.REASON_POPULAR},
    }


async def test_a_page_of_nobody_asks_nobody(world: World) -> None:
    page = await world.home("")
    assert list(rows_of(page)) == ["trending", "new", "popular"]
    assert world.playback.asked == 0
    assert world.experiments.asked == []


async def test_no_title_stands_on_a_page_twice_and_none_that_was_seen(world: World) -> None:
    for number in (100, 101, 200):
        world.playback.watched("ann", number)
    world.playback.watched("ann", 300, minutes=30)
    page = await world.home(size=8)
    rows = rows_of(page)
    counts = Counter(number for row in rows.values() for number in row)
    assert max(counts.values()) == 1
    assert rows.pop("continue_watching") == [300]
    assert not {100, 101, 200, 300} & {number for row in rows.values() for number in row}
    assert all(len(row) <= 8 for row in rows.values())
    assert {"for_you", "because_you_watched 300", "trending", "new", "popular"} <= rows.keys()
    assert page.personal
    assert page.model == f"{ACME}/models/m1"


async def test_rows_are_of_what_is_watched_together(world: World) -> None:
    for number in (100, 101, 102):
        world.playback.watched("ann", number)
    page = await world.home(size=4)
    (row,) = (row for row in page.rows if row.kind == pb.Row.KIND_FOR_YOU)
    first = row.titles[0]
    assert number_of(first.title) in {*CRIME, 1}
    assert first.explanation.reason == Reason.REASON_WATCHED_TOGETHER
    assert {number_of(each) for each in first.explanation.because_of} <= {100, 101, 102}
    assert "crime" in first.explanation.shared


async def test_what_speaks_for_a_title_is_named_and_nothing_else(world: World) -> None:
    """Two of love and one of space were watched: what is chosen of space is so because of that one."""
    for number in (300, 301, 200):
        world.playback.watched("ann", number)
    page = await world.home(size=20)
    (row,) = (row for row in page.rows if row.kind == pb.Row.KIND_FOR_YOU)
    named = {
        number_of(each.title): {number_of(because) for because in each.explanation.because_of} for each in row.titles
    }
    space = [because for number, because in named.items() if number in SPACE]
    love = [because for number, because in named.items() if number in LOVE]
    assert space
    assert all(because == {200} for because in space)
    assert love
    assert all(because <= {300, 301} for because in love)


async def test_a_row_about_something_that_was_watched_names_it(world: World) -> None:
    world.playback.watched("ann", 200)
    page = await world.home(size=4)
    (row,) = (row for row in page.rows if row.kind == pb.Row.KIND_BECAUSE_YOU_WATCHED)
    assert number_of(row.subject) == 200
    assert {number_of(each.title) for each in row.titles} <= set(SPACE)
    assert all(number_of(each.explanation.because_of[0]) == 200 for each in row.titles)


async def test_a_row_is_not_all_of_one_genre(world: World) -> None:
    for number in (100, 101, 102, 103, 300):
        world.playback.watched("ann", number)
    row = rows_of(await world.home(size=10))["for_you"]
    assert sum(number in CRIME for number in row) <= 5  # four by the rule, and the series
    assert any(number in LOVE for number in row)


async def test_new_titles_that_the_model_does_not_know_are_shown(world: World) -> None:
    world.models.models[""] = model_of("m1", [[*CRIME[:10], 1], SPACE, LOVE])
    for number in (100, 200, 300):
        world.playback.watched("ann", number)
    page = await world.home(size=10)
    (row,) = (row for row in page.rows if row.kind == pb.Row.KIND_FOR_YOU)
    cold = [each for each in row.titles if number_of(each.title) in CRIME[10:]]
    assert cold
    assert {each.explanation.reason for each in cold} == {Reason.REASON_ALIKE}
    assert all("crime" in each.explanation.shared for each in cold)


async def test_without_a_model_titles_are_chosen_by_what_they_are(world: World) -> None:
    world.models.models.clear()
    world.playback.watched("ann", 200)
    page = await world.home(size=6)
    row = rows_of(page)["for_you"]
    assert set(row) <= set(SPACE)
    assert row[0] % 4 == 0  # the same captain
    assert page.personal
    assert not page.model


async def test_a_series_goes_on_with_the_next_episode(world: World) -> None:
    world.playback.watched("ann", 11)
    world.playback.watched("ann", 12)
    page = await world.home()
    first = page.rows[0].titles[0]
    assert page.rows[0].kind == pb.Row.KIND_CONTINUE_WATCHING
    assert number_of(first.title) == 21  # the next season's first
    assert first.explanation.reason == Reason.REASON_NEXT
    assert not first.HasField("position")
    others = [number for kind, row in rows_of(page).items() if kind != "continue_watching" for number in row]
    assert 1 not in others
    assert not {11, 12, 21, 22} & set(others)

    world.playback.watched("ann", 21, minutes=40)
    first = (await world.home()).rows[0].titles[0]
    assert (number_of(first.title), first.explanation.reason) == (21, Reason.REASON_BEGUN)
    assert first.position.ToTimedelta() == timedelta(minutes=40)
    assert first.duration.ToTimedelta() == LENGTH


async def test_a_series_that_was_seen_to_its_end_is_not_gone_on_with(world: World) -> None:
    for number in (11, 12, 21, 22):
        world.playback.watched("ann", number)
    assert "continue_watching" not in rows_of(await world.home())


async def test_what_was_left_off_last_comes_first(world: World) -> None:
    world.playback.watched("ann", 100, minutes=10)
    world.playback.watched("ann", 200, minutes=20)
    world.playback.watched("ann", 201)
    assert rows_of(await world.home())["continue_watching"] == [200, 100]


async def test_only_what_a_viewer_may_find_is_shown_and_rows_are_filled_up(world: World) -> None:
    world.playback.watched("ann", 200)
    whole = rows_of(await world.home(size=5))["because_you_watched 200"]
    world.discovery.hidden = {title_name(number) for number in whole[:3]}
    rows = rows_of(await world.home(size=5))
    assert len(rows["because_you_watched 200"]) == 5
    assert not set(whole[:3]) & {number for row in rows.values() for number in row}
    world.discovery.hidden.add(title_name(200))
    assert "because_you_watched 200" not in rows_of(await world.home(size=5))


async def test_opting_out_holds_from_the_next_page_on(world: World) -> None:
    world.playback.watched("ann", 100, minutes=30)
    world.playback.watched("ann", 200)
    asked = pb.GetPersonalizationRequest(parent=ACME, viewer="ann")
    assert (await world.stub.GetPersonalization(asked)).enabled
    assert (await world.home()).personal
    before = world.playback.asked
    await world.stub.UpdatePersonalization(pb.UpdatePersonalizationRequest(parent=ACME, viewer="ann"))
    page = await world.home()
    assert list(rows_of(page)) == ["trending", "new", "popular"]
    assert rows_of(page) == rows_of(await world.home("nobody"))
    assert not page.personal
    assert world.playback.asked == before + 1  # nobody's: hers was not even read
    assert not (await world.stub.GetPersonalization(asked)).enabled
    assert (await world.home("bob")).rows
    await world.stub.UpdatePersonalization(pb.UpdatePersonalizationRequest(parent=ACME, viewer="ann", enabled=True))
    assert (await world.home()).personal


async def test_who_cannot_be_asked_counts_as_opted_out(world: World) -> None:
    world.playback.watched("ann", 100)
    world.opt_outs.error = Unavailable("the database does not answer")
    page = await world.home()
    assert (page.personal, list(page.missing)) == (False, ["personalization"])
    assert list(rows_of(page)) == ["trending", "new", "popular"]
    assert world.playback.asked == 0


async def test_a_part_that_is_away_costs_its_rows_only(world: World) -> None:
    world.playback.watched("ann", 100)
    world.playback.away = True
    page = await world.home()
    assert (list(rows_of(page)), list(page.missing)) == (["trending", "new", "popular"], ["history"])
    world.playback.away = False
    world.discovery.lists_away = True
    page = await world.home()
    assert {"for_you", "because_you_watched 100"} == rows_of(page).keys()
    assert set(page.missing) == {"trending", "new", "popular"}
    world.discovery.away = True
    page = await world.home()
    assert not page.rows
    assert set(page.missing) == {"titles", "trending", "new", "popular"}
    assert Counter(world.away) == {"history": 1, "trending": 2, "new": 2, "popular": 2, "titles": 1}


async def test_an_arm_of_an_experiment_has_its_own_model(world: World) -> None:
    world.models.models["other"] = model_of("m2", [[100, *LOVE], SPACE])
    world.playback.watched("ann", 100)
    world.experiments.model = "other"
    page = await world.home(size=4)
    assert (page.model, page.arm) == (f"{ACME}/models/m2", "rows:new")
    (asked,) = world.experiments.asked
    assert (asked.viewer, asked.parameter) == ("ann", "recommend_model")
    assert asked.session == f"{ACME}/sessions/{id_of(999)}"
    assert set(LOVE) & set(rows_of(page)["for_you"])
    world.experiments.model = "none"
    page = await world.home()
    assert (page.model, page.arm, page.personal) == ("", "rows:new", True)


async def test_the_library_is_followed(world: World) -> None:
    world.playback.watched("ann", 200)
    before = rows_of(await world.home(size=4))
    for number in SPACE[1:]:
        world.library.drop(title_name(number))
        world.discovery.hidden.add(title_name(number))
    await world.stockroom.renew()
    after = rows_of(await world.home(size=4))
    assert before.keys() > after.keys()
    assert set(before["because_you_watched 200"]) <= set(SPACE)


async def test_what_resembles_a_title(world: World) -> None:
    found = await world.similar(200, 10)
    assert len(found) == 10
    assert set(found) <= set(SPACE) - {200}
    request = pb.ListSimilarTitlesRequest(name=title_name(11))
    answer = await world.stub.ListSimilarTitles(request)  # an episode stands for its series
    assert {number_of(each.title) for each in answer.titles[:10]} <= set(CRIME)
    assert answer.model == f"{ACME}/models/m1"
    assert number_of(answer.titles[0].explanation.because_of[0]) == 1
    world.models.models[""] = model_of("m1", [[*CRIME, 1], SPACE[1:], LOVE])
    request = pb.ListSimilarTitlesRequest(name=title_name(200))
    answer = await world.stub.ListSimilarTitles(request)
    assert not answer.model
    assert {each.explanation.reason for each in answer.titles} == {Reason.REASON_ALIKE}


async def test_titles_that_nobody_may_find_resemble_nothing(world: World) -> None:
    unknown = (grpc.StatusCode.NOT_FOUND, "TITLE_UNKNOWN")
    assert await reason_of(world.similar(404)) == unknown
    world.discovery.hidden.add(title_name(200))
    assert await reason_of(world.similar(200)) == unknown


async def test_what_follows_an_episode(world: World) -> None:
    async def following(number: int) -> int | None:
        answer = await world.stub.GetNextEpisode(pb.GetNextEpisodeRequest(name=title_name(number)))
        return number_of(answer.title) if answer.HasField("title") else None

    assert [await following(number) for number in (11, 12, 21, 22)] == [12, 21, 22, None]
    answer = await world.stub.GetNextEpisode(pb.GetNextEpisodeRequest(name=video_name(11)))
    assert number_of(answer.title) == 12
    world.discovery.hidden.add(title_name(21))
    assert await following(12) == 22
    assert await reason_of(following(404)) == (grpc.StatusCode.NOT_FOUND, "TITLE_UNKNOWN")
    assert await reason_of(following(100)) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_AN_EPISODE")


async def test_who_has_no_name_has_no_choice_to_make(world: World) -> None:
    expected = (grpc.StatusCode.INVALID_ARGUMENT, "VIEWER_MISSING")
    assert await reason_of(world.stub.GetPersonalization(pb.GetPersonalizationRequest(parent=ACME))) == expected
    assert await reason_of(world.stub.UpdatePersonalization(pb.UpdatePersonalizationRequest(parent=ACME))) == expected


async def test_the_edge_knows_best_where_a_viewer_is(world: World) -> None:
    world.playback.watched("ann", 200)
    request = pb.GetHomeRequest(parent=ACME, viewer="ann")
    request.context.territory = "FR"
    await world.stub.GetHome(request)
    await world.stub.GetHome(request, metadata=(("x-country", "de"),))
    assert [each.viewer.territory for each in world.discovery.asked] == ["FR", "DE"]
