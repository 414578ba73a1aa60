"""Browse: lists of titles in an order, without words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
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
        ranked = (self._orders.get(asked) if start else None) or _ranked(query, view, demanded, clauses, now)
        count = view.find(clauses, 1).count if len(ranked.ordinals) >= MAX_DEPTH else len(ranked.ordinals)
        if not start and len(ranked.ordinals) > query.size:
            self._orders.put(asked, ranked)
        page = [ordinal for ordinal, _ in pages.window(ranked, start, query.size)]
        titles = view.page(page, ranked.addresses, clauses)
        seasons = view.table.seasons
        return BrowseResult(
            titles=[summary(titles[each], query.viewer, now, seasons) for each in page if each in titles],
            facets=facets.count(view.searcher, clauses, query.facets),
            next_page_token=pages.after(start, query.size, count, asked),
        )


def by_number(view: View, clauses: filters.Clauses) -> list[int]:
    """Return what fulfills clauses as seasons and episodes are numbered; those without a number first."""
    return _sorted_by(view, clauses, [{"number": "asc"}, {"ordinal": "asc"}])


def _ranked(query: BrowseQuery, view: View, demanded: Demand, clauses: filters.Clauses, now: float) -> Ranked:
    """Return the first MAX_DEPTH titles in their order."""
    territory = query.viewer.territory
    match query.order:
        case Order.POPULAR:
            return _popular(view, demanded, clauses, territory)
        case Order.TRENDING:
            return _trending(view, demanded, clauses, territory)
        case Order.NEW:
            found = view.find(clauses, MAX_DEPTH, order="published")
            return _of(found.ordinals.tolist(), found)
        case Order.NAME:
            return _of(_by_name(view, clauses, base_language(query.viewer.language)))
        case Order.NUMBER:
            if filters.COLLECTION not in query.filters:
                return _of(by_number(view, clauses))
            members = view.members(query.filters[filters.COLLECTION], view.allowed(query.viewer, now))
            places = {each: at for at, each in enumerate(view.ordinal(member) for member in members)}
            found = view.find(clauses, MAX_DEPTH)
            return _of(sorted(found.ordinals.tolist(), key=lambda each: places.get(each, MAX_DEPTH)), found)


def _of(ordinals: Sequence[int], *found: Found) -> Ranked:
    addresses = {
        ordinal: address
        for each in found
        for ordinal, address in zip(each.ordinals.tolist(), each.addresses, strict=True)
    }
    return Ranked(tuple(ordinals), (0.0,) * len(ordinals), addresses)


def _popular(view: View, demanded: Demand, clauses: filters.Clauses, territory: str) -> Ranked:
    """Return the most watched where the viewer is."""
    found = view.find(clauses, MAX_DEPTH, order="popularity")
    popular = demand.at(demanded.popular(territory), found.ordinals)
    # Of those that nobody watches the latest first: a new installation's first page is not its oldest titles.
    columns = view.table.columns
    order = np.lexsort((columns.tie[found.ordinals], -columns.released[found.ordinals], -popular))
    return _of(found.ordinals[order].tolist(), found)


def _trending(view: View, demanded: Demand, clauses: filters.Clauses, territory: str) -> Ranked:
    """Return what is watched more than before, and then what is popular."""
    column = demanded.trending(territory)
    rising = np.flatnonzero(column > 0)
    rising = rising[np.lexsort((view.table.columns.tie[rising], -column[rising]))][:MAX_DEPTH].tolist()
    popular = _popular(view, demanded, clauses, territory)
    if not rising:
        return popular
    found = view.find([*clauses, *filters.only(view.schema, rising)], len(rising))
    fulfilling = set(found.ordinals.tolist())
    first = [each for each in rising if each in fulfilling]
    ordinals = list(dict.fromkeys([*first, *popular.ordinals]))[:MAX_DEPTH]
    return Ranked(tuple(ordinals), (0.0,) * len(ordinals), {**popular.addresses, **_of([], found).addresses})


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
