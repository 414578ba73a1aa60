"""Pictures of the web pages for docs/, of a local platform that somebody has watched: ``make screens``.

Run ``reelmesh up``, upload a few films, and let titles of a library (``reelmesh catalog seed``) have them as their
videos. Let ``reelmesh simulate`` watch them first, and ``reelmesh simulate --live`` meanwhile.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, expect, sync_playwright

from reelmesh.catalog.v1.video_pb2 import Video
from reelmesh.catalog.v1.video_service_pb2 import ListVideosRequest
from reelmesh_tools.client.platform import CALL_SECONDS, Platform
from reelmesh_tools.extras import chromium
from reelmesh_tools.stack.client import Stack
from reelmesh_tools.stack.layout import Layout
from reelmesh_tools.stack.owner import Credentials

DOCS = Path(__file__).parents[2] / "docs"
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
WIDTH, HEIGHT = 1280, 900
PATIENCE = 60_000
"""Milliseconds that the figures may take."""
LIVE = """() => [...document.querySelectorAll("reelmesh-chart")]
  .some(({ data }) => data?.title === "Watching now" && data.x.length >= 8)"""
"""Whether the live chart is more than a dot."""
PICTURES = """() => [...document.querySelectorAll(".frame img")]
  .map((each) => [each, each.getBoundingClientRect()])
  .filter(([, { left, top }]) => left < innerWidth && top < innerHeight).every(([each]) => each.complete)"""
"""Whether the pictures that are seen are there: a row's further ones come when it is moved."""
PLAYING = "() => window.reelmesh?.player && !reelmesh.video.seeking && !reelmesh.video.paused"
"""Whether a watch page plays. Functions, all of these: what the pages let no script do is to evaluate text."""
BEGUN = (0.62, 0.17, 0.35)
"""How far videos were watched, as shares of them."""
QUERY = "lighthose"
"""What is searched for, as people type."""


def main() -> None:
    """Write docs/PAGE-light.png and -dark.png: ``screens [TIME [PAGE…]]``; TIME is what analytics shows, such as 1h.

    Without pages, of all: analytics, home, search, title.
    """
    stack = Stack(Layout.from_environment(os.environ))
    credentials = Credentials.load(stack.layout.credentials_file)
    path = chromium()
    if credentials is None or path is None:
        sys.exit("screens: a local platform (reelmesh up) and Chromium (or REELMESH_CHROMIUM) are needed")
    time, *wanted = sys.argv[1:] or ["1h"]
    DOCS.mkdir(exist_ok=True)
    with sync_playwright() as playwright, Platform.of_stack(stack.layout, stack.plan.gateway_url) as platform:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
        )
        scenes = {name: shown for name, shown in _scenes(time, _videos(platform)).items() if name in (wanted or [name])}
        for scheme in SCHEMES:
            _pictures(browser, stack.plan.gateway_url, credentials, scheme, scenes)
        browser.close()


def _videos(platform: Platform) -> list[str]:
    """Return the paths of the pages of some videos that can be watched."""
    request = ListVideosRequest(parent=platform.parent, page_size=100)
    videos = platform.videos.ListVideos(request, timeout=CALL_SECONDS).videos
    ready = [each.name.rpartition("/")[2] for each in videos if each.state == Video.STATE_READY]
    return [f"/watch/{each}" for each in ready[: len(BEGUN)]]


def _scenes(time: str, videos: list[str]) -> Mapping[str, Callable[[Page], None]]:
    """Return what opens each page and waits until it shows what it is to show."""
    return {
        "analytics": lambda page: _analytics(page, time),
        "home": lambda page: _home(page, videos),
        "search": _search,
        "title": _title,
    }


def _pictures(
    browser: Browser,
    url: str,
    credentials: Credentials,
    scheme: Literal["light", "dark"],
    scenes: Mapping[str, Callable[[Page], None]],
) -> None:
    context = browser.new_context(
        base_url=url, color_scheme=scheme, viewport={"width": WIDTH, "height": HEIGHT}, locale="en-GB"
    )
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto("/sign-in")
    page.get_by_label("Email").fill(credentials.email)
    page.get_by_label("Password").fill(credentials.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda reached: "/sign-" not in reached)
    for name, opened in scenes.items():
        opened(page)
        file = DOCS / f"{name}-{scheme}.png"
        page.screenshot(path=file, full_page=name == "analytics")
        sys.stdout.write(f"{file}\n")
    context.close()


def _analytics(page: Page, time: str) -> None:
    page.goto(f"/analytics?range={time}")
    expect(page.locator(".breakdown tbody tr").first).to_be_visible(timeout=PATIENCE)
    expect(page.locator(".live .dot[data-connected]")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#retention")).to_be_visible(timeout=PATIENCE)
    expect(page.locator(".reports")).to_have_attribute("aria-busy", "false", timeout=PATIENCE)
    page.wait_for_function(LIVE)


def _home(page: Page, videos: list[str]) -> None:
    """Watch a little of some videos first: what was begun is on the page."""
    for video, share in zip(videos, BEGUN, strict=False):
        page.goto(video)
        page.wait_for_function(PLAYING)
        page.evaluate("(share) => { const { video } = reelmesh; video.currentTime = share * video.duration }", share)
        page.wait_for_function(PLAYING)
        page.get_by_role("navigation", name="Main").get_by_role("link", name="Home").click()
        expect(page.locator("home-page")).to_be_visible()
    page.goto("/")
    expect(page.locator(".rows[aria-busy=false] title-row").first).to_be_visible(timeout=PATIENCE)
    _seen(page)


def _search(page: Page) -> None:
    page.goto("/browse")
    search = page.get_by_role("combobox", name="Search")
    search.fill(QUERY)
    search.press("Enter")
    expect(page.locator(".found[aria-busy=false] .hit").first).to_be_visible(timeout=PATIENCE)
    _seen(page)


def _title(page: Page) -> None:
    page.goto("/browse?kind=series")
    page.locator(".found[aria-busy=false] .grid a").first.click()
    expect(page.locator("title-page .hit").first).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_role("heading", name="Similar titles")).to_be_attached(timeout=PATIENCE)
    _seen(page)


def _seen(page: Page) -> None:
    page.wait_for_function(PICTURES)


if __name__ == "__main__":
    main()
