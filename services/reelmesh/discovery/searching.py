"""Search: from a query to a page of what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tantivy import Occur, Query

from reelmesh.discovery import demand, facets, filters, pages, planning, ranking
from reelmesh.discovery.analysis import base_language
from reelmesh.discovery.demand import Demand
from reelmesh.discovery.errors import ModelMissing
from reelmesh.discovery.highlights import Highlighter
from reelmesh.discovery.meaning import Meaning
from reelmesh.discovery.model import MAX_DEPTH, MAX_TOTAL, Mode, SearchQuery, SearchResult, Viewer
from reelmesh.discovery.pages import Orders, Ranked
from reelmesh.discovery.parsing import Parsed, parse
from reelmesh.discovery.summaries import summary
from reelmesh.discovery.v1.discovery_service_pb2 import SearchResponse
from reelmesh.discovery.views import Found, View
from reelmesh.discovery.ways import Level, Lexicon

ENOUGH = 5
"""Titles that have to be found as a query stands, or misspelt words are looked at too."""
PLENTY = 100
"""Titles that have the words as they stand from which nobody turns to those that only mean them."""
FUSION = 60.0
"""Of reciprocal rank fusion (Cormack et al., 2009): 1 / (FUSION + rank), summed over the lists that a title is in."""
MEANING_WEIGHTS = {Level.STRICT: 0.01, Level.FUZZY: 0.01, Level.RELAXED: 1.0}
"""What the list by meaning counts, compared with the list by letters. Who types words that titles have means those
titles: then the others come behind. Where no title has all words, both know as much."""
NEAR = {Level.STRICT: 0.35, Level.FUZZY: 0.35, Level.RELAXED: 0.2}
"""Cosine from which a title is near enough to stand beside those that have the words."""


@dataclass(frozen=True, slots=True)
class Lexical:
    """What was found by letters."""

    level: Level
    clauses: filters.Clauses
    """Of the words at that level."""
    count: int
    ranked: Ranked


class Searching:
    """Answers queries. Any thread may ask."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    def search(
        self, query: SearchQuery, view: View, demanded: Demand, meaning: Meaning | None, now: float
    ) -> SearchResult:
        """Return a page of what was found. Raises the errors of the contract."""
        filters.check(query.filters, query.facets)
        parsed = parse(query.text)
        if query.mode is Mode.SEMANTIC and meaning is None:
            raise ModelMissing("this installation has no model that knows what words mean")
        asked = pages.fingerprint(query)
        start = pages.begin(query.page_token, asked)
        allowed = view.clauses(query.viewer, query.filters, now)
        lexical = _lexical(parsed, query, view, demanded, allowed, now)
        ranked, found = _fused(parsed, query, lexical, view, meaning, allowed)
        count = _count(ranked, found, lexical, view, allowed)
        if start:
            ranked = self._orders.get(asked) or ranked
        elif len(ranked.ordinals) > query.size:
            self._orders.put(asked, ranked)
        highlighter = Highlighter(
            parsed, view.table.languages | {base_language(query.viewer.language)}, lexical.level > Level.STRICT
        )
        return SearchResult(
            hits=_hits(ranked, pages.window(ranked, start, query.size), view, query.viewer, allowed, highlighter, now),
            facets=facets.count(view.searcher, allowed + found, query.facets),
            total=min(count, MAX_TOTAL),
            next_page_token=pages.after(start, query.size, count, asked),
        )


def rank(found: Found, view: View, demanded: Demand, viewer: Viewer, now: float) -> Ranked:
    """Put what was found, with the documents' priors in its scores, in its exact order now, where the viewer is."""
    if not found.addresses:
        return Ranked((), ())
    ordinals = found.ordinals
    relevance = found.scores / np.asarray(view.values("prior", found.addresses))
    columns = view.table.columns
    priors = ranking.prior(
        demand.at(demanded.popular(viewer.territory), ordinals),
        ranking.freshness(columns.released[ordinals], now),
        columns.weight[ordinals],
    )
    final = relevance * priors
    order = ranking.order(final, columns.tie[ordinals])[:MAX_DEPTH]
    addresses = dict(zip(ordinals.tolist(), found.addresses, strict=True))
    return Ranked(tuple(ordinals[order].tolist()), tuple(final[order].tolist()), addresses)


def lexicon(view: View, viewer: Viewer) -> Lexicon:
    """Return what is known of all words."""
    return Lexicon(view.schema, view.searcher, view.table.languages, base_language(viewer.language))


def _lexical(
    parsed: Parsed, query: SearchQuery, view: View, demanded: Demand, allowed: filters.Clauses, now: float
) -> Lexical:
    if query.mode is Mode.SEMANTIC:
        return Lexical(Level.RELAXED, [], 0, Ranked((), ()))
    clauses: filters.Clauses = []
    known = lexicon(view, query.viewer)
    for level in Level:
        clauses = planning.plan(parsed, known, level) or everything()
        found = view.find(allowed + clauses, MAX_DEPTH, weight="prior")
        if found.count >= (ENOUGH if level is Level.STRICT else 1) or not parsed.clauses:
            break
    return Lexical(level, clauses, found.count, rank(found, view, demanded, query.viewer, now))


def everything() -> filters.Clauses:
    """Return the clause of a query without words."""
    return [(Occur.Must, Query.const_score_query(Query.all_query(), 1.0))]


def _fused(
    parsed: Parsed,
    query: SearchQuery,
    lexical: Lexical,
    view: View,
    meaning: Meaning | None,
    allowed: filters.Clauses,
) -> tuple[Ranked, filters.Clauses]:
    """Return the order of all that was found, by letters and by meaning, and the clause of it."""
    if meaning is None or query.mode is Mode.LEXICAL or not parsed.clauses or not parsed.plain:
        return lexical.ranked, lexical.clauses
    alone = query.mode is Mode.SEMANTIC
    if not alone and lexical.level is Level.STRICT and lexical.count >= PLENTY:
        return lexical.ranked, lexical.clauses
    near = meaning.near(query.text, view, allowed, 0.0 if alone else NEAR[lexical.level])
    if not near.ordinals and not alone:
        return lexical.ranked, lexical.clauses
    by_meaning = filters.ordinals(view.schema, near.ordinals)
    if alone:
        return near, filters.only(view.schema, near.ordinals)
    weight = MEANING_WEIGHTS[lexical.level]
    either = Query.boolean_query([(Occur.Should, Query.boolean_query(lexical.clauses)), (Occur.Should, by_meaning)])
    return fuse(lexical.ranked, near, weight, view.table.columns.tie), [(Occur.Must, either)]


def fuse(first: Ranked, second: Ranked, weight: float, ties: NDArray[np.int64]) -> Ranked:
    """Put two orders together by reciprocal rank; `weight` is what the second counts, `ties` orders what is alike."""
    scores: dict[int, float] = {}
    for ranked, counts in ((first, 1.0), (second, weight)):
        for at, ordinal in enumerate(ranked.ordinals, 1):
            scores[ordinal] = scores.get(ordinal, 0.0) + counts / (FUSION + at)
    order = sorted(scores.items(), key=lambda item: (-item[1], ties[item[0]]))[:MAX_DEPTH]
    return Ranked(
        tuple(ordinal for ordinal, _ in order),
        tuple(score for _, score in order),
        {**second.addresses, **first.addresses},
    )


def _count(ranked: Ranked, found: filters.Clauses, lexical: Lexical, view: View, allowed: filters.Clauses) -> int:
    """Return how many were found, which is only to be counted where not all of them are in the order."""
    if found is lexical.clauses:
        return lexical.count
    return len(ranked.ordinals) if lexical.count < MAX_DEPTH // 2 else view.find(allowed + found, 1).count


def _hits(
    ranked: Ranked,
    page: Sequence[tuple[int, float]],
    view: View,
    viewer: Viewer,
    allowed: filters.Clauses,
    highlighter: Highlighter,
    now: float,
) -> list[SearchResponse.Hit]:
    titles = view.page([ordinal for ordinal, _ in page], ranked.addresses, allowed)
    hits: list[SearchResponse.Hit] = []
    for ordinal, score in page:
        title = titles.get(ordinal)
        if title is not None:  # it may have ended since the first page
            hits.append(
                SearchResponse.Hit(
                    title=summary(title, viewer, now, view.table.seasons),
                    highlights=highlighter.of(title, viewer.language),
                    score=score,
                )
            )
    return hits
