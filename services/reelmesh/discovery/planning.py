"""From a query taken apart to a query of the index, and what each match is worth.

Each word may match in several ways. It counts as the best of them: how rare the word is there (its inverse document
frequency), times what that way is worth. A title's relevance is the sum over the words, with something on top for words
in order, for a title that begins so and, above all, for one whose whole name it is.

A query is tried at three levels, until one finds enough: as it stands; with misspelt words; and with some words
missing. All terms, automata and clauses are bounded by MAX_WORDS, LANGUAGES and the bounds below, whatever is typed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tantivy import Occur, Query

from reelmesh.discovery import analysis
from reelmesh.discovery.parsing import Clause, Parsed, Sign
from reelmesh.discovery.ranking import EXACT_RATIO
from reelmesh.discovery.ways import TITLE, Level, Lexicon, Way, known, misspelt, term, ways_of

OWN = 0.1
"""On top for a word in a title in the viewer's language."""
IN_ORDER = 0.3
"""On top for a title that has the words one after the other."""
BEGINNING = 0.3
"""On top for a title that begins with what was typed."""
ONE_PERSON = 0.5
"""On top for a title in which one person has the words as their name: not one the first name, and another the last."""
NEARLY = 1.0
"""On top for a title whose whole name it is, but for a letter or two."""
REST = 1 + OWN + IN_ORDER + BEGINNING + NEARLY + 2 * ONE_PERSON
"""The most that a title gets for its words and their order, in units of its words' worth."""
FUZZY_TEXT = 64
"""Characters up to which all of what was typed may be a name, misspelt."""
KEPT_SHARE = 0.6
"""Share of the words that a title must have at the last level."""


def plan(parsed: Parsed, lexicon: Lexicon, level: Level) -> list[tuple[Occur, Query]]:
    """Return the clauses of a query at a level; none for the empty query."""
    clauses: list[tuple[Occur, Query]] = []
    wanted: list[Query] = []
    worth = 0.0
    languages = lexicon.languages | {lexicon.language}
    distinct = list(dict.fromkeys(parsed.clauses))
    small = [is_small(each, languages) for each in distinct]
    telling = any(each.sign is not Sign.EXCLUDED and not little for each, little in zip(distinct, small, strict=True))
    for at, clause in enumerate(distinct):
        if small[at] and telling and not clause.prefix:
            # It orders what has the other words, and is not worth the while of looking for it in every way.
            for way in term("title", clause.words[0].text, lexicon, TITLE):
                worth += way.worth
                clauses.append((Occur.Should, _best_of([way])))
            continue
        ways = ways_of(clause, lexicon, Level.STRICT if clause.sign is Sign.EXCLUDED else level, at)
        best = max((way.worth for way in ways), default=0.0)
        if clause.sign is Sign.EXCLUDED:
            clauses.append((Occur.MustNot, _best_of(ways)))
            continue
        worth += best
        if clause.sign is Sign.REQUIRED or clause.field or clause.phrase:
            clauses.append((Occur.Must, _best_of(ways)))
        else:
            wanted.append(_best_of(ways))
        clauses += _own(clause, lexicon)
    clauses += _required(wanted, level)
    if parsed.text:
        clauses += _whole(parsed, lexicon, worth, level)
    return clauses


def _required(wanted: Sequence[Query], level: Level) -> list[tuple[Occur, Query]]:
    kept = math.ceil(KEPT_SHARE * len(wanted))
    if level is not Level.RELAXED or kept >= len(wanted):
        return [(Occur.Must, query) for query in wanted]
    some = Query.boolean_query([(Occur.Should, query) for query in wanted], minimum_number_should_match=kept)
    return [(Occur.Must, some)]


def is_small(clause: Clause, languages: frozenset[str]) -> bool:
    """Say whether a clause is one of the smallest words of a language, which a title may do without."""
    return (
        len(clause.words) == 1
        and not clause.field
        and not clause.phrase
        and clause.sign is Sign.WANTED
        and analysis.is_small(clause.words[0].lower, languages)
    )


def _own(clause: Clause, lexicon: Lexicon) -> list[tuple[Occur, Query]]:
    if not lexicon.language or clause.field not in {"", "title"}:
        return []
    found: list[tuple[Occur, Query]] = []
    for word in clause.words:
        term = f"{lexicon.language}|{analysis.stem(word.lower, lexicon.language)}"
        query = Query.term_query(lexicon.schema, "own", term, "basic")
        found.append((Occur.Should, Query.const_score_query(query, OWN * lexicon.rarity("own", term))))
    return found


def _whole(parsed: Parsed, lexicon: Lexicon, worth: float, level: Level) -> list[tuple[Occur, Query]]:
    """Return what is on top for titles that are, begin with, or hold all of what was typed."""
    schema = lexicon.schema
    words = parsed.text.split()
    exact = Query.term_query(schema, "exact", parsed.text, "basic")
    beginning = Query.fuzzy_term_query(schema, "exact", parsed.text, 0, prefix=True)
    found = [
        (Occur.Should, Query.const_score_query(exact, EXACT_RATIO * REST * worth)),
        (Occur.Should, Query.const_score_query(beginning, BEGINNING * worth)),
    ]
    if len(words) > 1:
        for field, share in (("title", IN_ORDER), ("people", ONE_PERSON)):
            in_order = Query.phrase_query(schema, field, list(words))
            found.append((Occur.Should, Query.const_score_query(in_order, share * worth)))
    distance = misspelt(len(parsed.text), 0) if level > Level.STRICT and len(parsed.text) <= FUZZY_TEXT else 0
    if distance and any(len(each.words) == 1 and not known(each, lexicon) for each in parsed.clauses):
        name = Query.fuzzy_term_query(schema, "exact", parsed.text, distance)
        person = Query.fuzzy_term_query(schema, "key", parsed.text, distance, prefix=True)
        found.append((Occur.Should, Query.const_score_query(name, NEARLY * worth)))
        found.append((Occur.Should, Query.const_score_query(person, ONE_PERSON * worth)))
    return found


def _best_of(ways: Sequence[Way]) -> Query:
    if not ways:
        return Query.empty_query()
    scored = [Query.const_score_query(way.query, way.worth) for way in ways]
    return scored[0] if len(scored) == 1 else Query.disjunction_max_query(scored)
