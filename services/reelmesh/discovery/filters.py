"""Who may find what, and which titles are meant, as clauses of every query. They filter and do not score."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tantivy import Occur, Query, Schema

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.discovery import availability, documents
from reelmesh.discovery.errors import FacetUnknown
from reelmesh.discovery.model import Filters, Viewer

Clauses = list[tuple[Occur, Query]]
PARENT = "parent"
COLLECTION = "collection"
_TERMS = 2000
"""Up to so many titles, a union of terms is faster than an automaton of them."""
FACETS = frozenset(documents.FACET_FIELDS)
"""What can be counted, and filtered by."""


def check(filters: Filters, counted: Iterable[str]) -> None:
    """Raise FacetUnknown for what is no facet."""
    known = sorted(FACETS | {PARENT, COLLECTION})
    for each in filters:
        if each not in known:
            raise FacetUnknown(f"there is no facet {each!r}; there are {', '.join(known)}", facet=each)
    for each in counted:
        if each not in FACETS:
            raise FacetUnknown(f"{each!r} cannot be counted; {', '.join(sorted(FACETS))} can", facet=each)


def allowed(
    schema: Schema, viewer: Viewer, ages: Iterable[int], closing: Sequence[int] = (), opening: Sequence[int] = ()
) -> Clauses:
    """Return what a title has to fulfill for a viewer to find it.

    `ages` are those that any title is rated with. `closing` and `opening` are the ordinals of titles whose documents
    are older than the edge of a window of theirs: those that the viewer does not find now, and those that they do.
    """
    clauses: Clauses = [_must(Query.term_query(schema, "scope", _scope(viewer), "basic"))]
    clauses.append((Occur.MustNot, _elsewhere(schema, viewer, opening)))
    if closing:
        clauses.append((Occur.MustNot, ordinals(schema, closing)))
    if viewer.maximum_age:
        clauses += _too_old(schema, viewer, [age for age in ages if age > viewer.maximum_age])
    return clauses


def ordinals(schema: Schema, those: Sequence[int]) -> Query:
    """Return the query of some titles."""
    if len(those) > _TERMS:
        return Query.term_set_query(schema, "ordinal", list(those))
    return _any([Query.term_query(schema, "ordinal", each, "basic") for each in those])


def only(schema: Schema, those: Sequence[int]) -> Clauses:
    """Return the clause of some titles and no others."""
    return [_must(ordinals(schema, those))]


def meant(schema: Schema, filters: Filters, members: Sequence[str] | None) -> Clauses:
    """Return what a title has to fulfill for a caller's filters; `members` are those of the collections named."""
    clauses: Clauses = []
    for facet, values in filters.items():
        if facet == COLLECTION:
            clauses.append(_must(Query.term_set_query(schema, "name", list(members or ()))))
        elif len(values) == 1:
            clauses.append(_must(Query.term_query(schema, facet, values[0], "basic")))
        else:
            clauses.append(_must(Query.term_set_query(schema, facet, list(values))))
    return clauses


def _must(query: Query) -> tuple[Occur, Query]:
    return (Occur.Must, Query.const_score_query(query, 0.0))


def _any(queries: Sequence[Query]) -> Query:
    if len(queries) == 1:
        return queries[0]
    return Query.boolean_query([(Occur.Should, each) for each in queries]) if queries else Query.empty_query()


def _scope(viewer: Viewer) -> str:
    audience = Title.AUDIENCE_EVERYONE
    if viewer.signed_in:
        audience = Title.AUDIENCE_SIGNED_IN
    if viewer.member:
        audience = Title.AUDIENCE_MEMBERS
    return documents.scope(viewer.organization, audience)


def _elsewhere(schema: Schema, viewer: Viewer, opening: Sequence[int]) -> Query:
    """Return the query of what is restricted, and not to where the viewer is."""
    clauses: Clauses = [(Occur.Must, Query.term_query(schema, "where", availability.RESTRICTED, "basic"))]
    if viewer.territory:
        clauses.append((Occur.MustNot, Query.term_query(schema, "where", viewer.territory, "basic")))
    if opening:
        clauses.append((Occur.MustNot, ordinals(schema, opening)))
    return Query.boolean_query(clauses)


def _too_old(schema: Schema, viewer: Viewer, ages: Sequence[int]) -> Clauses:
    """Return clauses against what is rated for older viewers: where the viewer is or, if it is not there, elsewhere."""
    if not ages:
        return []

    def rated(where: str) -> Query:
        return _any([Query.term_query(schema, "age", f"{where}:{age}", "basic") for age in ages])

    if not viewer.territory:
        return [(Occur.MustNot, rated(availability.NOWHERE_KNOWN))]
    here = Query.term_query(schema, "age", viewer.territory, "basic")
    elsewhere = Query.boolean_query([(Occur.Must, rated(availability.EVERYWHERE)), (Occur.MustNot, here)])
    return [(Occur.MustNot, rated(viewer.territory)), (Occur.MustNot, elsewhere)]
