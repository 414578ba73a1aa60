"""A library to be searched, as the catalog would tell it: seeded titles with names, videos and popularity."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from datetime import datetime

from reelmesh.catalog.title_model import imported_name
from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.discovery import availability
from reelmesh.discovery.model import Popularity, Viewer
from reelmesh_tools.library import generator

PLAYED = frozenset({Title.KIND_FILM, Title.KIND_EPISODE, Title.KIND_EXTRA})
MOST_VIEWS = 50_000
"""Views of the best known film."""
SHARE = 0.3
"""Share of what plays that anybody has watched."""
COUNTRIES = ("DE", "FR", "US")
_VIDEOS = uuid.UUID("5d0e7bfa-5bd4-5a1b-9e3c-2f9f2b1f4a10")


def library(count: int, seed: int, now: datetime) -> Iterator[Title]:
    """Yield titles as the catalog's events have them."""
    for title in generator.titles(count, seed):
        yield imported(title, now)


def landmarks(seed: int, now: datetime) -> list[Title]:
    """Return the films that such a library begins with."""
    return [imported(title, now) for title in generator.landmarks(seed)]


def imported(title: Title, now: datetime) -> Title:
    """Fill in what the catalog knows of a title: its name, its revision and, of what plays, a video."""
    title.name = str(imported_name(generator.ORGANIZATION, title.external_id))
    title.revision = 1
    title.create_time.FromDatetime(now)
    if title.kind in PLAYED:
        video = uuid.uuid5(_VIDEOS, title.name)
        title.video = f"organizations/{generator.ORGANIZATION}/videos/{video}"
    return title


def popularity(titles: Iterator[Title], famous: int, seed: int) -> Popularity:
    """Return how much titles are watched: the first `famous` most of all, and a share of the others a little."""
    rng = random.Random(seed)  # noqa: S311 — the same seed, the same views
    views: dict[str, dict[str, float]] = {"": {}, **{country: {} for country in COUNTRIES}}
    trending: dict[str, dict[str, float]] = {"": {}}
    for at, title in enumerate(titles):
        if not title.video:
            continue
        count = float(MOST_VIEWS - 100 * at) if at < famous else min(rng.paretovariate(0.8), MOST_VIEWS / 5)
        if at >= famous and rng.random() > SHARE:
            continue
        views[""][title.video] = count
        home = rng.choice(COUNTRIES)  # where it is watched most
        for country in COUNTRIES:
            views[country][title.video] = count * (0.6 if country == home else 0.2)
        if rng.random() < 0.05:
            trending[""][title.video] = rng.random()
    return Popularity(views, trending)


def findable(title: Title, viewer: Viewer, now: float) -> bool:
    """Say whether a viewer without a bound of age may find a title: said once more, apart from the index."""
    return (
        title.state == Title.STATE_PUBLISHED
        and title.audience in {Title.AUDIENCE_UNSPECIFIED, Title.AUDIENCE_EVERYONE}
        and availability.is_open(availability.windows(title), viewer.territory, now)
    )
