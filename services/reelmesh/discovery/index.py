"""The index of titles: what a replica searches, in a folder of its own.

Threads: `open`, and everything that writes (`apply`, `commit`, `refresh_edges`, `set_popularity`, `close`), belongs to
one thread at a time. Everything that reads may be called by any number of threads, also while the writer writes; it
sees the last commit. All of it blocks, so asyncio calls it in threads. Tantivy lets go of the interpreter while it
searches, which is most of a search; what is made of it is Python's, one thread at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tantivy import Index as TantivyIndex
from tantivy import IndexWriter, Occur, Query

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.discovery import availability, browsing, documents, filters, ranking, summaries
from reelmesh.discovery.browsing import Browsing
from reelmesh.discovery.demand import Demand
from reelmesh.discovery.documents import SCHEMA_VERSION, Standing
from reelmesh.discovery.errors import TitleUnknown
from reelmesh.discovery.meaning import Meaning
from reelmesh.discovery.model import (
    MAX_DEPTH,
    BrowseQuery,
    BrowseResult,
    Popularity,
    SearchQuery,
    SearchResult,
    Statistics,
    Viewer,
)
from reelmesh.discovery.pages import Orders
from reelmesh.discovery.searching import Searching
from reelmesh.discovery.semantic import Model, VectorStore, vectors_of
from reelmesh.discovery.suggesting import suggest
from reelmesh.discovery.table import UNKNOWN, Table
from reelmesh.discovery.v1.discovery_service_pb2 import GetTitleDetailsResponse, SuggestResponse, TitleSummary
from reelmesh.discovery.views import TitleCache, View
from reelmesh.mesh.clock import Clock

__all__ = ["SCHEMA_VERSION", "Index"]

WRITER_BYTES = 256 << 20
"""Memory of documents that are not written yet."""
BATCH = 256
"""Titles that are indexed together."""
MAX_COLLECTIONS = 20
"""Collections that a title's page names at most."""
PRIOR_STEP = 0.1
"""A document says its title's popularity, from 0 to 1, to about this much."""
PRIORS_AT_ONCE = 5000
"""Documents that one change of popularity makes anew at most, those that are farthest off."""
_VECTORS = "vectors.i8"

log = logging.getLogger(__name__)

Change = tuple[str, Title | None]


class Index:
    """Titles of all organizations, found by words, filters and names."""

    def __init__(self, folder: Path, index: TantivyIndex, clock: Clock, model: Model | None) -> None:
        """Use `open`."""
        self._folder = folder
        self._index = index
        self._clock = clock
        self._model = model
        self._writer: IndexWriter = index.writer(WRITER_BYTES, 1)
        self._schema = index.schema
        self._table = Table()
        self._cache = TitleCache()
        self._vectors = VectorStore(folder / _VECTORS, model.dimensions) if model else None
        self._meaning = Meaning(model, self._vectors) if model and self._vectors else None
        orders = Orders()
        self._searching = Searching(orders)
        self._browsing = Browsing(orders)
        self._demand = Demand(Popularity(), self._table)
        self._popular_anywhere = np.zeros(0)
        self._edges: dict[int, float] = {}
        self._view = View(self._schema, index.searcher(), self._table, np.zeros(0), self._cache)

    @classmethod
    def open(cls, folder: Path, clock: Clock, model: Model | None = None) -> Index:
        """Open the index in a folder, which is made where it is missing. Takes seconds where it is large.

        The folder is one of SCHEMA_VERSION, and no other process has it open: raises ValueError in both cases.
        """
        folder.mkdir(parents=True, exist_ok=True)
        raw = TantivyIndex(documents.schema(), str(folder))
        documents.register(raw)
        raw.config_reader("manual")
        raw.reload()
        opened = cls(folder, raw, clock, model)
        opened._load()
        return opened

    # What writes.

    def apply(self, changes: Iterable[Change]) -> int:
        """Take up changes: titles by name, None for one that was deleted. Return how many were news.

        A title of a revision that is not larger than the known one is old and left. Nobody finds the changes before
        `commit`.
        """
        news = 0
        waiting = iter(changes)
        while batch := list(islice(waiting, BATCH)):
            # Of several changes of one title in a batch the last one counts, if it is no older.
            latest: dict[str, Title | None] = {}
            for name, title in batch:
                known = latest.get(name)
                if title and known is None and name in latest:
                    # It was deleted and made anew: its revisions count from 1 again.
                    news += self._apply(latest)
                    latest = {}
                if title is None or known is None or title.revision > known.revision:
                    latest[name] = title
            news += self._apply(latest)
        return news

    def commit(self) -> None:
        """Make what was taken up durable, and let it be found: both when this returns."""
        if self._vectors:
            self._vectors.flush()
        self._writer.commit()
        self._index.reload()
        self._show()

    def next_edge(self) -> datetime | None:
        """Return when the availability of some title changes next; None where none does.

        Answers are right whenever they are asked for; but titles past their edge make each query longer, until
        `refresh_edges` and `commit`.
        """
        edge = self._view.first_edge
        return None if edge == availability.NEVER else datetime.fromtimestamp(edge, UTC)

    def refresh_edges(self) -> int:
        """Index the titles anew whose availability has changed, and return how many they were; then `commit`."""
        due = np.flatnonzero(self._view.edges <= self._clock.now().timestamp())
        return self._again(due.tolist())

    def set_popularity(self, popularity: Popularity) -> int:
        """Order by this popularity from now on.

        Documents say a rough popularity, which decides what is put in its exact order where very much is found; those
        of which it is wrong by now are made anew, at most PRIORS_AT_ONCE. Return how many; then `commit`.
        """
        self._demand = Demand(popularity, self._table)
        popular = self._demand.anywhere()
        self._popular_anywhere = popular
        size = len(popular)
        off = np.abs(popular - self._table.columns.indexed[:size]) * (self._table.columns.revision[:size] > 0)
        wrong = np.flatnonzero(off > PRIOR_STEP)
        worst = wrong[np.argsort(-off[wrong], kind="stable")][:PRIORS_AT_ONCE]
        return self._again(worst.tolist())

    def close(self) -> None:
        """Let go of the folder. What was not committed is lost."""
        self._writer.wait_merging_threads()

    # What reads.

    def search(self, query: SearchQuery) -> SearchResult:
        """Find titles by words. Raises the errors of SearchRequest."""
        return self._searching.search(query, self._view, self._demand, self._meaning, self._now())

    def suggest(self, text: str, viewer: Viewer, size: int = 8) -> list[SuggestResponse.Suggestion]:
        """Complete what somebody is typing: titles, people and genres, the best first. Raises QueryTooLong."""
        return suggest(text, size, viewer, self._view, self._demand, self._now())

    def browse(self, query: BrowseQuery) -> BrowseResult:
        """List titles by filters. Raises the errors of BrowseRequest."""
        return self._browsing.browse(query, self._view, self._demand, self._now())

    def details(self, name: str, viewer: Viewer) -> GetTitleDetailsResponse:
        """Return what a title's page shows. Raises TitleUnknown, also for what the viewer may not find."""
        view, now = self._view, self._now()
        allowed = view.allowed(viewer, now)
        title = view.by_name([name], allowed).get(name)
        if title is None:
            raise TitleUnknown(f"there is no title {name}")
        seasons = self._table.seasons
        made = summaries.details(title, viewer, summaries.summary(title, viewer, now, seasons))
        for part in self._parts(title, view, allowed):
            summed = summaries.summary(part, viewer, now, seasons)
            (made.extras if part.kind == Title.KIND_EXTRA else made.parts).append(summed)
        if title.parent_title:
            above = view.by_name([title.parent_title], allowed).get(title.parent_title)
            if above is not None:
                made.parent.CopyFrom(summaries.summary(above, viewer, now, seasons))
        collections = self._linked("member", title, view, allowed, MAX_COLLECTIONS)
        made.collections.extend(summaries.summary(each, viewer, now, seasons) for each in collections)
        return made

    def get(self, names: Sequence[str], viewer: Viewer) -> list[TitleSummary]:
        """Return those of titles, named by themselves or their videos, that a viewer may find, in their order."""
        view, now = self._view, self._now()
        asked = [view.ordinal(each) for each in names]
        titles = view.by_ordinal({each for each in asked if each != UNKNOWN}, view.allowed(viewer, now))
        seasons = self._table.seasons
        return [summaries.summary(titles[each], viewer, now, seasons) for each in asked if each in titles]

    @property
    def titles(self) -> int:
        """Titles that are committed."""
        return int(self._view.searcher.num_docs)

    def statistics(self) -> Statistics:
        """Return how large the index is."""
        searcher = self._view.searcher
        return Statistics(
            titles=searcher.num_docs,
            bytes=sum(map(_size, self._folder.iterdir())),
            segments=searcher.num_segments,
            vectors=self._vectors.count(self._table.size) if self._vectors else 0,
        )

    # Within.

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _apply(self, changes: dict[str, Title | None]) -> int:
        fresh: list[Title] = []
        news = 0
        for name, title in changes.items():
            place = self._table.ordinal(name)
            if title is None:
                news += self._delete(name)
            elif place == UNKNOWN or title.revision > self._table.columns.revision[place]:
                fresh.append(title)
        places = [self._table.put(title) for title in fresh]
        self._write(fresh, places)
        if self._model and self._vectors and fresh:
            self._vectors.put(places, vectors_of(fresh, self._model))
        return news + len(fresh)

    def _delete(self, name: str) -> int:
        place = self._table.drop(name)
        if place == UNKNOWN:
            return 0
        self._writer.delete_documents_by_term("name", name)
        self._edges[place] = availability.NEVER
        return 1

    def _again(self, places: Sequence[int]) -> int:
        """Make the documents of titles anew, as they were committed, with how they stand now."""
        for start in range(0, len(places), BATCH):
            titles = self._view.by_ordinal(places[start : start + BATCH], [])
            # One that has changed or gone since is not what is committed.
            same = {
                place: title
                for place, title in titles.items()
                if title.revision == self._table.columns.revision[place] and place == self._table.ordinal(title.name)
            }
            self._write(list(same.values()), list(same))
        return len(places)

    def _write(self, titles: Sequence[Title], places: Sequence[int]) -> None:
        now = self._now()
        popular = self._popular(titles, places)
        columns = self._table.columns
        ordinals = np.asarray(places, np.int64)
        priors = ranking.prior(popular, ranking.freshness(columns.released[ordinals], now), columns.weight[ordinals])
        columns.indexed[ordinals] = popular
        for title, place, share, prior in zip(titles, places, popular.tolist(), priors.tolist(), strict=True):
            standing = Standing(place, prior, round(share * documents.POPULARITY_UNIT), now)
            self._writer.delete_documents_by_term("name", title.name)
            self._writer.add_document(documents.document(title, standing))
            self._edges[place] = availability.next_edge(availability.windows(title), now)

    def _popular(self, titles: Sequence[Title], places: Sequence[int]) -> NDArray[np.float64]:
        """Return how popular titles are where they are most so, 0 to 1; of new ones, how popular their video is."""
        known = self._popular_anywhere
        return np.asarray(
            [
                known[place] if place < len(known) else self._demand.of_video(title.video)
                for title, place in zip(titles, places, strict=True)
            ]
        )

    def _parts(self, title: Title, view: View, allowed: filters.Clauses) -> list[Title]:
        """Return what is part of a title, or about it, in its order."""
        if title.kind == Title.KIND_COLLECTION:
            members = view.by_name(title.members, allowed)
            return [members[each] for each in title.members if each in members]
        return self._linked("parent", title, view, allowed, MAX_DEPTH)

    def _linked(self, field: str, title: Title, view: View, allowed: filters.Clauses, most: int) -> list[Title]:
        """Return titles that name this one in a field, in the order of their numbers."""
        naming = Query.const_score_query(Query.term_query(self._schema, field, title.name, "basic"), 0.0)
        clauses = [*allowed, (Occur.Must, naming)]
        ordinals = browsing.by_number(view, clauses)[:most]
        found = view.by_ordinal(ordinals, clauses)
        return [found[each] for each in ordinals if each in found]

    def _show(self) -> None:
        """Let readers see what is committed."""
        edges = np.full(self._table.size, availability.NEVER)
        before = self._view.edges
        edges[: len(before)] = before
        for place, edge in self._edges.items():
            edges[place] = edge
        self._edges = {}
        self._view = View(self._schema, self._index.searcher(), self._table, edges, self._cache)

    def _load(self) -> None:
        """Fill the columns from what is in the folder."""
        searcher = self._index.searcher()
        if not searcher.num_docs:
            return
        hits = searcher.search(Query.all_query(), searcher.num_docs).hits
        addresses = [address for _, address in hits]
        ordinals = [int(each or 0) for each in searcher.fast_field_values("ordinal", addresses)]
        edges = searcher.fast_field_values("edge", addresses)
        popular = searcher.fast_field_values("popularity", addresses)
        for at, address in enumerate(addresses):
            title = Title.FromString(bytes(searcher.doc(address).get_first("stored") or b""))
            place = self._table.put(title, ordinals[at])
            self._edges[place] = documents.edge_of(int(edges[at] or 0))
            self._table.columns.indexed[place] = float(popular[at] or 0) / documents.POPULARITY_UNIT
        self._table.find_free()
        self._show()
        log.info("opened an index of %d titles", len(self._table))


def _size(path: Path) -> int:
    """Return the bytes of a file; none of one that was merged away meanwhile."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
