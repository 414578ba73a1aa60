"""Suggest: what somebody may mean while they type."""

from __future__ import annotations

from collections.abc import Sequence

from tantivy import Query

from reelmesh.discovery import analysis, filters, planning
from reelmesh.discovery.demand import Demand
from reelmesh.discovery.documents import KEY_SEPARATOR
from reelmesh.discovery.errors import QueryTooLong
from reelmesh.discovery.misspelling import alike
from reelmesh.discovery.model import MAX_QUERY_LENGTH, Viewer
from reelmesh.discovery.parsing import Clause, Parsed
from reelmesh.discovery.searching import lexicon, rank
from reelmesh.discovery.summaries import summary
from reelmesh.discovery.v1.discovery_service_pb2 import SuggestResponse
from reelmesh.discovery.views import View
from reelmesh.discovery.ways import Level, misspelt

WORDS = 8
"""Words that are looked at, the last ones."""
LOOKED_AT = 200
"""Titles that are put in their exact order."""
KEYS = 40
"""People and genres that are looked at."""
KEYED_LENGTH = 2
"""Letters from which people and genres are suggested: one letter is any of thousands."""
TITLES_SHARE = 0.7
"""Share of titles among suggestions, where there are others too."""

Suggestion = SuggestResponse.Suggestion


def suggest(text: str, size: int, viewer: Viewer, view: View, demanded: Demand, now: float) -> list[Suggestion]:
    """Return what somebody may mean, the best first. Raises QueryTooLong.

    What is typed is plain text here: quotes and fields mean nothing while they are not finished.
    """
    if len(text) > MAX_QUERY_LENGTH:
        raise QueryTooLong(f"a query has at most {MAX_QUERY_LENGTH} characters, this one {len(text)}")
    typed = analysis.tokens(text)[-WORDS:]
    if not typed:
        return []
    allowed = view.allowed(viewer, now)
    titles = _titles(typed, size, viewer, view, demanded, allowed, now)
    keys = _keys(" ".join(each.text for each in typed), view, allowed)
    if not keys:
        keys = _misspelt_people(typed, viewer, view, allowed) if len(titles) < size else []
    kept = max(size - len(keys), round(TITLES_SHARE * size))
    people = [Suggestion(query=each) for each in keys[: size - min(len(titles), kept)]]
    whole = [each for each in people if analysis.exact(each.query) == analysis.exact(text)]
    others = [each for each in people if each not in whole]
    return [*whole, *titles[:kept], *others][:size]


def _titles(
    typed: Sequence[analysis.Token],
    size: int,
    viewer: Viewer,
    view: View,
    demanded: Demand,
    allowed: filters.Clauses,
    now: float,
) -> list[Suggestion]:
    last = len(typed) - 1
    parsed = Parsed(tuple(Clause((word,), "title", prefix=at == last) for at, word in enumerate(typed)))
    for level in (Level.STRICT, Level.FUZZY):
        clauses = planning.plan(parsed, lexicon(view, viewer), level)
        found = view.find(allowed + clauses, LOOKED_AT, weight="prior")
        if found.count:
            break
    ranked = rank(found, view, demanded, viewer, now)
    best = ranked.ordinals[: 2 * size]
    known = view.page(best, ranked.addresses, allowed)
    made = [summary(known[each], viewer, now, view.table.seasons) for each in best]
    by_name: dict[str, Suggestion] = {}
    for each in made:  # a name is suggested once, for its best title
        by_name.setdefault(each.display_title, Suggestion(query=each.display_title, title=each))
    return list(by_name.values())[:size]


def _keys(prefix: str, view: View, allowed: filters.Clauses) -> list[str]:
    """Return people and genres of which a word begins so, those in most titles first."""
    if len(prefix) < KEYED_LENGTH and not analysis.is_run(prefix):
        return []
    found = view.searcher.terms_with_prefix("key", prefix, Query.boolean_query(allowed), KEYS)
    counts: dict[str, int] = {}
    for key, titles in found:
        name = key.rsplit(KEY_SEPARATOR, 1)[1]
        counts[name] = max(counts.get(name, 0), titles)
    return sorted(counts, key=lambda name: (-counts[name], name))


def _misspelt_people(
    typed: Sequence[analysis.Token], viewer: Viewer, view: View, allowed: filters.Clauses
) -> list[str]:
    """Return people whose names are nearly what was typed, of the titles that have them, the most popular first."""
    last = len(typed) - 1
    parsed = Parsed(tuple(Clause((word,), "person", prefix=at == last) for at, word in enumerate(typed)))
    clauses = planning.plan(parsed, lexicon(view, viewer), Level.FUZZY)
    found = view.find(allowed + clauses, KEYS, weight="prior")
    counts: dict[str, int] = {}
    for title in view.titles(found.addresses).values():
        for person in {each.person for each in title.credits}:
            if _alike(typed, analysis.words(person)):
                counts[person] = counts.get(person, 0) + 1
    return sorted(counts, key=lambda name: (-counts[name], name))


def _alike(typed: Sequence[analysis.Token], name: Sequence[str]) -> bool:
    """Say whether each word that was typed is nearly one of a name's, or a beginning of it."""
    last = len(typed) - 1
    return all(
        any(alike(word.text, each, misspelt(len(word.text), at), at == last) for each in name)
        for at, word in enumerate(typed)
    )
