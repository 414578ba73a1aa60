"""The web player and the upload page in a Chromium, through Envoy, on the whole platform."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_pages import PATIENCE, Network, UploadPage, Visitor, WatchPage, launched, no_complaints
from e2e_world import eventually
from playwright.sync_api import BrowserContext, Page, Route, expect

from reelmesh.playback.v1.playback_service_pb2 import ListContinueWatchingRequest
from reelmesh.playback.v1.session_pb2 import WatchProgress
from reelmesh.transcode.v1.job_pb2 import Job
from reelmesh_tools.client.platform import CALL_SECONDS, Platform
from reelmesh_tools.stack.client import Stack
from reelmesh_tools.stack.owner import Credentials

pytestmark = [pytest.mark.stack, pytest.mark.browser]

FILM = "The film"
FILM_SECONDS = 48
"""More than a player buffers ahead, twice: its rendition can fall again before all is fetched."""
FILM_RATE = 25
GROWING_SECONDS = 48
SLICE_BYTES = 14 << 20
"""What the upload page sends at once."""
SETTLED = 1
"""Second of a film at which the first rendition has been left for a better one. Shaka Player 5.2 now and then fails
where a seek in HLS meets such a switch (its issue 10569)."""
SLICE = re.compile(r":write\?")
QUIET = ("--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync")


@pytest.fixture(scope="module")
def new_context(stack: Stack) -> Iterator[Callable[[], BrowserContext]]:
    """Make a profile of a browser of its own, with a viewer of its own, at the gateway."""
    with launched(*QUIET) as browser:

        def make() -> BrowserContext:
            context = browser.new_context(base_url=stack.plan.gateway_url)
            context.set_default_timeout(PATIENCE)
            return context

        yield make


@pytest.fixture
def context(new_context: Callable[[], BrowserContext]) -> Iterator[BrowserContext]:
    made = new_context()
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page on which nothing may go wrong."""
    opened = context.new_page()
    with no_complaints(opened):
        yield opened


@pytest.fixture(scope="module")
def film(reelmesh: Callable[..., dict[str, Any]], clip: Callable[..., Path]) -> str:
    """A film in three renditions, all encoded."""
    done = reelmesh("upload", str(clip(FILM_SECONDS, 854, 480, FILM_RATE)), "--title", FILM)
    return str(done["video"])


def test_the_list_shows_a_video_and_its_state_and_opens_it(page: Page, film: str) -> None:
    page.goto("/videos")
    card = page.locator(".card", has_text=FILM).first
    expect(card.locator(".badge")).to_have_text("Ready")
    expect(card.locator(".length")).to_have_text(f"0:{FILM_SECONDS}")
    card.get_by_role("link", name=FILM).click()
    page.wait_for_url(f"**/watch/{film.rsplit('/', 1)[-1]}")
    WatchPage(page).wait_playing(beyond=0.5)
    expect(page.get_by_role("heading", name=FILM)).to_be_visible()


@pytest.mark.parametrize("format_", ["hls", "dash"])
def test_a_film_plays_from_start_to_end(page: Page, film: str, format_: str) -> None:
    watching = WatchPage.open(page, film, format_)
    watching.wait_playing(beyond=0.5)
    assert watching.heights() == [240, 360, 480]
    watching.assert_picture()
    watching.assert_sound()
    watching.fast(4)
    watching.wait_ended(FILM_SECONDS)
    # Frames that were shown and those that came too late for it: the decoder has seen the whole film.
    assert watching.frames() >= FILM_SECONDS * FILM_RATE
    assert not watching.events("error")


@pytest.mark.parametrize("format_", ["hls", "dash"])
def test_a_seek_plays_on_from_there(page: Page, film: str, format_: str) -> None:
    watching = WatchPage.open(page, film, format_)
    watching.wait_playing(beyond=SETTLED)
    for position in (FILM_SECONDS * 3 / 4, FILM_SECONDS / 4):
        watching.seek(position)
        watching.wait_playing(beyond=position + 0.5)
        assert watching.read("video.currentTime") < position + 4
    watching.assert_picture()
    assert not watching.events("error")


@pytest.mark.parametrize("format_", ["hls", "dash"])
def test_the_rendition_follows_the_network(page: Page, film: str, format_: str) -> None:
    # The program itself is loaded before: only media is slow.
    page.goto("/watch/nothing")
    expect(page.get_by_role("alert")).to_be_visible()
    network = Network(page)
    network.limit(700_000)
    watching = WatchPage.open(page, film, format_)
    watching.wait_playing(beyond=0)
    assert watching.wait_height("> 0") == 240
    network.unlimit()
    watching.wait_height("== 480")
    watching.fast(2)
    network.limit(700_000)
    watching.wait_height("< 480")
    assert not watching.events("error")


def test_a_film_plays_while_it_is_encoded(
    new_context: Callable[[], BrowserContext],
    owner: Credentials,
    reelmesh: Callable[..., dict[str, Any]],
    clip: Callable[..., Path],
) -> None:
    context = new_context()
    Visitor(context.new_page()).sign_in(owner.email, owner.password)
    video = reelmesh("upload", str(clip(GROWING_SECONDS, 1280, 720, 25)), "--until", "uploaded")["video"]
    pages = [WatchPage.open(context.new_page(), video, format_) for format_ in ("hls", "dash")]
    with no_complaints(pages[0].page), no_complaints(pages[1].page):
        for watching in pages:
            watching.wait_playing(beyond=1)
            assert watching.read("player.isDynamic()"), "it was encoded before it was played: the clip is too short"
            expect(watching.page.locator(".job")).to_be_visible()
        for watching in pages:
            watching.wait(f"events.some((event) => event.type === 'job' && event.detail.state === {Job.STATE_READY})")
            watching.wait("!player.isDynamic()")
        for watching in pages:
            watching.wait_playing(beyond=watching.read("video.currentTime"))
            watching.fast(4)
        for watching in pages:
            watching.wait_ended(GROWING_SECONDS)
            assert not watching.events("error")
    context.close()


def test_an_upload_is_followed_from_its_first_byte_to_its_picture(
    context: BrowserContext, owner: Credentials, clip: Callable[..., Path], tmp_path: Path
) -> None:
    file = padded(clip(6), tmp_path / "holiday.mp4", 2 * SLICE_BYTES + (3 << 20))
    held: list[Route] = []

    def hold_second(route: Route) -> None:
        if "offset=0&" in route.request.url or held:
            route.continue_()
        else:
            held.append(route)

    page = context.new_page()
    Visitor(page).sign_in(owner.email, owner.password)
    page.route(SLICE, hold_second)
    upload = UploadPage(page)
    with no_complaints(page, excused="ERR_FAILED"):
        upload.choose(file)
        expect(page.get_by_label("Title")).to_have_value("holiday")
        with page.expect_request(lambda request: f":write?offset={SLICE_BYTES}&" in request.url):
            upload.begin()
        upload.wait_sent("14.0 MiB of 31.0 MiB")
        held[0].abort()
        expect(upload.sending.get_by_role("status")).to_contain_text("Trying again: the connection broke")
        upload.wait_sent("31.0 MiB of 31.0 MiB")
        expect(upload.encoding).to_have_attribute("data-playable", "", timeout=PATIENCE)
        upload.watch.click(timeout=PATIENCE)
        watching = WatchPage(page)
        watching.wait_playing(beyond=1)
        expect(page.get_by_role("heading", name="holiday")).to_be_visible()
        watching.assert_picture()
        assert not watching.events("error")


def test_an_upload_goes_on_when_its_page_is_opened_again(
    context: BrowserContext, page: Page, owner: Credentials, clip: Callable[..., Path], tmp_path: Path
) -> None:
    file = padded(clip(6), tmp_path / "holiday again.mp4", SLICE_BYTES + (3 << 20))
    left = context.new_page()
    Visitor(left).sign_in(owner.email, owner.password)
    left.route(SLICE, lambda route: route.continue_() if "offset=0&" in route.request.url else None)
    upload = UploadPage(left)
    upload.choose(file)
    upload.begin()
    upload.wait_sent("14.0 MiB of 17.0 MiB")
    left.close()

    offsets: list[str] = []
    page.on("request", lambda request: offsets.extend(re.findall(r":write\?offset=(\d+)", request.url)))
    upload = UploadPage(page)
    upload.choose(file)
    upload.begin()
    expect(upload.sending).to_contain_text("Resumed at 14.0 MiB")
    upload.wait_sent("17.0 MiB of 17.0 MiB")
    assert offsets == [str(SLICE_BYTES)]
    expect(upload.watch).to_be_visible(timeout=PATIENCE)


@pytest.mark.parametrize("leave", ["by a link", "by closing the page"])
def test_one_who_comes_back_goes_on_where_they_left(page: Page, film: str, nobody: Platform, leave: str) -> None:
    watching = WatchPage.open(page, film, "hls")
    watching.wait_playing(beyond=SETTLED)
    watching.seek(8)
    watching.wait_playing(beyond=9)
    left_at = watching.read("video.currentTime")
    viewer = page.evaluate("localStorage.getItem('viewer')")
    if leave == "by a link":
        page.get_by_role("link", name="Videos").click()
    else:
        page.goto("about:blank")

    request = ListContinueWatchingRequest(parent=nobody.parent, viewer=viewer)

    def reported() -> WatchProgress | None:
        found = nobody.playback.ListContinueWatching(request, timeout=CALL_SECONDS).progress
        return next((each for each in found if each.position.ToTimedelta().total_seconds() >= left_at), None)

    # A page that closes does not tell anyone how its last request went; the platform does.
    begun = eventually(reported, "the platform knows where they left")
    assert begun.video == film
    assert left_at <= begun.position.ToTimedelta().total_seconds() < left_at + 2

    back = WatchPage.open(page, film, "dash")
    back.wait_playing(beyond=left_at)
    assert back.events("loading")[0]["detail"]["start"] == begun.position.ToTimedelta().total_seconds()
    expect(page.get_by_role("status").filter(has_text="Resumed at 0:")).to_be_visible()


def test_an_unknown_video_is_an_error_with_its_reason(page: Page) -> None:
    page.goto(f"/watch/{uuid.uuid4()}")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("VIDEO_UNKNOWN", timeout=PATIENCE)
    expect(alert).to_contain_text("There is no such video", ignore_case=True)
    expect(alert.get_by_role("button", name="Try again")).to_be_visible()


def padded(clip: Path, to: Path, size: int) -> Path:
    """Make a file of `size` bytes of a clip: what a box of type "free" holds means nothing (ISO/IEC 14496-12)."""
    content = clip.read_bytes()
    rest = size - len(content)
    to.write_bytes(content + rest.to_bytes(4, "big") + b"free" + bytes(rest - 8))
    return to
