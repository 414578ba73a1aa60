"""Measured playback in a Chromium: what a page sees of a viewing is what the platform knows of it, and shows."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_pages import PATIENCE, Network, Visitor, WatchPage, gray, launched, no_complaints
from e2e_world import eventually
from measured_pages import Watcher, play_plainly
from playwright.sync_api import Browser, Page, Request, expect

from reelmesh.analytics.v1.analytics_service_pb2 import GetSessionRequest, GetSessionResponse
from reelmesh.analytics.v1.report_pb2 import SessionReport
from reelmesh.playback.v1.playback_service_pb2 import CreatePlaybackSessionRequest
from reelmesh.playback.v1.session_pb2 import PlaybackSession
from reelmesh_tools.client.platform import CALL_SECONDS, Platform, problem_of
from reelmesh_tools.stack.client import Stack
from reelmesh_tools.stack.owner import Credentials

pytestmark = [pytest.mark.stack, pytest.mark.browser]

TITLE = "A measured film"
SECONDS, RATE = 60, 25
HEARTBEAT = 10.0
"""Seconds between two; what a page sees and what is reported may never be further apart."""
CLOSE = 0.5
"""Seconds that two who look at the same thing differ on a busy machine."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as opened:
        yield opened


@pytest.fixture
def page(stack: Stack, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(base_url=stack.plan.gateway_url)
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def film(reelmesh: Callable[..., dict[str, Any]], clip: Callable[..., Path]) -> str:
    """A film in three renditions, all encoded."""
    done = reelmesh("upload", str(clip(SECONDS, 854, 480, RATE)), "--title", TITLE)
    return str(done["video"])


def reported(platform: Platform, session: str, until: Callable[[SessionReport], bool]) -> GetSessionResponse:
    """Return what is known of a viewing, once it is so."""

    def look() -> GetSessionResponse | None:
        try:
            answer = platform.analytics.GetSession(GetSessionRequest(session=session), timeout=CALL_SECONDS)
        except Exception as error:
            if getattr(error, "code", None) and problem_of(error).reason == "SESSION_UNKNOWN":  # type: ignore[arg-type]
                return None  # nothing of it has arrived yet
            raise
        return answer if until(answer.session) else None

    return eventually(look, f"the end of {session} is known")


def session_of(watching: WatchPage) -> str:
    """Return the resource name of the viewing that a page is."""
    return str(watching.events("session")[0]["detail"]["name"])


def ended(session: SessionReport) -> bool:
    """Say whether the last word of a viewing has arrived, and all before it: batches may pass each other."""
    return session.outcome == SessionReport.OUTCOME_ENDED and session.missing_events == 0


@pytest.mark.parametrize("format_", ["hls", "dash"])
def test_a_viewing_is_reported_as_its_page_saw_it(page: Page, platform: Platform, film: str, format_: str) -> None:
    watcher = Watcher(page)
    with no_complaints(page):
        # The program itself is loaded before: only media is slow.
        page.goto("/watch/nothing")
        expect(page.get_by_role("alert")).to_be_visible()
        network = Network(page)
        network.limit(700_000)
        watching = WatchPage.open(page, film, format_)
        watching.wait_playing(beyond=1)
        network.unlimit()
        watching.wait_height("== 480")
        for seconds in (3.0, 1.5):
            watcher.stall(seconds)
            watching.wait_playing(beyond=watching.read("video.currentTime") + 1)
        seen = watcher.seen()
        refused = [each["detail"]["refusals"] for each in watching.events("telemetry")]
        assert not any(refused), refused
        assert refused, "nothing was answered while the page was open"
        session = session_of(watching)
        page.goto("about:blank")

    answer = reported(platform, session, ended)
    found = answer.session
    assert len(seen.stalls) == 2, seen
    assert min(seen.stalls) > 1.4, seen
    assert seen.switches >= 1, seen
    assert found.stalls == len(seen.stalls), f"{seen}\n{answer}"
    assert found.switches == seen.switches, f"{seen}\n{answer}"
    differences = {
        "startup": found.startup.ToTimedelta().total_seconds() - seen.startup,
        "watch": found.watch.ToTimedelta().total_seconds() - seen.watched,
        "stall": found.stall.ToTimedelta().total_seconds() - sum(seen.stalls),
    }
    assert max(map(abs, differences.values())) < min(CLOSE * 2, HEARTBEAT), f"{differences}\n{seen}\n{answer}"
    assert abs(differences["startup"]) < CLOSE, f"{differences}\n{seen}\n{answer}"
    assert found.missing_events == 0
    assert found.video == film
    assert found.player_version.startswith("reelmesh-web ")
    assert found.rendition == "480p"
    assert found.media_bytes > 0
    assert [each.type for each in answer.events][:2] == ["REQUESTED", "STARTED"]
    assert [each.type for each in answer.events][-1] == "ENDED"


def test_one_who_leaves_before_the_first_frame_is_an_exit(page: Page, platform: Platform, film: str) -> None:
    page.route("**/media/**", lambda route: None)  # nothing ever comes
    watching = WatchPage.open(page, film, "hls")
    watching.wait("events.some((event) => event.type === 'loading')")
    session = session_of(watching)
    page.goto("about:blank")
    exited = SessionReport.OUTCOME_EXITED_BEFORE_START
    answer = reported(platform, session, lambda session: session.outcome == exited)
    assert not answer.session.HasField("startup")
    assert [each.type for each in answer.events] == ["REQUESTED", "EXITED_BEFORE_START"]


def test_who_wants_no_measuring_is_not_measured(page: Page, film: str) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.add_init_script("localStorage.setItem('consent', 'denied')")
    watching = WatchPage.open(page, film, "hls")
    watching.wait_playing(beyond=1)
    page.goto("about:blank")
    assert any("PlaybackService" in url for url in sent)
    assert not [url for url in sent if "elemetry" in url]


@pytest.mark.parametrize(("build", "states"), [("compiled.debug", True), ("compiled", False)])
def test_a_player_of_someone_else_reports_by_cmcd(
    page: Page, platform: Platform, nobody: Platform, film: str, build: str, states: bool
) -> None:
    """The minified build never says its state: its compiler renames "sta". What it does say is known."""
    wanted = PlaybackSession(video=film, viewer=str(uuid.uuid4()))
    request = CreatePlaybackSessionRequest(parent=nobody.parent, session=wanted)
    session = nobody.playback.CreatePlaybackSession(request, timeout=CALL_SECONDS).session
    posts: list[Request] = []
    page.on("requestfinished", lambda request: posts.append(request) if ":cmcd" in request.url else None)
    play_plainly(page, session.dash_uri, session.name, session.cmcd_uri, build)
    page.wait_for_function("document.querySelector('video').currentTime > 8", timeout=PATIENCE)
    watched = page.evaluate("document.querySelector('video').currentTime")
    page.evaluate("document.querySelector('video').pause()")

    least = watched - HEARTBEAT / 5 if states else 0
    answer = reported(
        platform,
        session.name,
        lambda found: found.watch.ToTimedelta().total_seconds() >= least and found.events > 3,
    )
    answers = [(each.post_data, response.status, response.text()) for each in posts if (response := each.response())]
    assert answers
    assert {(status, body) for _, status, body in answers} == {(200, "")}, answers
    assert any("sta=" in (line or "") for line, _, _ in answers) == states, answers
    assert answer.session.watch.ToTimedelta().total_seconds() < (watched + CLOSE * 2 if states else CLOSE), answer
    assert answer.session.startup.ToTimedelta().total_seconds() > 0
    assert answer.session.events == len(answer.events) > 3
    assert {"REQUESTED", "STARTED", "HEARTBEAT"} <= {each.type for each in answer.events}
    assert answer.session.missing_events == 0


def test_the_analytics_page_shows_what_was_watched(page: Page, owner: Credentials, film: str) -> None:
    watching = WatchPage.open(page, film, "hls")
    watching.wait_playing(beyond=3)
    page.goto("about:blank")
    page.goto("/")
    expect(page.get_by_role("link", name="Analytics")).to_be_hidden()
    with no_complaints(page):
        Visitor(page).sign_in(owner.email, owner.password)
        page.get_by_role("navigation", name="Main").get_by_role("link", name="Analytics").click()
        page.get_by_label("Time", exact=True).select_option(label="Last hour")
        # The page asks again by itself: figures follow in seconds.
        tile = page.locator("[data-figure=views] .value")
        expect(tile).to_have_text(re.compile("^[1-9]"), timeout=PATIENCE)
        expect(page.locator("[data-figure=watched] .value")).to_have_text(re.compile("^[1-9]"), timeout=PATIENCE)
        expect(page.locator("[data-figure=startup] .value")).to_have_text(re.compile(r"\d m?s$"), timeout=PATIENCE)
        expect(page.locator(".live .viewings")).to_have_text(re.compile(r"^\d+$"), timeout=PATIENCE)

        row = page.locator(".breakdown tbody tr", has_text=TITLE).first
        expect(row).to_be_visible(timeout=PATIENCE)
        charts = page.locator("reelmesh-chart")
        expect(charts).to_have_count(9, timeout=PATIENCE)
        views = charts.filter(has_text="Views").first
        assert len(set(gray(views.locator("canvas")))) > 4, "the chart is empty"
        views.get_by_text("Views as a table").click()
        told = views.locator("tbody td").all_inner_texts()
        assert sum(map(int, told)) >= 1, told

        row.get_by_role("button", name=TITLE).click()
        expect(page.get_by_role("button", name=f"Remove filter Video: {TITLE}")).to_be_visible()
        page.wait_for_url("**filter=video*")
        page.get_by_label("Break down by").select_option(label="Player version")
        expect(page.locator(".breakdown tbody tr", has_text="reelmesh-web")).to_be_visible(timeout=PATIENCE)
        page.get_by_role("button", name="Rebuffering").click()
        expect(page.locator("th[aria-sort=descending]")).to_have_text(re.compile("Rebuffering"))


def test_the_analytics_page_wants_an_editor(page: Page) -> None:
    page.goto("/analytics")
    alert = page.get_by_role("alert")
    expect(alert.get_by_role("link", name="Sign in")).to_be_visible(timeout=PATIENCE)
