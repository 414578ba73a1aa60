"""Facets, counted over all that was found."""

from __future__ import annotations

from collections.abc import Sequence

from tantivy import Query, Searcher

from reelmesh.discovery.filters import Clauses
from reelmesh.discovery.v1.discovery_service_pb2 import Facet

VALUES = 50
"""Values of a facet that are told, the most frequent."""


def count(searcher: Searcher, clauses: Clauses, facets: Sequence[str]) -> list[Facet]:
    """Return how many of what fulfills clauses have each value of facets; alike many in the order of the values."""
    asked = list(dict.fromkeys(facets))
    if not asked:
        return []
    # By keys of equal counts too, so that all replicas answer alike.
    wanted = {facet: {"terms": {"field": facet, "size": VALUES, "order": {"_count": "desc"}}} for facet in asked}
    counted = searcher.aggregate(Query.boolean_query(clauses), wanted)
    found: list[Facet] = []
    for facet in asked:
        made = Facet(facet=facet)
        buckets = sorted(counted[facet]["buckets"], key=lambda bucket: (-bucket["doc_count"], bucket["key"]))
        for bucket in buckets:
            made.values.add(value=str(bucket["key"]), titles=int(bucket["doc_count"]))
        found.append(made)
    return found
