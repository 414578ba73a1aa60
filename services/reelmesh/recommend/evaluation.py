"""How good choices are: viewers' later viewings, which nothing had seen, are looked for among the first k chosen.

Viewers are judged by what they were served: their vector is made of their history, what they watched is not chosen
again, and titles that nobody had watched before count for nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reelmesh.recommend.matrix import Matrix
from reelmesh.recommend.model import Score

CUTOFF = 20
"""Choices that are looked at, k: a row of a page."""
JUDGES = 4000
"""Viewers that are judged by at most: the error of the mean is then below a hundredth."""
BATCH = 256
"""Viewers whose scores are in memory at once."""

Scorer = Callable[[Any], NDArray[np.float32]]
"""Returns scores (viewers, titles) for some rows of a matrix of strengths."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What choices are judged by."""

    matrix: Matrix
    later: Any
    """What was watched later: CSR, of the matrix's shape."""
    judges: NDArray[np.int64]
    """Rows that are looked at."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """One way to choose, as it was judged; the arrays have a figure for each viewer."""

    name: str
    recalls: NDArray[np.float64]
    ndcgs: NDArray[np.float64]
    coverage: float
    popularity_bias: float

    @property
    def score(self) -> Score:
        """The figures in the mean."""
        return Score(
            self.name, float(self.recalls.mean()), float(self.ndcgs.mean()), self.coverage, self.popularity_bias
        )


def trial_of(matrix: Matrix, later: Any, seed: int) -> Trial:
    """Return a trial by viewers with later viewings, some of them where there are many."""
    rows = np.flatnonzero(np.diff(later.indptr))
    if len(rows) > JUDGES:
        rows = np.sort(np.random.default_rng(seed).choice(rows, JUDGES, replace=False))
    return Trial(matrix, later, rows)


def judged(name: str, scorer: Scorer, trial: Trial, cutoff: int = CUTOFF) -> Judged:
    """Judge one way to choose. A trial without judges, or a matrix without titles, is an error."""
    titles = len(trial.matrix.titles)
    cutoff_here = min(cutoff, titles)
    discounts = 1 / np.log2(np.arange(2, cutoff_here + 2))
    below = _watched_less(trial.matrix.popularity)
    recalls, ndcgs, chosen_less = [], [], []
    chosen = np.zeros(titles, bool)
    for start in range(0, len(trial.judges), BATCH):
        rows = trial.judges[start : start + BATCH]
        choices, there = _first(scorer(trial.matrix.strengths[rows]), trial.matrix.strengths[rows], cutoff_here)
        wanted = trial.later[rows].toarray() > 0
        hits = np.take_along_axis(wanted, choices, axis=1) & there
        counts = wanted.sum(axis=1)
        recalls.append(hits.sum(axis=1) / counts)
        best = np.cumsum(discounts)[np.minimum(counts, cutoff_here) - 1]
        ndcgs.append((hits * discounts).sum(axis=1) / best)
        chosen[choices[there]] = True
        chosen_less.append(below[choices[there]])
    every = np.concatenate(chosen_less)
    return Judged(
        name,
        np.concatenate(recalls),
        np.concatenate(ndcgs),
        float(chosen.mean()),
        float(every.mean()) if len(every) else 0.0,
    )


def by_popularity(matrix: Matrix) -> Scorer:
    """Return what chooses what most watched, for everyone alike."""
    popularity = matrix.popularity

    def scores(rows: Any) -> NDArray[np.float32]:
        return np.tile(popularity, (rows.shape[0], 1))

    return scores


def aligned(titles: Sequence[str], onto: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of the titles that two sequences share, in each."""
    places: Mapping[str, int] = {title: place for place, title in enumerate(titles)}
    pairs = [(places[title], place) for place, title in enumerate(onto) if title in places]
    both = np.asarray(pairs, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _first(scores: NDArray[np.float32], seen: Any, count: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the places of the first choices, (viewers, count), and which of them are choices at all."""
    scores = scores.copy()
    scores[seen.nonzero()] = -np.inf
    some = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(scores, some, axis=1), axis=1, kind="stable")
    choices = np.take_along_axis(some, order, axis=1)
    return choices, np.isfinite(np.take_along_axis(scores, choices, axis=1))


def _watched_less(popularity: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the part of the other titles that each is watched more than."""
    less = np.searchsorted(np.sort(popularity), popularity, side="left")
    found: NDArray[np.float64] = less / max(1, len(popularity) - 1)
    return found
