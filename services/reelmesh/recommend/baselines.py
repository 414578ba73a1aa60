"""What a model is held against: titles that are watched by the same viewers."""

from __future__ import annotations

from typing import Any

import numpy as np
from implicit.nearest_neighbours import all_pairs_knn
from numpy.typing import NDArray
from scipy import sparse

from reelmesh.recommend.evaluation import Scorer
from reelmesh.recommend.matrix import Matrix

NEIGHBOURS = 100
"""Neighbours of a title that count."""


def likeness(matrix: Matrix, threads: int) -> Any:
    """Return how alike each title's neighbours are, by the cosine of who watched them: CSR (n, n), none of itself."""
    watched = matrix.strengths.astype(np.float64)
    lengths = np.sqrt(np.asarray(watched.multiply(watched).sum(axis=0)).ravel())
    scaled = watched @ sparse.diags_array(1 / np.maximum(lengths, np.finfo(np.float64).tiny))
    # One more than wanted: each is its own nearest.
    found = all_pairs_knn(scaled.tocsr(), NEIGHBOURS + 1, show_progress=False, num_threads=threads).tocsr()
    found.setdiag(0)
    found.eliminate_zeros()
    return found.astype(np.float32)


def by_neighbours(alike: Any) -> Scorer:
    """Return what chooses by how alike titles are to what a viewer watched."""

    def scores(rows: Any) -> NDArray[np.float32]:
        found: NDArray[np.float32] = (rows @ alike).toarray()
        return found

    return scores


def nearest(alike: Any, count: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return each title's most alike, (n, count), and how alike they are; -1 and 0 where there are fewer."""
    titles = alike.shape[0]
    places, values = np.full((titles, count), -1, np.int32), np.zeros((titles, count), np.float32)
    for title in range(titles):
        row = slice(alike.indptr[title], alike.indptr[title + 1])
        order = np.argsort(-alike.data[row], kind="stable")[:count]
        places[title, : len(order)] = alike.indices[row][order]
        values[title, : len(order)] = alike.data[row][order]
    return places, values
