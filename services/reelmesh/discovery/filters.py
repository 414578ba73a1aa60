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


def allowed(schema: Schema, viewer: Viewer, closing: Sequence[int] = (), opening: Sequence[int] = ()) -> Clauses:
    """Return what a title has to fulfill for a viewer to find it.

    `closing` and `opening` are the ordinals of titles whose documents are older than the edge of a window of theirs:
    those that the viewer does not find now, and those that they do.
    """
    clauses: Clauses = [_must(_scopes(schema, viewer)), _where(schema, viewer, opening)]
    if closing:
        clauses.append((Occur.MustNot, Query.term_set_query(schema, "ordinal", list(closing))))
    if viewer.maximum_age:
        clauses.append(_must(_ages(schema, viewer)))
    return clauses


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
    return queries[0] if len(queries) == 1 else Query.boolean_query([(Occur.Should, each) for each in queries])


def _scopes(schema: Schema, viewer: Viewer) -> Query:
    audiences: list[int] = [Title.AUDIENCE_EVERYONE]
    if viewer.signed_in or viewer.member:
        audiences.append(Title.AUDIENCE_SIGNED_IN)
    if viewer.member:
        audiences.append(Title.AUDIENCE_MEMBERS)
    terms = [documents.scope(viewer.organization, each) for each in audiences]
    return _any([Query.term_query(schema, "scope", each, "basic") for each in terms])


def _where(schema: Schema, viewer: Viewer, opening: Sequence[int]) -> tuple[Occur, Query]:
    places = [availability.EVERYWHERE, *([viewer.territory] if viewer.territory else [])]
    queries = [Query.term_query(schema, "where", each, "basic") for each in places]
    if opening:
        queries.append(Query.term_set_query(schema, "ordinal", list(opening)))
    return _must(_any(queries))


def _ages(schema: Schema, viewer: Viewer) -> Query:
    ages = range(viewer.maximum_age + 1)
    if not viewer.territory:
        return Query.term_set_query(schema, "age", [f"{availability.NOWHERE_KNOWN}:{age}" for age in ages])
    here = Query.term_set_query(schema, "age", [f"{viewer.territory}:{age}" for age in ages])
    elsewhere = Query.boolean_query(
        [
            (Occur.Must, Query.term_set_query(schema, "age", [f"{availability.EVERYWHERE}:{age}" for age in ages])),
            (Occur.MustNot, Query.term_query(schema, "age", viewer.territory, "basic")),
        ]
    )
    return _any([here, elsewhere])
