"""What else is known of a work: ratings, where and when it may be watched, pictures, running times."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from reelmesh.catalog.v1.title_pb2 import AgeRating, Availability, Image, Title

AGES = (0, 6, 12, 16, 18)
"""Ages that works are made for."""
_SYSTEMS: Mapping[str, tuple[tuple[str, ...], tuple[tuple[str, int], ...]]] = {
    # Countries of a system, and what it calls each of AGES, with the age that it means. MPA holds where no other does.
    "MPA": ((), (("G", 0), ("PG", 8), ("PG-13", 13), ("R", 17), ("NC-17", 18))),
    "FSK": (("AT", "DE"), (("0", 0), ("6", 6), ("12", 12), ("16", 16), ("18", 18))),
    "BBFC": (("GB", "IE"), (("U", 0), ("PG", 8), ("12", 12), ("15", 15), ("18", 18))),
    "CNC": (("FR",), (("TP", 0), ("TP", 0), ("12", 12), ("16", 16), ("18", 18))),
    "ICAA": (("ES",), (("A", 0), ("7", 7), ("12", 12), ("16", 16), ("18", 18))),
    "ClassInd": (("BR",), (("L", 0), ("10", 10), ("12", 12), ("16", 16), ("18", 18))),
    "EIRIN": (("JP",), (("G", 0), ("G", 0), ("PG12", 12), ("R15+", 15), ("R18+", 18))),
}
_CHANCES: Mapping[str, Sequence[float]] = {
    "family": (6, 3, 0.3, 0, 0),
    "animation": (5, 4, 1, 0.2, 0),
    "documentary": (4, 3, 2, 0.5, 0),
    "comedy": (1, 3, 4, 1, 0),
    "romance": (1, 3, 4, 1.5, 0.1),
    "music": (3, 3, 2, 0.4, 0),
    "sport": (3, 3, 2, 0.4, 0),
    "horror": (0, 0, 0.5, 4, 3),
    "crime": (0, 0.3, 3, 5, 1),
    "thriller": (0, 0.2, 3, 5, 1),
    "war": (0, 0.2, 3, 4, 0.7),
}
_USUAL: Sequence[float] = (0.5, 2, 4, 2, 0.3)

_REGIONS: Sequence[tuple[str, ...]] = (
    ("AT", "CH", "DE"),
    ("BE", "CH", "FR", "LU"),
    ("ES",),
    ("AR", "CL", "CO", "ES", "MX", "PE"),
    ("GB", "IE"),
    ("CA", "US"),
    ("CH", "IT"),
    ("BR", "PT"),
    ("JP",),
    ("AT", "BE", "CH", "DE", "DK", "ES", "FR", "GB", "IE", "IT", "NL", "NO", "PL", "PT", "SE"),
)
PALETTES = 24
"""Colourings that each picture in gateway/web/public/artwork has."""

Sizes = Sequence[tuple[Image.Purpose.ValueType, int, int]]
_POSTERS: Sizes = ((Image.PURPOSE_POSTER, 342, 513), (Image.PURPOSE_POSTER, 780, 1170))
_TILES: Sizes = ((Image.PURPOSE_TILE, 480, 270), (Image.PURPOSE_TILE, 960, 540))
SIZES: Mapping[int, Sizes] = {
    Title.KIND_FILM: (*_POSTERS, *_TILES, (Image.PURPOSE_BACKDROP, 1920, 1080)),
    Title.KIND_SERIES: (*_POSTERS, *_TILES, (Image.PURPOSE_BACKDROP, 1920, 1080)),
    Title.KIND_SEASON: _POSTERS,
    Title.KIND_EPISODE: ((Image.PURPOSE_TILE, 480, 270), (Image.PURPOSE_STILL, 960, 540)),
    Title.KIND_EXTRA: _TILES[:1],
    Title.KIND_COLLECTION: (_POSTERS[0], _TILES[0]),
}


def age_class(rng: random.Random, genre: str) -> int:
    """Draw for what age a work of a genre is made, as a place in AGES."""
    return rng.choices(range(len(AGES)), _CHANCES.get(genre, _USUAL))[0]


def _ratings(age: int) -> list[AgeRating]:
    return [
        AgeRating(system=system, rating=names[age][0], minimum_age=names[age][1], territories=territories)
        for system, (territories, names) in _SYSTEMS.items()
    ]


RATINGS: Sequence[Sequence[AgeRating]] = [_ratings(age) for age in range(len(AGES))]
"""Ratings by place in AGES."""


def windows(rng: random.Random) -> list[Availability]:
    """Draw where and when a work may be watched: most everywhere and always, some not everywhere, or no longer."""
    chance = rng.random()
    if chance < 0.76:
        return []
    if chance < 0.86:
        return [Availability(territories=rng.choice(_REGIONS))]
    if chance < 0.90:  # no longer
        return [_window(rng, (), 2019, 2023)]
    if chance < 0.94:  # not yet
        return [_window(rng, (), 2031, 2035)]
    if chance < 0.97:  # for some years, now among them
        return [_window(rng, rng.choice(_REGIONS), 2024, 2034)]
    one, other = rng.sample(_REGIONS, 2)
    apart = tuple(country for country in other if country not in one)
    first = _window(rng, one, 2022, 2033)
    return [first, _window(rng, apart, 2031, 2036)] if apart else [first]


def _window(rng: random.Random, territories: Sequence[str], first: int, last: int) -> Availability:
    window = Availability(territories=territories)
    window.start_time.FromDatetime(datetime(first, rng.randint(1, 12), 1, tzinfo=UTC))
    window.end_time.FromDatetime(datetime(last, rng.randint(1, 12), 1, tzinfo=UTC))
    return window


def pictures(kind: int, motif: str, palette: int) -> list[Image]:
    """Return a title's pictures: drawings that the web player's own pages carry, in one of their colourings."""
    uri = f"/artwork/{motif}.svg#p{palette}"
    return [Image(purpose=purpose, uri=uri, width=width, height=height) for purpose, width, height in SIZES[kind]]
