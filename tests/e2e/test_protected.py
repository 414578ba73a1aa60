"""A protected video from upload to picture, on the whole platform: Clear Key in a Chromium, by HLS and by DASH."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_pages import PATIENCE, UploadPage, Visitor, WatchPage, gray, launched, no_complaints
from e2e_world import job_named, video_named
from playwright.sync_api import BrowserContext, Page, Route, expect

from reelmesh.mesh.keys import KeyRing
from reelmesh_tools.client.platform import Platform
from reelmesh_tools.stack.client import Stack
from reelmesh_tools.stack.owner import Credentials

pytestmark = [pytest.mark.stack, pytest.mark.browser]

SECONDS, RATE = 20, 25
GROWING_SECONDS = 48
CLEAR_KEY = "org.w3.clearkey"
LICENSE = "v1/licenses/clearkey"


@pytest.fixture(scope="module")
def film(reelmesh: Callable[..., dict[str, Any]], clip: Callable[..., Path]) -> str:
    """A protected film whose renditions need two keys."""
    return str(reelmesh("upload", str(clip(SECONDS, 1280, 720, RATE)), "--protection", "drm")["video"])


@pytest.fixture(scope="module")
def browser_context(stack: Stack) -> Iterator[BrowserContext]:
    with launched() as browser:
        context = browser.new_context(base_url=stack.plan.gateway_url)
        context.set_default_timeout(PATIENCE)
        yield context


@pytest.fixture
def page(browser_context: BrowserContext) -> Iterator[Page]:
    opened = browser_context.new_page()
    yield opened
    opened.close()


def token_of_nothing(stack: Stack, video: str) -> str:
    """A genuine token that grants no key."""
    claims = {
        "iss": "reelmesh.playback",
        "aud": "licenses",
        "sub": "organizations/default/sessions/0198c0de-0000-7000-8000-000000000001",
        "exp": int(time.time()) + 300,
        "video": video,
        "labels": [],
        "seconds": 3600,
        "renew": 0,
        "persist": False,
        "viewer": "",
    }
    return KeyRing.load(stack.layout.media_keys).sign(claims)


def test_it_is_whole_and_encrypted(reelmesh: Callable[..., dict[str, Any]], film: str) -> None:
    report = reelmesh("verify", film)
    assert report["ok"], report["faults"]
    tracks = {each["track"]: each for each in report["renditions"]}
    assert {each["scheme"] for each in tracks.values()} == {"cbcs"}
    assert tracks["v480"]["key_id"] == tracks["v360"]["key_id"]
    assert len({tracks[track]["key_id"] for track in ("v720", "v480", "a0")}) == 3
    assert {each["samples"] for each in tracks.values() if each["kind"] == "video"} == {SECONDS * RATE}
    assert f"/{LICENSE}?token=" in reelmesh("play", film)["licenses"][CLEAR_KEY]


@pytest.mark.parametrize("format_", ["hls", "dash"])
def test_it_plays_to_its_end_with_a_license(page: Page, film: str, format_: str) -> None:
    with no_complaints(page):
        watching = WatchPage.open(page, film, format_)
        watching.wait_playing(beyond=0.5)
        assert watching.heights() == [240, 360, 480, 720]
        watching.assert_picture()
        watching.assert_sound()
        watching.wait_height("== 720")  # with a key of its own
        watching.fast(4)
        watching.wait_ended(SECONDS)
        assert not watching.events("error")
    assert {event["detail"]["keySystem"] for event in watching.events("license")} == {CLEAR_KEY}
    assert watching.read("player.drmInfo().encryptionScheme") == "cbcs"


def test_it_plays_while_it_is_encoded(
    browser_context: BrowserContext,
    owner: Credentials,
    reelmesh: Callable[..., dict[str, Any]],
    clip: Callable[..., Path],
) -> None:
    pages = {format_: browser_context.new_page() for format_ in ("hls", "dash")}
    Visitor(pages["hls"]).sign_in(owner.email, owner.password)  # who watches a job may see it
    source = str(clip(GROWING_SECONDS, 1280, 720, RATE))
    video = reelmesh("upload", source, "--protection", "drm", "--until", "uploaded")["video"]
    watched = [WatchPage.open(page, video, format_) for format_, page in pages.items()]
    for watching in watched:
        watching.wait_playing(beyond=1)
        assert watching.read("player.isDynamic()"), "it was encoded before it was played: the clip is too short"
    for watching in watched:
        watching.wait("!player.isDynamic()")
        watching.fast(4)
    for watching in watched:
        watching.wait_ended(GROWING_SECONDS)
        assert not watching.events("error")
        watching.page.close()


@pytest.mark.parametrize("format_", ["hls", "dash"])
def test_a_wrong_key_shows_nothing(page: Page, film: str, format_: str) -> None:
    def forged(route: Route) -> None:
        answer = route.fetch()
        keys = answer.json()
        for key in keys["keys"]:
            key["k"] = "AAAAAAAAAAAAAAAAAAAAAA"
        route.fulfill(response=answer, json=keys)

    page.route(re.compile(LICENSE), forged)
    watching = WatchPage.open(page, film, format_)
    expect(page.get_by_role("alert")).to_be_visible()
    assert watching.events("license")
    assert watching.frames() == 0
    seen = Counter(gray(page.locator("video")))
    assert seen.most_common(1)[0][1] > 0.98 * seen.total(), "something was shown"  # but for the corners


@pytest.mark.parametrize("format_", ["hls", "dash"])
def test_who_is_not_granted_a_key_is_told(page: Page, stack: Stack, film: str, format_: str) -> None:
    refused = f"/{LICENSE}?token={token_of_nothing(stack, film)}"
    page.route(re.compile(LICENSE), lambda route: route.continue_(url=stack.plan.gateway_url + refused))
    watching = WatchPage.open(page, film, format_)
    expect(page.get_by_role("alert")).to_contain_text("KEY_NOT_GRANTED")
    assert watching.frames() == 0


def test_the_studio_uploads_protected(
    page: Page, owner: Credentials, platform: Platform, clip: Callable[..., Path]
) -> None:
    Visitor(page).sign_in(owner.email, owner.password)
    uploading = UploadPage(page)
    uploading.choose(clip(2, 320, 180, 25))
    uploading.protect()
    uploading.begin()
    expect(uploading.watch).to_be_visible()
    video = "organizations/default/videos/" + (uploading.watch.get_attribute("href") or "").rsplit("/", 1)[-1]
    job = job_named(platform, video_named(platform, video).job)
    assert job.protected
    assert {track.protection.label for track in job.tracks} == {"AUDIO", "SD"}
