"""What the pages of the telemetry tests are made of: a second opinion on a viewing, and a player of someone else."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from browser_pages import PATIENCE
from playwright.sync_api import Page, Route

WEB = Path(__file__).parents[1] / "gateway" / "web"
SEGMENT = re.compile(r"/media/.*\.(m4s|cmfv|cmfa|mp4)")
STILL_MS = 250
"""A picture that has not moved for so long, while nothing but the buffer holds it, stalls."""

WATCHING = """
(() => {
  const seen = { first: 0, watched: 0, stalls: [], sizes: [], still: 0, still_at: 0, position: 0, looked: 0 };
  window.seen = seen;
  const listen = (video) => {
    const frame = (now, { width, height }) => {
      seen.first ||= performance.now();
      const size = `${width}x${height}`;
      if (seen.sizes.at(-1) !== size) seen.sizes.push(size);
      video.requestVideoFrameCallback(frame);
    };
    video.requestVideoFrameCallback(frame);
  };
  setInterval(() => {
    const video = document.querySelector("video");
    if (!video) return;
    if (!seen.video) { seen.video = true; listen(video); }
    const now = performance.now();
    const { currentTime, paused, seeking, ended } = video;
    const moved = currentTime !== seen.position;
    if (seen.first && !paused && !seeking && !ended) {
      if (moved) {
        if (now - seen.still > STILL && seen.still) seen.stalls.push(now - seen.still);
        seen.watched += Math.min(now - seen.looked, (currentTime - seen.position) * 1000 / video.playbackRate + 1);
        seen.still = now;
      }
    } else {
      seen.still = 0;
    }
    seen.position = currentTime;
    seen.looked = now;
  }, 20);
})()
""".replace("STILL", str(STILL_MS))
"""Looks at the video element as a person does, fifty times a second, and listens to nothing that the reporter does."""

PLAIN = """<!doctype html><html><head><link rel="icon" href="data:,"><title>Another player</title>
<script src="/plain/shaka.js"></script></head><body><video width="640" muted></video></body></html>"""


@dataclass(frozen=True)
class Seen:
    """What a page measured of its viewing, by looking."""

    startup: float
    """Seconds from the request for a session to the first frame."""
    watched: float
    """Seconds in which the picture moved."""
    stalls: list[float]
    """Seconds of each."""
    switches: int


class Watcher:
    """Measures a viewing beside the reporter, and can hold its media back."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._holding = False
        self._held: list[Route] = []
        page.add_init_script(WATCHING)
        page.route(SEGMENT, self._pass)

    def stall(self, seconds: float) -> None:
        """Hold all media back until the picture has stood still for so long, and let it go on."""
        before = self.page.evaluate("seen.stalls.length")
        self._holding = True
        self.page.wait_for_function(
            f"seen.still && performance.now() - seen.still > {1000 * seconds}", timeout=PATIENCE
        )
        self._holding = False
        while self._held:
            self._held.pop(0).continue_()
        self.page.wait_for_function(f"seen.stalls.length > {before}", timeout=PATIENCE)

    def seen(self) -> Seen:
        """Return what was seen so far."""
        found = self.page.evaluate(
            """() => {
              const asked = performance.getEntriesByType("resource").find(
                ({ name }) => name.endsWith("PlaybackService/CreatePlaybackSession"));
              return { ...seen, startup: seen.first - asked.startTime };
            }"""
        )
        return Seen(
            startup=found["startup"] / 1000,
            watched=found["watched"] / 1000,
            stalls=[each / 1000 for each in found["stalls"]],
            switches=len(found["sizes"]) - 1,
        )

    def _pass(self, route: Route) -> None:
        if self._holding:
            self._held.append(route)
        else:
            route.continue_()


def play_plainly(page: Page, uri: str, session: str, cmcd_uri: str, build: str) -> None:
    """Play a presentation by a build of Shaka Player as it is published, which reports by CMCD version 2."""
    shaka = WEB / f"node_modules/shaka-player/dist/shaka-player.{build}.js"
    page.route("**/plain/page", lambda route: route.fulfill(body=PLAIN, content_type="text/html"))
    page.route("**/plain/shaka.js", lambda route: route.fulfill(path=shaka, content_type="text/javascript"))
    page.goto("/plain/page")
    target = {"mode": "event", "enabled": True, "url": cmcd_uri, "interval": 2, "batchSize": 1}
    settings = {
        "enabled": True,
        "version": 2,
        "sessionId": session.rsplit("/", 1)[-1],
        "contentId": "film",
        "eventTargets": [{**target, "events": ["ps", "t", "e", "bc"], "includeKeys": [], "useHeaders": False}],
    }
    page.evaluate(
        f"""async () => {{
          shaka.polyfill.installAll();
          const video = document.querySelector("video");
          window.player = new shaka.Player();
          await player.attach(video);
          player.configure({{ cmcd: {json.dumps(settings)} }});
          await player.load({json.dumps(uri)}, 0);
          await video.play();
        }}"""
    )
