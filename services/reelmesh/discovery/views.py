"""The index as it was at its last commit: what searches look at, whatever is written meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tantivy import DocAddress, Query, Schema, Searcher
from tantivy import Order as Direction

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.discovery import availability, filters
from reelmesh.discovery.model import Filters, Viewer
from reelmesh.discovery.table import UNKNOWN, Table
from reelmesh.mesh.lru import Lru

CACHED_BYTES = 32 << 20
"""Titles that are kept as messages, by their size on the wire."""


class TitleCache:
    """Titles that were read lately. Safe to be used by many threads."""

    def __init__(self) -> None:
        self._titles: Lru[tuple[int, int], Title] = Lru(CACHED_BYTES, lambda title: title.ByteSize() or 1)
        self._lock = threading.Lock()

    def get(self, keys: Sequence[tuple[int, int]]) -> list[Title | None]:
        """Return titles by ordinal and revision, None for those that are not kept."""
        with self._lock:
            return [self._titles.get(key) for key in keys]

    def put(self, key: tuple[int, int], title: Title) -> None:
        """Keep a title."""
        with self._lock:
            self._titles.put(key, title)


@dataclass(frozen=True, slots=True)
class Found:
    """What a query of the index found, the best first."""

    count: int
    """All of it."""
    ordinals: NDArray[np.int64]
    """Of the first ones."""
    scores: NDArray[np.float64]
    addresses: Sequence[DocAddress]


class View:
    """What is committed. Immutable: any thread may read it."""

    def __init__(
        self, schema: Schema, searcher: Searcher, table: Table, edges: NDArray[np.float64], cache: TitleCache
    ) -> None:
        """`edges` says by ordinal when the availability that documents tell changes, seconds since 1970."""
        self.schema = schema
        self.searcher = searcher
        self.table = table
        self.edges = edges
        self.first_edge = float(edges.min()) if len(edges) else availability.NEVER
        self._cache = cache

    def allowed(self, viewer: Viewer, now: float) -> filters.Clauses:
        """Return what a title has to fulfill for a viewer to find it at a time, seconds since 1970."""
        closing: list[int] = []
        opening: list[int] = []
        if now >= self.first_edge:
            for ordinal in np.flatnonzero(self.edges <= now).tolist():
                spans = self.table.windows.get(ordinal)
                is_open = spans is not None and availability.is_open(spans, viewer.territory, now)
                (opening if is_open else closing).append(ordinal)
        return filters.allowed(self.schema, viewer, self.table.ages, closing, opening)

    def clauses(self, viewer: Viewer, asked: Filters, now: float) -> filters.Clauses:
        """Return what a title has to fulfill for a viewer to find it, and to be one that is asked for."""
        allowed = self.allowed(viewer, now)
        members: list[str] | None = None
        if filters.COLLECTION in asked:
            members = self.members(asked[filters.COLLECTION], allowed)
        return allowed + filters.meant(self.schema, asked, members)

    def members(self, collections: Sequence[str], allowed: filters.Clauses) -> list[str]:
        """Return the titles of collections that a viewer finds, in their order."""
        found = self.by_name(collections, allowed)
        members = (member for each in collections if each in found for member in found[each].members)
        return list(dict.fromkeys(members))

    def find(
        self,
        clauses: filters.Clauses,
        limit: int,
        *,
        order: str | None = None,
        direction: Direction = Direction.Desc,
        weight: str | None = None,
    ) -> Found:
        """Find what fulfills clauses: by its score times a field's `weight`, or by a field's `order`."""
        result = self.searcher.search(
            Query.boolean_query(clauses),
            max(limit, 1),
            count=True,
            order_by_field=order,
            order=direction,
            weight_by_field=weight,
        )
        addresses = [address for _, address in result.hits]
        return Found(
            result.count,  # type: ignore[attr-defined]  # tantivy's types forget it
            np.asarray(self.values("ordinal", addresses), np.int64),
            np.asarray([score if weight or not order else 0.0 for score, _ in result.hits], np.float64),
            addresses,
        )

    def values(self, field: str, addresses: Sequence[DocAddress]) -> list[float]:
        """Return the numbers that documents have in a field."""
        found = self.searcher.fast_field_values(field, list(addresses))
        return [0 if each is None else each for each in found]

    def titles(self, addresses: Sequence[DocAddress]) -> dict[int, Title]:
        """Return titles by ordinal, in the order of their addresses."""
        ordinals = [int(each) for each in self.values("ordinal", addresses)]
        revisions = [int(each) for each in self.values("revision", addresses)]
        keys = list(zip(ordinals, revisions, strict=True))
        found: dict[int, Title] = {}
        for key, address, kept in zip(keys, addresses, self._cache.get(keys), strict=True):
            title = kept
            if title is None:
                title = Title.FromString(bytes(self.searcher.doc(address).get_first("stored") or b""))
                self._cache.put(key, title)
            found[key[0]] = title
        return found

    def page(
        self, ordinals: Sequence[int], addresses: Mapping[int, DocAddress], clauses: filters.Clauses
    ) -> dict[int, Title]:
        """Return those of some titles that fulfill clauses; those that have an address were found by them already."""
        found = self.titles([addresses[each] for each in ordinals if each in addresses])
        missing = [each for each in ordinals if each not in addresses]
        return {**found, **self.by_ordinal(missing, clauses)} if missing else found

    def by_ordinal(self, ordinals: Iterable[int], clauses: filters.Clauses) -> dict[int, Title]:
        """Return those of some titles that fulfill clauses."""
        wanted = [int(each) for each in ordinals]
        if not wanted:
            return {}
        within = filters.only(self.schema, wanted)
        result = self.searcher.search(Query.boolean_query([*clauses, *within]), len(wanted), count=False)
        return self.titles([address for _, address in result.hits])

    def by_name(self, names: Iterable[str], clauses: filters.Clauses) -> dict[str, Title]:
        """Return those of some titles that fulfill clauses, by name."""
        ordinals = {self.ordinal(each) for each in names} - {UNKNOWN}
        return {title.name: title for title in self.by_ordinal(ordinals, clauses).values()}

    def ordinal(self, name: str) -> int:
        """Return the ordinal of a title, or of the one that a video plays; UNKNOWN where there is none."""
        return self.table.by_video(name) if "/videos/" in name else self.table.ordinal(name)
