"""Vectors of titles by alternating least squares (Hu, Koren, Volinsky 2008), and how they choose.

Everything here is the same for the same data and seed, whatever the threads: each row is solved by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from numpy.typing import NDArray

from reelmesh.recommend.evaluation import Scorer, aligned
from reelmesh.recommend.matrix import Matrix
from reelmesh.recommend.parameters import Parameters

Floats = NDArray[np.float32]


def train(matrix: Matrix, parameters: Parameters, threads: int) -> Floats:
    """Return the vectors of the matrix's titles, (n, factors)."""
    als = _als(parameters.factors, parameters.regularization, threads, parameters.iterations, parameters.seed)
    als.fit(matrix.confidences(parameters.alpha), show_progress=False)
    factors: Floats = als.item_factors
    return factors


def by_vectors(
    factors: Floats, titles: Sequence[str], onto: Sequence[str], regularization: float, alpha: float, threads: int
) -> Scorer:
    """Return what chooses by vectors of `titles`, as they are served: a viewer's own is made of what they watched.

    What is chosen from are the titles `onto`; one that the vectors do not know is never chosen.
    """
    als = _als(factors.shape[1], regularization, threads)
    als.item_factors = factors
    own, theirs = aligned(titles, onto)

    def scores(rows: Any) -> Floats:
        known = rows[:, theirs].tocsr()
        known.data = (1 + alpha * known.data).astype(np.float32)
        # Its columns are in the order of `theirs`; those of the vectors are in that of `own`.
        known.indices = own[known.indices].astype(np.int32)
        known.resize((rows.shape[0], len(titles)))
        known.sort_indices()
        vectors = als.recalculate_user(np.arange(rows.shape[0]), known)
        found = np.full((rows.shape[0], len(onto)), -np.inf, np.float32)
        found[:, theirs] = vectors @ factors[own].T
        return found

    return scores


def _als(factors: int, regularization: float, threads: int, iterations: int = 1, seed: int = 0) -> Any:
    return AlternatingLeastSquares(
        factors=factors,
        regularization=regularization,
        iterations=iterations,
        num_threads=threads,
        random_state=seed,
    )
