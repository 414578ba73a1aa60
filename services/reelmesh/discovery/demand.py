"""How popular titles are where a viewer is, from how often videos are watched."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from reelmesh.discovery import ranking
from reelmesh.discovery.model import Popularity
from reelmesh.discovery.table import Table

COUNTRIES = 300
"""Countries whose columns are kept."""
HEAD = 500
"""Titles most watched in a country that are looked at on their own where more is found than can be put in order."""

Floats = NDArray[np.float64]


class Demand:
    """Popularity by ordinal. Any thread may ask; a column is made when it is asked for first."""

    def __init__(self, popularity: Popularity, table: Table) -> None:
        self._popularity = popularity
        self._table = table
        self._columns: dict[tuple[str, str], Floats] = {}
        self._heads: dict[str, list[int]] = {}
        self._lock = threading.Lock()

    def popular(self, territory: str) -> Floats:
        """Return how popular titles are where a viewer is, 0 to 1; shorter than the table where it has grown."""
        return self._column("views", territory)

    def trending(self, territory: str) -> Floats:
        """Return how much more titles are watched than before where a viewer is; 0 for those that are not.

        Where nothing is known of a country, what trends everywhere is taken.
        """
        known = self._popularity.trending
        return self._column("trending", territory if territory in known else "")

    def head(self, territory: str) -> list[int]:
        """Return the titles most watched where a viewer is, if that differs from everywhere."""
        if not self._popularity.views.get(territory):
            return []
        with self._lock:
            found = self._heads.get(territory)
        if found is None:
            column = self.popular(territory)
            some = np.argsort(-column, kind="stable")[:HEAD]
            found = some[column[some] > 0].tolist()
            with self._lock:
                self._heads[territory] = found
        return found

    def of_video(self, video: str) -> float:
        """Return how often a video is watched everywhere."""
        return self._popularity.views.get("", {}).get(video, 0.0)

    def _column(self, kind: str, territory: str) -> Floats:
        key = (kind, territory)
        with self._lock:
            found = self._columns.get(key)
        if found is None:
            found = self._made(kind, territory)
            with self._lock:
                if len(self._columns) >= COUNTRIES:
                    self._columns.clear()
                self._columns[key] = found
        return found

    def _made(self, kind: str, territory: str) -> Floats:
        if kind == "trending":
            return self._table.views(self._popularity.trending.get(territory, {}))
        if not territory:
            return self._table.popularity(self._table.views(self._popularity.views.get("", {})))
        everywhere = self.popular("")
        local = self._popularity.views.get(territory)
        if not local:
            return everywhere
        here = self._table.popularity(self._table.views(local))
        size = min(len(here), len(everywhere))
        mixed: Floats = ranking.LOCAL_SHARE * here[:size] + (1 - ranking.LOCAL_SHARE) * everywhere[:size]
        return mixed


def at(column: Floats, ordinals: NDArray[np.int64]) -> Floats:
    """Return a column's values at ordinals; 0 for titles that came after it was made."""
    found = np.zeros(len(ordinals))
    inside = ordinals < len(column)
    found[inside] = column[ordinals[inside]]
    return found
