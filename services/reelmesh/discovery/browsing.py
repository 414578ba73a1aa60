"""Browse: lists of titles in an order, without words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tantivy import Occur, Query

from reelmesh.discovery import demand, facets, filters, pages
from reelmesh.discovery.analysis import base_language
from reelmesh.discovery.demand import Demand
from reelmesh.discovery.documents import SORT_KEYS
from reelmesh.discovery.model import MAX_DEPTH, BrowseQuery, BrowseResult, Order
from reelmesh.discovery.pages import Orders, Ranked
from reelmesh.discovery.summaries import summary
from reelmesh.discovery.views import Found, View

_ORIGINAL = "original"


class Browsing:
    """Lists titles. Any thread may ask."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    def browse(self, query: BrowseQuery, view: View, demanded: Demand, now: float) -> BrowseResult:
        """Return a page of a list. Raises the errors of the contract."""
        filters.check(query.filters, query.facets)
        asked = pages.fingerprint(query)
        start = pages.begin(query.page_token, asked)
        clauses = view.clauses(query.viewer, query.filters, now)
        count = view.find(clauses, 1).count
        ranked = self._orders.get(asked) if start else None
        if ranked is None:
            ordinals = _ordered(query, view, demanded, clauses, now)
            ranked = Ranked(tuple(ordinals), (0.0,) * len(ordinals))
            if len(ordinals) > query.size:
                self._orders.put(asked, ranked)
        page = [ordinal for ordinal, _ in pages.window(ranked, start, query.size)]
        titles = view.by_ordinal(page, clauses)
        parents = view.parents(titles.values())
        return BrowseResult(
            titles=[summary(titles[each], query.viewer, now, parents) for each in page if each in titles],
            facets=facets.count(view.searcher, clauses, query.facets),
            next_page_token=pages.after(start, query.size, count, asked),
        )


def by_number(view: View, clauses: filters.Clauses) -> list[int]:
    """Return what fulfills clauses as seasons and episodes are numbered; those without a number first."""
    return _sorted_by(view, clauses, [{"number": "asc"}, {"ordinal": "asc"}])


def _ordered(query: BrowseQuery, view: View, demanded: Demand, clauses: filters.Clauses, now: float) -> list[int]:
    """Return the first MAX_DEPTH titles in their order."""
    territory = query.viewer.territory
    match query.order:
        case Order.POPULAR:
            return _popular(view, demanded, clauses, territory)
        case Order.TRENDING:
            return _trending(view, demanded, clauses, territory)
        case Order.NEW:
            return _listed(view.find(clauses, MAX_DEPTH, order="published").ordinals)
        case Order.NAME:
            return _by_name(view, clauses, base_language(query.viewer.language))
        case Order.NUMBER:
            if filters.COLLECTION in query.filters:
                members = view.members(query.filters[filters.COLLECTION], view.allowed(query.viewer, now))
                return [view.ordinal(each) for each in members]
            return by_number(view, clauses)


def _popular(view: View, demanded: Demand, clauses: filters.Clauses, territory: str) -> list[int]:
    """Return the most watched: of those that were so everywhere, and those that are so where the viewer is."""
    found = [view.find(clauses, MAX_DEPTH, order="popularity")]
    head = demanded.head(territory)
    if head and found[0].count > MAX_DEPTH:
        found.append(_those(view, clauses, head))
    ordinals = np.unique(np.concatenate([each.ordinals for each in found]))
    popular = demand.at(demanded.popular(territory), ordinals)
    # Of those that nobody watches the latest first: a new installation's first page is not its oldest titles.
    order = np.lexsort((ordinals, -view.table.columns.released[ordinals], -popular))
    return _listed(ordinals[order][:MAX_DEPTH])


def _trending(view: View, demanded: Demand, clauses: filters.Clauses, territory: str) -> list[int]:
    """Return what is watched more than before, and then what is popular."""
    column = demanded.trending(territory)
    rising = np.flatnonzero(column > 0)
    rising = rising[np.argsort(-column[rising], kind="stable")][: 4 * MAX_DEPTH]
    found: list[int] = []
    if len(rising):
        fulfilling = set(_those(view, clauses, rising.tolist()).ordinals.tolist())
        found = [each for each in rising.tolist() if each in fulfilling]
    return list(dict.fromkeys([*found, *_popular(view, demanded, clauses, territory)]))[:MAX_DEPTH]


def _those(view: View, clauses: filters.Clauses, ordinals: list[int]) -> Found:
    within = Query.const_score_query(Query.term_set_query(view.schema, "ordinal", ordinals), 0.0)
    return view.find([*clauses, (Occur.Must, within)], len(ordinals))


def _by_name(view: View, clauses: filters.Clauses, language: str) -> list[int]:
    """Return titles as they are sorted in a language; those that have no name in it by their original one."""
    if not language or language not in view.table.languages:
        return [ordinal for _, ordinal in _named(view, clauses, _ORIGINAL)]
    told = Query.const_score_query(Query.term_query(view.schema, "told", language, "basic"), 0.0)
    found = _named(view, [*clauses, (Occur.Must, told)], language)
    found += _named(view, [*clauses, (Occur.MustNot, told)], _ORIGINAL)
    return [ordinal for _, ordinal in sorted(found)][:MAX_DEPTH]


def _named(view: View, clauses: filters.Clauses, language: str) -> list[tuple[tuple[int, ...], int]]:
    sort = [{f"sort.{language}.{key}": "asc"} for key in SORT_KEYS]
    return [(tuple(hit["sort"]), int(hit["docvalue_fields"]["ordinal"][0])) for hit in _top(view, clauses, sort)]


def _sorted_by(view: View, clauses: filters.Clauses, sort: list[dict[str, str]]) -> list[int]:
    return [int(hit["docvalue_fields"]["ordinal"][0]) for hit in _top(view, clauses, sort)]


def _top(view: View, clauses: filters.Clauses, sort: list[dict[str, str]]) -> list[dict[str, Any]]:
    top = {"top": {"top_hits": {"size": MAX_DEPTH, "sort": sort, "docvalue_fields": ["ordinal"]}}}
    hits: list[dict[str, Any]] = view.searcher.aggregate(Query.boolean_query(clauses), top)["top"]["hits"]
    return hits


def _listed(ordinals: NDArray[np.int64]) -> list[int]:
    return [int(each) for each in ordinals]
