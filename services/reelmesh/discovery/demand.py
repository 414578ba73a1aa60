"""How popular titles are where a viewer is, from how often videos are watched."""

from __future__ import annotations

import heapq
import operator
import threading

import numpy as np
from numpy.typing import NDArray

from reelmesh.discovery import ranking
from reelmesh.discovery.documents import organization_of
from reelmesh.discovery.model import Popularity
from reelmesh.discovery.table import Table

COUNTRIES = 300
"""Countries whose columns are kept."""
GROWTH = 1.1
"""A column is made anew where there are so many times as many titles as it has."""
LARGEST, HEAD = 16, 1000
"""Countries, and most watched videos of each, that documents know of."""

Floats = NDArray[np.float64]


class Demand:
    """Popularity by ordinal. Any thread may ask; a column is made when it is asked for first."""

    def __init__(self, popularity: Popularity, table: Table) -> None:
        self._popularity = popularity
        self._table = table
        self._columns: dict[tuple[str, str], Floats] = {}
        self._tops: dict[str, float] = {}
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

    def anywhere(self) -> Floats:
        """Return how popular titles are where they are most so, 0 to 1: what documents say.

        It decides what is put in its exact order where very much is found, so that what only one country watches is not
        lost. Of the largest countries, and the most watched videos of each.
        """
        found = self.popular("").copy()
        countries = sorted((each for each in self._popularity.views if each), key=self._size, reverse=True)
        for country in countries[:LARGEST]:
            views = self._popularity.views[country]
            head = dict(heapq.nlargest(HEAD, views.items(), key=operator.itemgetter(1)))
            here = self._table.popularity(self._table.views(head))
            size = min(len(here), len(found))
            found[:size] = np.maximum(found[:size], self._mixed(here[:size], found[:size]))
        return found

    def of_video(self, video: str) -> float:
        """Return how popular a video is everywhere, 0 to 1, compared with its organization's most watched one."""
        views = self._popularity.views.get("", {}).get(video, 0.0)
        return float(ranking.popularity(np.asarray(views), self._most(organization_of(video)))) if views else 0.0

    def _most(self, organization: str) -> float:
        with self._lock:
            if not self._tops:
                for video, views in self._popularity.views.get("", {}).items():
                    key = organization_of(video)
                    self._tops[key] = max(self._tops.get(key, 0.0), views)
            return self._tops.get(organization, 0.0)

    def _size(self, country: str) -> int:
        return len(self._popularity.views[country])

    @staticmethod
    def _mixed(here: Floats, everywhere: Floats) -> Floats:
        return ranking.LOCAL_SHARE * here + (1 - ranking.LOCAL_SHARE) * everywhere

    def _column(self, kind: str, territory: str) -> Floats:
        key = (kind, territory)
        with self._lock:
            found = self._columns.get(key)
        if found is None or self._table.size > GROWTH * len(found) + 100:
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
        return self._mixed(here[:size], everywhere[:size])


def at(column: Floats, ordinals: NDArray[np.int64]) -> Floats:
    """Return a column's values at ordinals; 0 for titles that came after it was made."""
    found = np.zeros(len(ordinals))
    inside = ordinals < len(column)
    found[inside] = column[ordinals[inside]]
    return found
