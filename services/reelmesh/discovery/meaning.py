"""Titles that mean what a query means, as far as the viewer may find them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reelmesh.discovery import filters
from reelmesh.discovery.pages import Ranked
from reelmesh.discovery.semantic import Model, VectorStore
from reelmesh.discovery.views import Found, View

FOUND = 100
"""Titles that are found by meaning."""
FIRST_LOOK, LAST_LOOK = 512, 8192
"""How many of the nearest titles of all are held against the filter, at first and at last."""


class Meaning:
    """Search by meaning. Any thread may ask."""

    def __init__(self, model: Model, vectors: VectorStore) -> None:
        self._model = model
        self._vectors = vectors

    def near(self, text: str, view: View, allowed: filters.Clauses, least: float) -> Ranked:
        """Return the titles nearest to a text that fulfill `allowed`, the nearest first, with a cosine above `least`.

        Exactly those: the nearest of all are asked for in growing numbers until enough of them fulfill it; where few
        do, all that fulfill it are compared.
        """
        cosines = self._vectors.cosines(self._model.embed([text])[0], view.table.size)
        near = np.flatnonzero(cosines > least)  # few of them all: to put the rest in order would take longer than that
        far = -cosines[near]
        size = min(FIRST_LOOK, len(near))
        while size:
            some = near[np.argpartition(far, size - 1)[:size]]
            found = view.find([*allowed, *filters.only(view.schema, some.tolist())], size)
            if found.count >= FOUND or size == len(near):
                return _ordered(found, cosines, least, view.table.columns.tie)
            if size >= LAST_LOOK:
                return _ordered(view.find(allowed, view.table.size), cosines, least, view.table.columns.tie)
            size = min(size * 4, len(near))
        return Ranked((), ())


def _ordered(found: Found, cosines: NDArray[np.float32], least: float, ties: NDArray[np.int64]) -> Ranked:
    """Return the nearest of what was found; what has come since the cosines were made has none."""
    inside = np.flatnonzero(found.ordinals < len(cosines))
    near = cosines[found.ordinals[inside]]
    inside, near = inside[near > least], near[near > least]
    order = np.lexsort((ties[found.ordinals[inside]], -near))[:FOUND]
    ordinals = found.ordinals[inside[order]].tolist()
    addresses = {ordinal: found.addresses[at] for ordinal, at in zip(ordinals, inside[order].tolist(), strict=True)}
    return Ranked(tuple(ordinals), tuple(near[order].astype(float).tolist()), addresses)
