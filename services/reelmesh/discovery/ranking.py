"""The order of what is found: relevance times popularity times freshness times kind.

    score = relevance x (1 + POPULARITY popularity) x (1 + FRESHNESS freshness) x KIND_WEIGHTS[kind]

Relevance counts words (see planning.py): a title whose whole name is what was typed has at least EXACT_RATIO times the
relevance of any other. Popularity and freshness are between 0 and 1, so that what relevance is multiplied with spans
less than EXACT_RATIO: among namesakes the popular one comes first, but none passes a title that is called exactly so.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reelmesh.catalog.v1.title_pb2 import Title

POPULARITY = 0.5
"""The most popular title of an organization counts half as much again as one that nobody watches."""
FRESHNESS = 0.1
"""One that came out today counts a tenth more than an old one: enough to order what is alike otherwise."""
HALF_LIFE_DAYS = 365.0
"""After so many days freshness is half."""
LOCAL_SHARE = 0.7
"""Share of the viewer's country in popularity, where it is known; the rest is that of all countries."""
KIND_WEIGHTS = {
    Title.KIND_FILM: 1.0,
    Title.KIND_SERIES: 1.0,
    Title.KIND_COLLECTION: 0.9,
    Title.KIND_SEASON: 0.75,  # the series is there to be opened
    Title.KIND_EPISODE: 0.7,  # there are many of a series, and their names are often common words
    Title.KIND_EXTRA: 0.6,
}
"""What a kind's relevance counts."""
EXACT_RATIO = 1.05 * (1 + POPULARITY) * (1 + FRESHNESS) * max(KIND_WEIGHTS.values()) / min(KIND_WEIGHTS.values())
"""By so much a title's exact name is more relevant than anything else."""
SECONDS_PER_DAY = 86_400.0
LEAST_SCORE = 1e-9
"""Below this all scores are alike."""

Floats = NDArray[np.float64]


def freshness(released: Floats, now: float) -> Floats:
    """Return how fresh titles are, 0 to 1, from when they came out, seconds since 1970; -inf where nobody knows."""
    days: Floats = np.maximum(now - released, 0.0) / SECONDS_PER_DAY
    return np.exp2(-days / HALF_LIFE_DAYS)


def popularity(views: Floats, most: Floats | float) -> Floats:
    """Return how popular titles are, 0 to 1, from how often they were watched, and how often the most popular one was.

    By logarithms: what ten times as many watch is a step more popular, wherever on the way.
    """
    return np.log1p(views) / np.log1p(np.maximum(most, 1.0))


def order(scores: Floats, ties: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the places of scores, the greatest first.

    What differs by less than a ten-thousandth is alike, and ordered by `ties`: scores are float32, divided by priors of
    another moment.
    """
    return np.lexsort((ties, -np.round(np.log(np.maximum(scores, LEAST_SCORE)), 4)))


def prior(popular: Floats, fresh: Floats, weights: Floats) -> Floats:
    """Return what relevance is multiplied with."""
    return (1 + POPULARITY * popular) * (1 + FRESHNESS * fresh) * weights
