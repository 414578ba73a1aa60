"""Where and when a title is available, and from what age: as terms of the index, right at the moment of asking.

A title may have many windows, each with countries of its own. Ranges of time beside lists of countries would mix them
up, and a range for each country would take hundreds of fields. So a title's document says where it is available as of
the moment that it was indexed, as plain terms: nothing where that is everywhere, and else that it is restricted, and to
which countries. Its next *edge* is when that changes: then it is indexed anew. Between an edge and that moment, queries
name the few titles concerned and set them right (see filters.py), so that an answer is never late.

What is filtered by is what must not be: that a title is restricted and not to the viewer's country. Few titles are, and
the index leaves them out at next to no cost, where a union of what is available everywhere and there would be gone
through for each query.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reelmesh.catalog.v1.title_pb2 import AgeRating, Title

EVERYWHERE = "*"
"""Stands for all countries."""
RESTRICTED = "-"
"""Term of titles that are not available everywhere, beside those of the countries in which they are."""
NOWHERE_KNOWN = "?"
"""Stands for the country of viewers of whom nobody knows where they are."""
NEVER = math.inf
"""An edge that does not come."""
ADULT = 18
"""Age from which a title that nobody has rated is found."""


@dataclass(frozen=True, slots=True)
class Window:
    """Countries and a span of time."""

    territories: tuple[str, ...]
    """Empty for everywhere."""
    start: float
    """Seconds since 1970; -inf for ever."""
    end: float
    """Seconds since 1970, exclusive; inf for good."""


def windows(title: Title) -> tuple[Window, ...]:
    """Return a title's windows; none means everywhere, always."""
    return tuple(
        Window(
            tuple(sorted(each.territories)),
            each.start_time.ToNanoseconds() / 1e9 if each.HasField("start_time") else -NEVER,
            each.end_time.ToNanoseconds() / 1e9 if each.HasField("end_time") else NEVER,
        )
        for each in title.availabilities
    )


def open_territories(spans: Sequence[Window], now: float) -> list[str]:
    """Return where a title is available at a time: countries, or EVERYWHERE alone."""
    if not spans:
        return [EVERYWHERE]
    found: set[str] = set()
    for each in spans:
        if each.start <= now < each.end:
            if not each.territories:
                return [EVERYWHERE]
            found.update(each.territories)
    return sorted(found)


def next_edge(spans: Sequence[Window], now: float) -> float:
    """Return when the next window after `now` begins or ends, NEVER where none does."""
    return min((time for each in spans for time in (each.start, each.end) if time > now), default=NEVER)


def is_open(spans: Sequence[Window], territory: str, now: float) -> bool:
    """Say whether a title is available to a viewer."""
    found = open_territories(spans, now)
    return found == [EVERYWHERE] or (territory != "" and territory in found)


def open_until(spans: Sequence[Window], territory: str, now: float) -> float:
    """Return until when a title that is available to a viewer stays so, over windows that follow one another."""
    mine = [each for each in spans if not each.territories or territory in each.territories]
    if not mine:
        return NEVER
    until = now
    for each in sorted(mine, key=lambda window: window.start):
        if each.start <= until:
            until = max(until, each.end)
    return until


def rating_where(ratings: Iterable[AgeRating], territory: str) -> AgeRating | None:
    """Return the age rating that holds for a viewer; the strictest of several.

    That of their country comes before the one for everywhere else. Where nobody knows the country, the one for
    everywhere else holds, or the strictest of all.
    """
    ratings = list(ratings)
    mine = [each for each in ratings if territory and territory in each.territories]
    general = [each for each in ratings if not each.territories]
    found = mine or general or ([] if territory else ratings)
    return max(found, key=lambda each: each.minimum_age, default=None)


def where_terms(spans: Sequence[Window], now: float) -> list[str]:
    """Return the terms that availability is filtered by: none for everywhere."""
    found = open_territories(spans, now)
    return [] if found == [EVERYWHERE] else [RESTRICTED, *found]


def age_terms(ratings: Sequence[AgeRating]) -> tuple[str, ...]:
    """Return the terms that age is filtered by: "DE" and "DE:12" for countries that have one, "*:16" for all others."""
    # Titles have ratings in common: what follows from them is kept.
    return _age_terms(tuple((each.minimum_age, tuple(each.territories)) for each in ratings))


@functools.lru_cache(maxsize=10_000)
def _age_terms(ratings: tuple[tuple[int, tuple[str, ...]], ...]) -> tuple[str, ...]:
    said = [AgeRating(minimum_age=age, territories=territories) for age, territories in ratings]
    terms: list[str] = []
    for territory in sorted({each for rating in said for each in rating.territories}):
        rating = rating_where(said, territory)
        terms += [territory, f"{territory}:{rating.minimum_age if rating else ADULT}"]
    general = [each.minimum_age for each in said if not each.territories]
    terms.append(f"{EVERYWHERE}:{max(general, default=ADULT)}")
    unknown = rating_where(said, "")
    terms.append(f"{NOWHERE_KNOWN}:{unknown.minimum_age if unknown else ADULT}")
    return tuple(terms)
