"""The pages as the browser tests see them."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import imageio_ffmpeg
import pytest
from playwright.sync_api import Browser, CDPSession, ConsoleMessage, Locator, Page, expect, sync_playwright

from reelmesh_tools.extras import chromium

PATIENCE = 90_000
"""Milliseconds that anything may take on a busy machine; each wait ends as soon as its condition holds."""
ARGUMENTS = (
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
)


@contextlib.contextmanager
def launched(*more: str) -> Iterator[Browser]:
    """Launch Chromium, with more arguments than all browser tests need; skip the test where there is none."""
    path = chromium()
    if path is None:
        pytest.skip("no Chromium: install one or set REELMESH_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS, *more])
        yield browser
        browser.close()


class WatchPage:
    """`/watch/{id}`, by what `window.reelmesh` shows of it."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @classmethod
    def open(cls, page: Page, video: str, format_: str) -> Self:
        """Open the page of a video, given by its resource name."""
        page.goto(f"/watch/{video.rsplit('/', 1)[-1]}?format={format_}")
        return cls(page)

    def read(self, expression: str) -> Any:
        """Evaluate JavaScript, in which `player` is the Shaka Player and `video` the video element."""
        return self.page.evaluate(_with_names(expression))

    def wait(self, condition: str) -> None:
        """Wait until JavaScript, with the names of `read`, is true."""
        self.page.wait_for_function(_with_names(condition), timeout=PATIENCE)

    def wait_playing(self, beyond: float) -> None:
        """Wait until the picture moves at a position beyond `beyond` seconds."""
        frames = self.frames()
        self.wait(
            f"player && !video.paused && video.currentTime > {beyond} && "
            f"video.getVideoPlaybackQuality().totalVideoFrames > {frames}"
        )

    def frames(self) -> int:
        """Return how many frames were decoded since the presentation was loaded."""
        return int(self.read("video ? video.getVideoPlaybackQuality().totalVideoFrames : 0"))

    def heights(self) -> list[int]:
        """Return the heights of the renditions, least first."""
        return sorted(set(self.read("player.getVariantTracks().map((track) => track.height)")))

    def wait_height(self, relation: str) -> int:
        """Wait until the height of the rendition that is shown stands in a relation such as ``< 480``; return it."""
        # The frame's own height, not what Shaka fetches now: a rendition is switched when it is seen.
        self.wait(f"video.videoHeight {relation}")
        return int(self.read("video.videoHeight"))

    def fast(self, rate: float) -> None:
        """Play at another speed."""
        self.read(f"void (video.playbackRate = {rate})")

    def seek(self, position: float) -> None:
        """Go to a second and play on from there."""
        self.read(f"void (video.currentTime = {position})")
        self.wait(f"!video.seeking && video.currentTime >= {position}")

    def wait_ended(self, duration: float) -> None:
        """Wait until the video has ended, and check that this was at its end."""
        self.wait("events.some((event) => event.type === 'ended')")
        position = self.read("video.currentTime")
        assert abs(position - duration) < 0.1, f"ended at {position} s of {duration} s"

    def events(self, type_: str) -> list[dict[str, Any]]:
        """Return what happened of one type, oldest first."""
        found: list[dict[str, Any]] = self.read(f"events.filter((event) => event.type === '{type_}')")
        return found

    def assert_picture(self) -> None:
        """Check that the picture is one: neither black nor of one color, and another one a moment later."""
        picture = self.page.locator("video")
        first = gray(picture)
        assert statistics.pstdev(first) > 20, "the picture is blank"
        frames = self.frames()
        self.wait(f"video.getVideoPlaybackQuality().totalVideoFrames > {frames} + 10")
        assert gray(picture) != first, "the picture stands still"

    def assert_sound(self) -> None:
        """Check that sound is decoded."""
        assert self.read("video.webkitAudioDecodedByteCount") > 0, "no sound was decoded"


class Visitor:
    """Someone at the browser, by the account pages."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.account = page.get_by_role("navigation", name="Main").locator("#account")

    def sign_up(self, email: str, password: str) -> None:
        """Make an account; goes on to where the page was asked for from."""
        self.page.goto("/sign-up")
        self._submit("Sign up", email, password)

    def sign_in(self, email: str, password: str) -> None:
        """Sign in on the page of that name, from wherever one is."""
        self.page.goto("/sign-in")
        self._submit("Sign in", email, password)

    def _submit(self, button: str, email: str, password: str) -> None:
        self.page.get_by_label("Email").fill(email)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name=button).click()
        # The page goes on by itself; who went elsewhere at once would be held up by that.
        self.page.wait_for_url(lambda url: "/sign-" not in url)
        expect(self.account).to_have_text(email)


class UploadPage:
    """`/upload`."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.sending = page.get_by_role("region", name="Upload")
        self.encoding = page.get_by_role("region", name="Encoding")
        self.watch = page.get_by_role("link", name="Watch it")

    def choose(self, file: Path) -> None:
        """Choose a file as a person does, by the browser's own dialog."""
        self.page.goto("/upload")
        with self.page.expect_file_chooser() as chooser:
            self.page.get_by_label("Choose a video file").click()
        chooser.value.set_files(file)

    def protect(self) -> None:
        """Ask for encryption."""
        self.page.get_by_label("Protection").select_option(label="Encrypted, players need licenses")

    def begin(self) -> None:
        """Begin to upload."""
        self.page.get_by_role("button", name="Upload").click()

    def wait_sent(self, text: str) -> None:
        """Wait until so much is said to be sent."""
        expect(self.sending.locator(".figure")).to_have_text(text, timeout=PATIENCE)


class Network:
    """The network of a page, slow where a test wants it."""

    def __init__(self, page: Page) -> None:
        self._session: CDPSession = page.context.new_cdp_session(page)
        self._session.send("Network.enable")

    def limit(self, bits_per_second: int) -> None:
        """Let no more through than this."""
        self._emulate(bits_per_second / 8)

    def unlimit(self) -> None:
        """Let everything through."""
        self._emulate(-1)

    def _emulate(self, bytes_per_second: float) -> None:
        conditions = {"offline": False, "latency": 0, "downloadThroughput": bytes_per_second, "uploadThroughput": -1}
        self._session.send("Network.emulateNetworkConditions", conditions)


@contextlib.contextmanager
def no_complaints(page: Page, excused: str = "") -> Iterator[None]:
    """Check that the console stays free of errors; those that contain `excused` were provoked."""
    complaints: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        text = f"{message.text} at {message.location.get('url')}"
        if message.type in {"error", "warning"} and not (excused and excused in text):
            complaints.append(text)

    page.on("console", heard)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield
    assert not complaints, "\n".join(complaints)


def gray(element: Locator) -> bytes:
    """Return what is seen of an element, one byte of brightness for each pixel."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "png_pipe", "-i", "pipe:0"]
    command += ["-f", "rawvideo", "-pix_fmt", "gray", "pipe:1"]
    return subprocess.run(command, input=element.screenshot(), capture_output=True, check=True).stdout


def _with_names(expression: str) -> str:
    return (
        f"(() => {{ const {{ player, video, events }} = window.reelmesh ?? {{ events: [] }}; return {expression}; }})()"
    )
