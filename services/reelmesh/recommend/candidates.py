"""Titles that may be shown to a viewer, out of all of a library, and what each of them owes to what they watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reelmesh.mesh.lru import Lru
from reelmesh.recommend.content import ContentIndex, Scores
from reelmesh.recommend.factors import Factors, Floats, Taste, taste_of
from reelmesh.recommend.library import Title
from reelmesh.recommend.ranking import Ranked, fuse, interleave

NEIGHBOURS = 100
"""Titles that are remembered beside each."""
REMEMBERED = 20_000
"""Titles whose neighbours are remembered."""
CANDIDATES = 300
"""Titles that a viewer's row is chosen from."""
ALIKE = 0.5
"""What it counts that titles are alike, where it counts 1 that they are watched together."""
TOGETHER_AT_ALL = 0.2
"""Cosine of factors below which two titles are watched together by chance."""
ALIKE_AT_ALL = 0.05
"""Cosine below which two have no more in common than any two have."""
COLD_EVERY = 5
"""One in so many is of those that the model does not know: otherwise nobody would ever watch them."""
PROFILE = 20
"""Titles last watched that say what a viewer likes by what it is."""


class Stock:
    """What may be chosen of a library, as it is at one moment. It never changes."""

    def __init__(self, revision: int, works: Sequence[Title]) -> None:
        self.revision = revision
        self.works = works
        self.rows: Mapping[str, int] = {work.id: row for row, work in enumerate(works)}
        """Row of each work by its id."""
        self.content = ContentIndex(works)
        self._alike: Lru[int, Sequence[int]] = Lru(REMEMBERED, lambda rows: 1)

    def alike(self, row: int) -> Sequence[int]:
        """Return the rows of what is most alike a work, the most alike first."""
        found = self._alike.get(row)
        if found is None:
            scores = self.content.scores(self.content.vector(row))
            scores[row] = 0
            scores[scores < ALIKE_AT_ALL] = 0
            found = best(scores, NEIGHBOURS)
            self._alike.put(row, found)
        return found


class Chooser:
    """A model before a stock: what it knows of which works. It never changes but for what it remembers."""

    def __init__(self, stock: Stock, model: Factors | None) -> None:
        self.stock = stock
        self.model = model
        rows = model.rows if model is not None else {}
        both = [(row, stock.rows[title]) for title, row in rows.items() if title in stock.rows]
        self._works: NDArray[np.int32] = np.array([row for _, row in both], np.int32)
        """Row in the stock of each work that the model knows, too."""
        self.factors: Floats = np.zeros((0, 0), np.float32)
        """Factors of those."""
        if model is not None:
            self.factors = model.factors[np.array([row for row, _ in both], np.int32)]
        self._places: NDArray[np.int32] = np.full(len(stock.works), -1, np.int32)
        self._places[self._works] = np.arange(len(both), dtype=np.int32)
        lengths = np.linalg.norm(self.factors, axis=1, keepdims=True)
        self._directions: Floats = self.factors / np.maximum(lengths, np.float32(1e-9))
        self._together: Lru[int, Sequence[int]] = Lru(REMEMBERED, lambda rows: 1)

    def knows(self, row: int) -> bool:
        """Tell whether the model knows a work."""
        return bool(self._places[row] >= 0)

    def genre(self, ranked: Ranked) -> str:
        """Return the first genre of a work; empty where it has none."""
        return next(iter(self.stock.works[ranked.row].genres), "")

    def factors_of(self, rows: Sequence[int]) -> Floats:
        """Return the factors of works that the model knows."""
        return self.factors[self._places[list(rows)]]

    def together(self, row: int) -> Sequence[int]:
        """Return the rows of what is watched by who watches a work; none where the model does not know it."""
        if not self.knows(row):
            return ()
        found = self._together.get(row)
        if found is None:
            scores = self._directions @ self._directions[self._places[row]]
            scores[self._places[row]] = 0
            scores[scores < TOGETHER_AT_ALL] = 0
            found = self._works[best(scores, NEIGHBOURS)].tolist()
            self._together.put(row, found)
        return found

    def similar(self, row: int) -> list[Ranked]:
        """Return what resembles a work, the most similar first."""
        return fuse(self.together(row), self.stock.alike(row), ALIKE)

    def wanted(self, likes: Likes) -> Scores:
        """Return how much the model says that a viewer wants each work; 0 for what they have seen, and it knows not."""
        found: Scores = np.zeros(len(self.stock.works), np.float32)
        if likes.taste is not None:
            found[self._works] = self.factors @ likes.taste.vector
            found[list(likes.seen)] = 0
        return found

    def for_viewer(self, likes: Likes) -> list[Ranked]:
        """Return what a viewer may want of what they have not seen, the best first."""
        together = best(self.wanted(likes), CANDIDATES) if likes.taste is not None else []
        profile = self.stock.content.scores(self.stock.content.mix(likes.profile).vector)
        profile[list(likes.seen)] = 0
        profile[profile < ALIKE_AT_ALL] = 0
        alike = best(profile, CANDIDATES)
        ranked = fuse(together, alike, ALIKE)
        if not together:
            return ranked
        warm = [each for each in ranked if self.knows(each.row)]
        cold = (each for each in ranked if not self.knows(each.row))
        return list(interleave(warm, cold, COLD_EVERY))


@dataclass(frozen=True, slots=True)
class Likes:
    """What a viewer's history says, for as long as a request takes."""

    taste: Taste | None
    """As the model sees it; None where it knows nothing of it."""
    profile: Mapping[int, float]
    """Rows of the works last watched, with how much each of them counts."""
    seen: frozenset[int]
    """Rows of all works that were begun, as far as they may be chosen."""


def likes_of(chooser: Chooser, strengths: Mapping[str, float]) -> Likes:
    """Read a history, given by the ids of its works, latest first, with how strongly each speaks (interactions.py)."""
    rows = {chooser.stock.rows[work]: strength for work, strength in strengths.items() if work in chooser.stock.rows}
    spoken = [(row, strength) for row, strength in rows.items() if strength > 0][:PROFILE]
    # The tenth last counts half of the last.
    profile = {row: strength / (1 + place / 10) for place, (row, strength) in enumerate(spoken)}
    taste = taste_of(chooser.model, strengths) if chooser.model is not None and len(chooser.factors) else None
    return Likes(taste, profile, frozenset(rows))


def best(scores: NDArray[np.float32], size: int) -> list[int]:
    """Return the places of the `size` greatest scores above 0, the greatest first; equal ones in their order."""
    if len(scores) > size:
        places = np.argpartition(-scores, size - 1)[:size]
        places.sort()
    else:
        places = np.arange(len(scores))
    ordered = places[np.argsort(-scores[places], kind="stable")]
    found: list[int] = ordered[scores[ordered] > 0].tolist()
    return found
