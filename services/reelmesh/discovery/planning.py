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
from dataclasses import dataclass
from enum import IntEnum

from tantivy import Occur, Query, Schema, Searcher

from reelmesh.discovery import analysis
from reelmesh.discovery.documents import GENRE_MARK, TAG_MARK
from reelmesh.discovery.parsing import Clause, Parsed, Sign
from reelmesh.discovery.ranking import EXACT_RATIO

TITLE = 1.0
STEM = 0.85
PREFIX = 0.8
PEOPLE = 0.9
PEOPLE_PREFIX = 0.7
FUZZY = (0.45, 0.3)
"""A title's word at a distance of one, and of two: so little that no popularity carries it past a word typed
rightly."""
PEOPLE_FUZZY = (0.4, 0.25)
LABEL = 0.6
TEXT = 0.3
"""What ways to match are worth: a title's word most, one that is only told about it least."""
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
LANGUAGES = 20
"""Languages whose stems are looked for at most."""
FUZZY_LENGTH, FUZZIER_LENGTH = 4, 8
"""Letters of a word from which one, and two, of them may be wrong."""
FUZZY_WORDS, FUZZIER_WORDS = 8, 4
"""Words of a query that may be misspelt, and those that may be misspelt twice."""
FUZZY_TEXT = 64
"""Characters up to which all of what was typed may be a name, misspelt."""
FUZZY_RARITY = 1e-4
"""Share of titles that are taken to have what a misspelt word means."""
KEPT_SHARE = 0.6
"""Share of the words that a title must have at the last level."""
_PREFIX_TERMS = 1000


class Level(IntEnum):
    """How much is forgiven."""

    STRICT = 0
    FUZZY = 1
    RELAXED = 2


@dataclass(frozen=True, slots=True)
class Lexicon:
    """What is known of the words of all titles."""

    schema: Schema
    searcher: Searcher
    languages: frozenset[str]
    """That any title has texts in."""
    language: str
    """The viewer's, without region."""

    def rarity(self, field: str, term: str) -> float:
        """Return the inverse document frequency of a term."""
        return self.of_share(self.searcher.doc_freq(field, term))

    def of_share(self, titles: float) -> float:
        """Return the inverse document frequency of what so many titles have."""
        total = max(self.searcher.num_docs, 1)
        return math.log(1 + (total - min(titles, total) + 0.5) / (titles + 0.5))

    def beginning_rarity(self, field: str, prefix: str) -> float:
        """Return the inverse document frequency of all words that begin so; 0 where none does."""
        found = self.searcher.terms_with_prefix(field, prefix, limit=_PREFIX_TERMS)
        return self.of_share(sum(titles for _, titles in found)) if found else 0.0

    def stems(self, lower: str) -> list[str]:
        """Return what a word's stem may be, by language, each once; the viewer's language first."""
        order = [self.language, *sorted(self.languages - {self.language})][:LANGUAGES]
        return list(dict.fromkeys(analysis.stem(lower, each) for each in order))


@dataclass(frozen=True, slots=True)
class Way:
    """One way in which a word matches."""

    query: Query
    worth: float


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
            for way in _term("title", clause.words[0].text, lexicon, TITLE):
                worth += way.worth
                clauses.append((Occur.Should, _best_of([way])))
            continue
        ways = _ways(clause, lexicon, Level.STRICT if clause.sign is Sign.EXCLUDED else level, at)
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


def misspelt(length: int, at: int) -> int:
    """Return how many letters of a query's word may be wrong, by its length and its place in the query."""
    if length >= FUZZIER_LENGTH and at < FUZZIER_WORDS:
        return 2
    return 1 if length >= FUZZY_LENGTH and at < FUZZY_WORDS else 0


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
    if distance and any(len(each.words) == 1 and not _known(each, lexicon) for each in parsed.clauses):
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


def _ways(clause: Clause, lexicon: Lexicon, level: Level, at: int) -> list[Way]:
    if clause.values:
        return [Way(Query.term_set_query(lexicon.schema, clause.field, list(clause.values)), LABEL)]
    if clause.field in {"genre", "tag"}:
        return [_labels(clause, lexicon)]
    if len(clause.words) > 1:
        return _phrases(clause, lexicon)
    ways: list[Way] = []
    if clause.field in {"", "title"}:
        ways += _title_ways(clause, lexicon)
    if clause.field in {"", "person"}:
        ways += _term("people", clause.words[0].text, lexicon, PEOPLE)
    if not clause.field:
        ways += _told_ways(clause, lexicon)
    if clause.prefix:
        ways += _beginnings(clause, lexicon)
    if level > Level.STRICT and not clause.phrase:
        ways += _misspelt_ways(clause, lexicon, at)
    return ways


def _known(clause: Clause, lexicon: Lexicon) -> float:
    """Return what the word is worth as it was typed, in titles and names; 0 where it stands in none."""
    ways = _title_ways(clause, lexicon) if clause.field in {"", "title"} else []
    if clause.field in {"", "person"}:
        ways += _term("people", clause.words[0].text, lexicon, PEOPLE)
    if clause.prefix:
        ways += _beginnings(clause, lexicon)
    return max((way.worth for way in ways), default=0.0)


def _term(field: str, term: str, lexicon: Lexicon, worth: float) -> list[Way]:
    """Return the way of a term; none where no title has it, so that nothing is worth what cannot be."""
    if not lexicon.searcher.doc_freq(field, term):
        return []
    query = Query.term_query(lexicon.schema, field, term, "basic")
    return [Way(query, worth * lexicon.rarity(field, term))]


def _title_ways(clause: Clause, lexicon: Lexicon) -> list[Way]:
    word = clause.words[0]
    ways = _term("title", word.text, lexicon, TITLE)
    if not clause.phrase:
        ways += [way for each in lexicon.stems(word.lower) for way in _term("stem", each, lexicon, STEM)]
    return ways


def _told_ways(clause: Clause, lexicon: Lexicon) -> list[Way]:
    word = clause.words[0]
    stems = lexicon.stems(word.lower)
    if word.text not in stems:
        stems.append(word.text)
    ways = [way for each in stems for way in _term("text", each, lexicon, TEXT)]
    if not clause.phrase:
        ways += _term("label", word.text, lexicon, LABEL)
    return ways


def _beginnings(clause: Clause, lexicon: Lexicon) -> list[Way]:
    fields = {"": ("title", "people"), "title": ("title",), "person": ("people",)}[clause.field]
    worth = {"title": PREFIX, "people": PEOPLE_PREFIX}
    text = clause.words[0].text
    rarities = {field: lexicon.beginning_rarity(field, text) for field in fields}
    return [
        Way(Query.fuzzy_term_query(lexicon.schema, field, text, 0, prefix=True), worth[field] * rarity)
        for field, rarity in rarities.items()
        if rarity
    ]


def _misspelt_ways(clause: Clause, lexicon: Lexicon, at: int) -> list[Way]:
    fields = {"": ("title", "people"), "title": ("title",), "person": ("people",)}[clause.field]
    worth = {"title": FUZZY, "people": PEOPLE_FUZZY}
    text = clause.words[0].text
    known = _known(clause, lexicon)
    rarity = known or lexicon.of_share(FUZZY_RARITY * lexicon.searcher.num_docs)
    # A beginning of something is no misspelt beginning of something else.
    prefix = clause.prefix and not known
    return [
        Way(
            Query.fuzzy_term_query(lexicon.schema, field, text, distance, prefix=prefix),
            worth[field][distance - 1] * rarity,
        )
        for distance in range(1, misspelt(len(text), at) + 1)
        for field in fields
    ]


def _labels(clause: Clause, lexicon: Lexicon) -> Way:
    """Return the way of a genre or a tag that has all words; the last that was typed may be a beginning."""
    mark = {"genre": GENRE_MARK, "tag": TAG_MARK}[clause.field]
    queries = [Query.term_query(lexicon.schema, "label", mark + word.text, "basic") for word in clause.words]
    if clause.prefix:
        queries[-1] = Query.fuzzy_term_query(lexicon.schema, "label", mark + clause.words[-1].text, 0, prefix=True)
    return Way(Query.boolean_query([(Occur.Must, query) for query in queries]), LABEL)


def _phrases(clause: Clause, lexicon: Lexicon) -> list[Way]:
    """Return the ways of words that follow one another, in titles, names of people and what is told."""
    words = [word.text for word in clause.words]
    ways: list[Way] = []
    for field, worth in (("title", TITLE), ("people", PEOPLE)):
        if clause.field in {"", {"people": "person"}.get(field, field)}:
            rarity = sum(lexicon.rarity(field, word) for word in words)
            ways.append(Way(Query.phrase_query(lexicon.schema, field, list(words)), worth * rarity))
    if not clause.field:
        for stems in _stemmed(clause, lexicon):
            rarity = sum(lexicon.rarity("text", stem) for stem in stems)
            ways.append(Way(Query.phrase_query(lexicon.schema, "text", list(stems)), TEXT * rarity))
    return ways


def _stemmed(clause: Clause, lexicon: Lexicon) -> list[tuple[str, ...]]:
    order = [lexicon.language, *sorted(lexicon.languages - {lexicon.language})][:LANGUAGES]
    return list(dict.fromkeys(tuple(analysis.stem(word.lower, each) for word in clause.words) for each in order))
