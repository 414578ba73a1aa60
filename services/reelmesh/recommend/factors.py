"""What a model of titles' factors says of a viewer: their vector follows from what they watched, when it is asked for.

So a model that is served has nothing of any viewer in it, someone new is understood from their first title on, and who
opts out is forgotten at once.

Source: Hu, Koren, Volinsky, "Collaborative Filtering for Implicit Feedback Datasets" (2008), equations 4 and 7. With Y
the factors of all titles, c the confidence in each that was watched and λ the regularization, a viewer's vector is
W⁻¹ Σ c·y with W = YᵀY + λI + Σ (c - 1)·y·yᵀ, and what a watched title j adds to the score of i is c_j · y_iᵀ W⁻¹ y_j.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """A model as it chooses."""

    name: str
    """Id."""
    rows: Mapping[str, int]
    """Row of each title, by its id."""
    factors: Floats
    """Factors, one row for each title."""
    system: NDArray[np.float64]
    """YᵀY + λI."""
    alpha: float
    """How much more confident a strength of 1 makes: confidence is 1 + alpha · strength."""

    @classmethod
    def of(cls, name: str, titles: Sequence[str], factors: Floats, regularization: float, alpha: float) -> Factors:
        """Make ready what was trained; the same place in `titles` and `factors` is the same title."""
        wide = factors.astype(np.float64)
        system = wide.T @ wide + regularization * np.eye(factors.shape[1])
        return cls(name, {title: row for row, title in enumerate(titles)}, factors, system, alpha)


@dataclass(frozen=True, slots=True)
class Taste:
    """A viewer as a model sees them, for as long as a request takes."""

    titles: Sequence[str]
    """What they watched, as far as the model knows it."""
    parts: Floats
    """What each of those adds to their vector, a column each."""

    @property
    def vector(self) -> Floats:
        """The viewer's vector."""
        total: Floats = self.parts.sum(axis=1)
        return total

    def contributions(self, factors: Floats) -> Floats:
        """Return what each watched title adds to the score of each of some titles, given by their factors.

        The shape is (titles, watched titles); a row sums up to the title's score.
        """
        return factors @ self.parts


def taste_of(model: Factors, strengths: Mapping[str, float]) -> Taste | None:
    """Fold a viewer in, given how strongly each title speaks (interactions.py).

    None where the model knows none of what they watched.
    """
    known = [title for title, strength in strengths.items() if strength > 0 and title in model.rows]
    if not known:
        return None
    watched = model.factors[[model.rows[title] for title in known]].astype(np.float64)
    confidence = 1 + model.alpha * np.array([strengths[title] for title in known])
    system = model.system + (watched.T * (confidence - 1)) @ watched
    parts = np.linalg.solve(system, watched.T * confidence)
    return Taste(known, parts.astype(np.float32))
