"""What resembles what by what it is: cosines of rarity-weighted features (TF-IDF), through postings of each feature.

Nothing is fitted, so a title that nobody has watched is compared from the moment that it is indexed, and what two have
in common can be told. An index never changes: another is made when the library has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reelmesh.recommend.features import BITS, WEIGHTS
from reelmesh.recommend.library import Title

Rows = NDArray[np.int32]
Scores = NDArray[np.float32]
PROFILE = 96
"""Features that a profile of several titles keeps, the heaviest: the others hardly count and cost as much."""
_NONE: Scores = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class Vector:
    """Features with their weights, ascending by column."""

    columns: NDArray[np.int64]
    weights: Scores


class ContentIndex:
    """Titles by what they are; a title is the number of its row."""

    def __init__(self, titles: Sequence[Title]) -> None:
        """Takes about a second and 250 bytes for each title, of 100,000."""
        self._titles = titles
        lengths = np.fromiter((len(title.features) for title in titles), np.int64, len(titles))
        parts = [np.frombuffer(title.features, np.uint32) for title in titles if title.features]
        features = np.concatenate(parts) if parts else np.zeros(0, np.uint32)
        self._known, columns, counts = np.unique(features, return_inverse=True, return_counts=True)
        rarity = np.log((1 + len(titles)) / (1 + counts))
        self._weights: Scores = (WEIGHTS[self._known >> BITS] * rarity).astype(np.float32)
        rows = np.repeat(np.arange(len(titles), dtype=np.int32), lengths)
        values = self._weights[columns]
        norms = np.sqrt(np.bincount(rows, values.astype(np.float64) ** 2, len(titles)))
        self._norms: Scores = np.maximum(norms, 1e-9).astype(np.float32)
        # A feature that one title alone has makes it like no other: it counts for the length, and needs no postings.
        shared = counts[columns] > 1
        order = np.argsort(columns[shared], kind="stable")
        self._rows: Rows = rows[shared][order]
        self._values: Scores = (values[shared] / self._norms[rows[shared]])[order].astype(np.float32)
        self._starts = np.concatenate([[0], np.cumsum(np.where(counts > 1, counts, 0))])

    def vector(self, row: int) -> Vector:
        """Return the features of a title; their weights have the length 1."""
        features = np.frombuffer(self._titles[row].features, np.uint32) if self._titles[row].features else None
        if features is None:
            return Vector(np.zeros(0, np.int64), _NONE)
        columns = np.searchsorted(self._known, features)
        return Vector(columns, self._weights[columns] / self._norms[row])

    def profile(self, weights: Mapping[int, float]) -> Vector:
        """Return the mean of several titles' features, given their rows with weights."""
        vectors = [(self.vector(row), weight) for row, weight in weights.items()]
        if not vectors:
            return Vector(np.zeros(0, np.int64), _NONE)
        total = sum(weights.values()) or 1.0
        columns, places = np.unique(np.concatenate([vector.columns for vector, _ in vectors]), return_inverse=True)
        parts = np.concatenate([vector.weights * (weight / total) for vector, weight in vectors])
        summed = np.bincount(places, parts, len(columns)).astype(np.float32)
        if len(columns) > PROFILE:
            heaviest = np.sort(np.argpartition(-summed, PROFILE)[:PROFILE])
            columns, summed = columns[heaviest], summed[heaviest]
        return Vector(columns, summed)

    def scores(self, vector: Vector) -> Scores:
        """Return how much each title is like what has these features; 0 for what has nothing in common with it."""
        found = np.zeros(len(self._titles), np.float32)
        for column, weight in zip(vector.columns.tolist(), vector.weights.tolist(), strict=True):
            begin, end = self._starts[column], self._starts[column + 1]
            # A title is in a feature's postings once, so that this adds up as it should.
            found[self._rows[begin:end]] += self._values[begin:end] * np.float32(weight)
        return found

    def likeness(self, vector: Vector, row: int) -> float:
        """Return how much one title is like what has these features."""
        own = self.vector(row)
        _, here, there = np.intersect1d(vector.columns, own.columns, assume_unique=True, return_indices=True)
        return float(vector.weights[here] @ own.weights[there])
