"""Keeps what is watched in memory: asked of analytics again and again, and given to every index.

Titles are found without it, only less well ordered; so nothing waits for it, and what was known last stays while
analytics is away.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Protocol

from reelmesh.discovery.model import Popularity
from reelmesh.mesh.clock import Clock
from reelmesh.mesh.errors import Unavailable

LONG = timedelta(days=28)
"""What is popular was watched in so long."""
SHORT = timedelta(days=3)
"""What is trending was watched more in the last of it than in the rest."""

Views = Mapping[str, Mapping[str, float]]
"""Viewings by country and video; the country "" is all of them together."""

log = logging.getLogger(__name__)


class Audience(Protocol):
    """Knows what was watched."""

    async def views(self, start: datetime, end: datetime) -> Views:
        """Return viewings that began in a time, by country and video. Raises Unavailable."""


class Follow:
    """Asks every so often, until it is cancelled."""

    def __init__(self, audience: Audience, clock: Clock, seconds: float, give: Callable[[Popularity], None]) -> None:
        """`give` is told what was found, each time."""
        self._audience, self._clock, self._seconds, self._give = audience, clock, seconds, give
        self._away = False

    async def run(self) -> None:
        """Ask, again and again."""
        while True:
            await self.ask()
            await asyncio.sleep(self._seconds)  # figures change all the time; there is no event for that

    async def ask(self) -> None:
        """Ask once; what was known stays where nothing is answered."""
        end = self._clock.now()
        try:
            long, short = await asyncio.gather(
                self._audience.views(end - LONG, end), self._audience.views(end - SHORT, end)
            )
        except Unavailable as error:
            if not self._away:
                log.warning("titles are ordered by what was watched before: %s", error)
            self._away = True
            return
        if self._away:
            log.info("it is known again what is watched")
        self._away = False
        self._give(Popularity(views=long, trending=trending(long, short)))


def trending(long: Views, short: Views) -> dict[str, dict[str, float]]:
    """Say how much more each video was watched in the last SHORT of LONG than it was before.

    It is the number of standard deviations above what the time before would let expect, if viewers came by chance: ten
    where two were expected say more than 110 where 100 were. A little is added to what is expected, or one viewing of
    what nobody watched would be endlessly much.
    """
    found: dict[str, dict[str, float]] = {}
    part = SHORT / (LONG - SHORT)
    for country, videos in short.items():
        before = long.get(country, {})
        for video, views in videos.items():
            expected = max(0.0, before.get(video, views) - views) * part
            rise = (views - expected) / math.sqrt(expected + 1)
            if rise > 0:
                found.setdefault(country, {})[video] = rise
    return found
