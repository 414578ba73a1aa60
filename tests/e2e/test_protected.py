"""A protected video from upload to picture, on the whole platform: Clear Key in a Chromium, by HLS and by DASH."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_pages import PATIENCE, UploadPage, Visitor, WatchPage, gray, no_complaints
from e2e_world import job_named, video_named
from playwright.sync_api import BrowserContext, Page, Route, expect, sync_playwright

from reelmesh.mesh.keys import KeyRing
from reelmesh.playback.v1.playback_service_pb2 import CreatePlaybackSessionResponse, GetPlaybackSessionResponse
from reelmesh.playback.v1.session_pb2 import LicenseServer
from reelmesh_tools.client.platform import Platform
from reelmesh_tools.extras import chromium
from reelmesh_tools.stack.client import Stack
from reelmesh_tools.stack.owner import Credentials

pytestmark = [pytest.mark.stack, pytest.mark.browser]

SECONDS, RATE = 20, 25
GROWING_SECONDS = 48
CLEAR_KEY = "org.w3.clearkey"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--autoplay-policy=no-user-gesture-required"]
LABELS = ("AUDIO", "SD", "HD")


@pytest.fixture(scope="module")
def film(reelmesh: Callable[..., dict[str, Any]], clip: Callable[..., Path]) -> str:
    """A protected film whose renditions need two keys."""
    return str(reelmesh("upload", str(clip(SECONDS, 1280, 720, RATE)), "--protection", "drm")["video"])


@pytest.fixture(scope="module")
def browser_context(stack: Stack) -> Iterator[BrowserContext]:
    path = chromium()
    if path is None:
        pytest.skip("no Chromium: install one or set REELMESH_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        context = browser.new_context(base_url=stack.plan.gateway_url)
        context.set_default_timeout(PATIENCE)
        yield context
        browser.close()


@pytest.fixture
def page(browser_context: BrowserContext) -> Iterator[Page]:
    opened = browser_context.new_page()
    yield opened
    opened.close()


def license_token(stack: Stack, video: str, labels: tuple[str, ...] = LABELS) -> str:
    claims = {
        "iss": "reelmesh.playback",
        "aud": "licenses",
        "sub": "organizations/default/sessions/0198c0de-0000-7000-8000-000000000001",
        "exp": int(time.time()) + 300,
        "video": video,
        "labels": list(labels),
        "seconds": 3600,
        "renew": 0,
        "persist": False,
        "viewer": "",
    }
    return KeyRing.load(stack.layout.media_keys).sign(claims)


def grant(page: Page, stack: Stack, video: str, labels: tuple[str, ...] = LABELS) -> None:
    """Let every session that the page asks for carry a license server, with a token for these keys."""
    uri = f"/v1/licenses/clearkey?token={license_token(stack, video, labels)}"

    def granted(route: Route) -> None:
        answer = route.fetch()
        body = answer.body()  # of gRPC-Web: one message, then trailers, each behind a flag and its size
        end = 5 + int.from_bytes(body[1:5])
        kind = CreatePlaybackSessionResponse if "Create" in route.request.url else GetPlaybackSessionResponse
        message = kind.FromString(body[5:end])
        del message.session.license_servers[:]
        message.session.license_servers.append(LicenseServer(key_system=CLEAR_KEY, uri=uri))
        data = message.SerializeToString()
        route.fulfill(response=answer, body=b"\0" + len(data).to_bytes(4) + data + body[end:])

    page.route(re.compile(r"PlaybackService/(Create|Get)PlaybackSession$"), granted)


def test_it_is_whole_and_encrypted(reelmesh: Callable[..., dict[str, Any]], film: str) -> None:
    report = reelmesh("verify", film)
    assert report["ok"], report["faults"]
    tracks = {each["track"]: each for each in report["renditions"]}
    assert {each["scheme"] for each in tracks.values()} == {"cbcs"}
    assert tracks["v480"]["key_id"] == tracks["v360"]["key_id"]
    assert len({tracks[track]["key_id"] for track in ("v720", "v480", "a0")}) == 3
    assert {each["samples"] for each in tracks.values() if each["kind"] == "video"} == {SECONDS * RATE}
    assert "licenses" in reelmesh("play", film)


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

    page.route(re.compile(r"/v1/licenses/clearkey"), forged)
    watching = WatchPage.open(page, film, format_)
    expect(page.get_by_role("alert")).to_be_visible()
    assert watching.events("license")
    assert watching.frames() == 0
    seen = Counter(gray(page.locator("video")))
    assert seen.most_common(1)[0][1] > 0.98 * seen.total(), "something was shown"  # but for the corners


@pytest.mark.parametrize("format_", ["hls", "dash"])
def test_who_is_not_granted_a_key_is_told(page: Page, stack: Stack, film: str, format_: str) -> None:
    grant(page, stack, film, labels=())
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
