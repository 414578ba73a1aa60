"""Titles in a Chromium: found by a misspelt name, watched, taken up again, followed by the next episode."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from browser_pages import PATIENCE, WatchPage, launched, no_complaints
from e2e_world import eventually
from playwright.sync_api import Browser, Locator, Page, Route, expect

from reelmesh.catalog.v1.title_pb2 import Credit, Localization, Title
from reelmesh.catalog.v1.title_service_pb2 import CreateTitleRequest
from reelmesh.catalog.v1.title_service_pb2_grpc import TitleServiceStub
from reelmesh.discovery.v1.discovery_service_pb2 import GetTitleDetailsRequest, SearchRequest, TitleSummary
from reelmesh.discovery.v1.discovery_service_pb2_grpc import DiscoveryServiceStub
from reelmesh.recommend.v1.recommendation_service_pb2 import GetNextEpisodeRequest
from reelmesh.recommend.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from reelmesh_tools.client.platform import CALL_SECONDS, Platform, problem_of
from reelmesh_tools.stack.client import Stack

pytestmark = [pytest.mark.stack, pytest.mark.browser]

SECONDS, SHORT_SECONDS, RATE = 30, 6, 25
HEARTBEAT = 10
"""Seconds between two reports of where a viewer is."""
FILM, MISSPELT = "The Lighthouse of Marbella", "lighthose of marbela"
PERSON = "Ottilie Brandvold"
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as opened:
        yield opened


@pytest.fixture
def page(stack: Stack, browser: Browser) -> Iterator[Page]:
    """A page on which nothing may go wrong, of somebody who was never here."""
    context = browser.new_context(base_url=stack.plan.gateway_url, locale="en-GB")
    context.set_default_timeout(PATIENCE)
    opened = context.new_page()
    with no_complaints(opened):
        yield opened
    context.close()


class Library:
    """Titles, made as an editor does, and known to viewers."""

    def __init__(self, platform: Platform) -> None:
        self._parent = platform.parent
        self._titles = TitleServiceStub(platform.channel)
        self._discovery = DiscoveryServiceStub(platform.channel)

    def add(self, name: str, kind: Title.Kind.ValueType, **more: Any) -> str:
        """Publish a title; return its resource name once it is found."""
        told = Localization(language="en", title=name, synopsis=f"All about {name}.")
        title = Title(kind=kind, original_language="en", localizations=[told], state=Title.STATE_PUBLISHED, **more)
        request = CreateTitleRequest(parent=self._parent, title=title, request_id=str(uuid.uuid4()))
        made = self._titles.CreateTitle(request, timeout=CALL_SECONDS).title.name

        def found() -> TitleSummary | None:
            hits = self._discovery.Search(SearchRequest(parent=self._parent, query=name), timeout=CALL_SECONDS).hits
            return next((each.title for each in hits if each.title.title == made), None)

        eventually(found, f"{name} is found")
        return made


@pytest.fixture(scope="module")
def film(platform_of_module: Platform, reelmesh: Run, clip: Callable[..., Path]) -> str:
    """A film that plays; its title's resource name."""
    video = reelmesh("upload", str(clip(SECONDS, 640, 360, RATE)), "--title", "a file")["video"]
    credit = Credit(person=PERSON, role=Credit.ROLE_DIRECTOR)
    return Library(platform_of_module).add(FILM, Title.KIND_FILM, video=video, genres=["drama"], credits=[credit])


@pytest.fixture(scope="module")
def platform_of_module(stack: Stack) -> Iterator[Platform]:
    with Platform.of_stack(stack.layout, stack.plan.gateway_url) as opened:
        yield opened


def id_of(name: str) -> str:
    return name.rpartition("/")[2]


def continuing(page: Page) -> Locator:
    """The row of what was begun."""
    return page.get_by_role("region", name="Continue watching")


def seconds_of(text: str) -> int:
    """Read "Resumes at 1:23" in seconds."""
    match = re.search(r"at (\d+):(\d\d)", text)
    assert match is not None, text
    return 60 * int(match[1]) + int(match[2])


def test_a_misspelt_name_leads_to_a_title_that_goes_on_where_it_was_left(page: Page, film: str) -> None:
    page.goto("/")
    search = page.get_by_role("combobox", name="Search")
    search.press_sequentially(MISSPELT, delay=20)
    option = page.get_by_role("option", name=FILM).first
    expect(option).to_be_visible()
    search.press("ArrowDown")
    expect(option).to_have_attribute("aria-selected", "true")
    search.press("Enter")
    page.wait_for_url(f"**/title/{id_of(film)}")
    expect(page.get_by_role("heading", name=FILM, level=1)).to_be_visible()

    page.get_by_role("link", name="Play", exact=True).click()
    watching = WatchPage(page)
    watching.wait_playing(beyond=6)
    left_at = watching.read("video.currentTime")
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Home").click()

    tile = continuing(page).get_by_role("link", name=FILM)
    expect(tile).to_be_visible()
    told = seconds_of(tile.inner_text())
    assert abs(told - left_at) <= HEARTBEAT, f"left at {left_at}"
    tile.click()
    page.wait_for_url("**/watch/**")
    back = WatchPage(page)
    back.wait_playing(beyond=told)
    assert int(back.events("loading")[-1]["detail"]["start"]) == told
    expect(page.get_by_role("status").filter(has_text=f"Resumed at 0:{told:02}")).to_be_visible()

    page.get_by_role("link", name=FILM).click()
    expect(page.get_by_role("link", name="Resume at 0:")).to_be_visible()


def test_results_are_marked_and_filtered_and_the_address_keeps_it(page: Page, film: str) -> None:
    page.goto("/")
    search = page.get_by_role("combobox", name="Search")
    search.fill(MISSPELT)
    search.press("Enter")
    page.wait_for_url("**/search?q=lighthose*")
    hit = page.get_by_role("region", name="Titles").get_by_role("listitem").filter(has_text=FILM)
    expect(hit).to_be_visible()
    page.get_by_role("checkbox", name="Drama").check()
    page.wait_for_url("**genre=drama*")
    expect(hit).to_be_visible()
    page.reload()
    expect(page.get_by_role("checkbox", name="Drama")).to_be_checked()
    page.get_by_role("button", name="Remove filter Drama").click()
    page.wait_for_url(lambda url: "genre" not in url)
    page.go_back()
    page.wait_for_url("**genre=drama*")
    expect(search).to_have_value(MISSPELT)

    search.fill("Lighthouse")
    search.press("Enter")
    expect(hit.locator("mark").first).to_have_text("Lighthouse")
    hit.get_by_role("link", name=FILM).click()
    page.get_by_role("link", name=PERSON).click()
    page.wait_for_url("**/browse?person=*")
    expect(page.get_by_role("link", name=FILM)).to_be_visible()

    search.fill("xqzw vbnkj")
    search.press("Enter")
    expect(page.get_by_text("Nothing found for “xqzw vbnkj”")).to_be_visible()
    expect(search).to_have_value("xqzw vbnkj")


def test_what_is_typed_while_a_page_loads_stays(page: Page, film: str) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/assets/home-*.js", hold)
    page.goto("/")
    search = page.get_by_role("combobox", name="Search")
    search.fill(MISSPELT)
    assert held, "the page has come already"
    for each in held:
        each.continue_()
    expect(page.get_by_role("heading", level=2).first).to_be_visible()
    expect(search).to_have_value(MISSPELT)
    search.press("Enter")
    page.wait_for_url("**/search?q=lighthose*")


def test_what_was_watched_is_not_used_once_one_says_so(page: Page, film: str, nobody: Platform) -> None:
    video = DiscoveryServiceStub(nobody.channel).GetTitleDetails(GetTitleDetailsRequest(name=film)).title.video
    WatchPage.open(page, video, "hls").wait_playing(beyond=6)
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Home").click()
    expect(continuing(page)).to_be_visible()
    switch = page.get_by_role("switch", name="Personal recommendations")
    switch.uncheck()
    expect(continuing(page)).to_be_hidden()
    page.reload()
    expect(page.get_by_role("heading", level=2).first).to_be_visible()
    expect(switch).not_to_be_checked()
    expect(continuing(page)).to_be_hidden()


def test_the_next_episode_is_offered_at_the_end(
    page: Page, platform: Platform, reelmesh: Run, clip: Callable[..., Path]
) -> None:
    library = Library(platform)
    series = library.add("Harbour Clerks", Title.KIND_SERIES)
    season = library.add("Season 1", Title.KIND_SEASON, parent_title=series, number=1)
    names = ("The Missing Ledger", "A Quiet Tide")
    videos = [
        reelmesh("upload", str(clip(SHORT_SECONDS, 640, 360, RATE)), "--title", f"Clerks {number}")["video"]
        for number in (1, 2)
    ]
    episodes = [
        library.add(name, Title.KIND_EPISODE, parent_title=season, number=number, video=video)
        for number, (name, video) in enumerate(zip(names, videos, strict=True), 1)
    ]
    recommend = RecommendationServiceStub(platform.channel)

    def followed() -> bool:
        """It is not known either, until recommend has read of the episode."""
        try:
            answer = recommend.GetNextEpisode(GetNextEpisodeRequest(name=episodes[0]), timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            if problem_of(error).reason == "TITLE_UNKNOWN":
                return False
            raise
        return answer.HasField("title")

    eventually(lambda: followed() or None, "the next episode is known")

    page.goto(f"/title/{id_of(series)}")
    expect(page.get_by_role("link", name=names[1])).to_be_visible()
    page.get_by_role("link", name="Play S1 E1").click()
    watching = WatchPage(page)
    watching.wait_playing(beyond=0.5)
    watching.wait_ended(SHORT_SECONDS)
    page.get_by_role("link", name="Play the next episode").click()
    page.wait_for_url(f"**/watch/{id_of(videos[1])}?title={id_of(episodes[1])}")
    WatchPage(page).wait_playing(beyond=0.5)


def test_a_home_page_whose_service_is_away_says_so(page: Page) -> None:
    away = {"content-type": "application/grpc-web+proto", "grpc-status": "14", "grpc-message": "away"}

    def answer(route: Route) -> None:
        route.fulfill(status=200, headers=away)

    page.route("**/*.RecommendationService/*", answer)
    page.goto("/")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("away just now")
    page.unroute("**/*.RecommendationService/*", answer)
    alert.get_by_role("button", name="Try again").click()
    expect(alert).to_be_hidden()
