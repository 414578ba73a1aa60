"""Titles that mean what a query means, as far as the viewer may find them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tantivy import Occur, Query

from reelmesh.discovery import filters
from reelmesh.discovery.pages import Ranked
from reelmesh.discovery.semantic import Model, VectorStore
from reelmesh.discovery.views import View

FOUND = 100
"""Titles that are found by meaning."""
NEAR = 0.3
"""Cosine from which a title is near enough to stand beside those that have the words."""
FIRST_LOOK, LAST_LOOK = 512, 8192
"""How many of the nearest titles of all are held against the filter, at first and at last."""


class Meaning:
    """Search by meaning. Any thread may ask."""

    def __init__(self, model: Model, vectors: VectorStore) -> None:
        self._model = model
        self._vectors = vectors

    def near(self, text: str, view: View, allowed: filters.Clauses, bounded: bool) -> Ranked:
        """Return the titles nearest to a text that fulfill `allowed`, the nearest first; `bounded` by NEAR.

        Exactly those: the nearest of all are asked for in growing numbers until enough of them fulfill it; where few
        do, all that fulfill it are compared.
        """
        cosines = self._vectors.cosines(self._model.embed([text])[0], view.table.size)
        least = NEAR if bounded else 0.0
        size = min(FIRST_LOOK, len(cosines))
        while size:
            some = np.argpartition(-cosines, size - 1)[:size]
            some = some[cosines[some] > least]
            ordinals = _fulfilling(some, view, allowed)
            if len(ordinals) >= FOUND or len(some) < size or size == len(cosines):
                return _ordered(ordinals, cosines)
            if size >= LAST_LOOK:
                found = view.find(allowed, view.table.size).ordinals
                found = found[found < len(cosines)]  # others came since
                return _ordered(found[cosines[found] > least], cosines)
            size = min(size * 4, len(cosines))
        return Ranked((), ())


def _fulfilling(some: NDArray[np.int64], view: View, allowed: filters.Clauses) -> NDArray[np.int64]:
    if not len(some):
        return some
    within = Query.const_score_query(Query.term_set_query(view.schema, "ordinal", some.tolist()), 0.0)
    return view.find([*allowed, (Occur.Must, within)], len(some)).ordinals


def _ordered(ordinals: NDArray[np.int64], cosines: NDArray[np.float32]) -> Ranked:
    order = ordinals[np.lexsort((ordinals, -cosines[ordinals]))][:FOUND]
    return Ranked(tuple(order.tolist()), tuple(cosines[order].astype(float).tolist()))
