"""In which ways a word of a query matches, and what each is worth.

A way is worth a constant, by where the word stands and how it is written there, times how rare it is there: its inverse
document frequency.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

from tantivy import Occur, Query, Schema, Searcher

from reelmesh.discovery import analysis
from reelmesh.discovery.documents import GENRE_MARK, TAG_MARK
from reelmesh.discovery.parsing import Clause

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
LANGUAGES = 20
"""Languages whose stems are looked for at most."""
FUZZY_LENGTH, FUZZIER_LENGTH = 4, 8
"""Letters of a word from which one, and two, of them may be wrong."""
FUZZY_WORDS, FUZZIER_WORDS = 8, 4
"""Words of a query that may be misspelt, and those that may be misspelt twice."""
FUZZY_RARITY = 1e-4
"""Share of titles that are taken to have what a misspelt word means."""
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
        # To a tenth: a title that was indexed anew is counted twice for a while, and that must not change an order.
        return max(0.1, round(math.log(1 + (total - min(titles, total) + 0.5) / (titles + 0.5)), 1))

    def beginning_rarity(self, field: str, prefix: str) -> float:
        """Return the inverse document frequency of all words that begin so; 0 where none does."""
        found = self.searcher.terms_with_prefix(field, prefix, limit=_PREFIX_TERMS)
        return self.of_share(sum(titles for _, titles in found)) if found else 0.0

    def stems(self, lower: str) -> list[str]:
        """Return what a word's stem may be, by language, each once; the viewer's language first."""
        return list(dict.fromkeys(analysis.stem(lower, each) for each in self.order()))

    def order(self) -> list[str]:
        """Return languages whose stems are looked for, the viewer's first."""
        return [self.language, *sorted(self.languages - {self.language})][:LANGUAGES]


@dataclass(frozen=True, slots=True)
class Way:
    """One way in which a word matches."""

    query: Query
    worth: float


def misspelt(length: int, at: int) -> int:
    """Return how many letters of a query's word may be wrong, by its length and its place in the query."""
    if length >= FUZZIER_LENGTH and at < FUZZIER_WORDS:
        return 2
    return 1 if length >= FUZZY_LENGTH and at < FUZZY_WORDS else 0


def ways_of(clause: Clause, lexicon: Lexicon, level: Level, at: int) -> list[Way]:
    """Return the ways in which a clause matches at a level; `at` is its place in the query."""
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
        ways += term("people", clause.words[0].text, lexicon, PEOPLE)
    if not clause.field:
        ways += _told_ways(clause, lexicon)
    if clause.prefix:
        ways += _beginnings(clause, lexicon)
    if level > Level.STRICT and not clause.phrase:
        ways += _misspelt_ways(clause, lexicon, at)
    return ways


def known(clause: Clause, lexicon: Lexicon) -> float:
    """Return what the word is worth as it was typed, in titles and names; 0 where it stands in none."""
    ways = _title_ways(clause, lexicon) if clause.field in {"", "title"} else []
    if clause.field in {"", "person"}:
        ways += term("people", clause.words[0].text, lexicon, PEOPLE)
    if clause.prefix:
        ways += _beginnings(clause, lexicon)
    return max((way.worth for way in ways), default=0.0)


def term(field: str, word: str, lexicon: Lexicon, worth: float) -> list[Way]:
    """Return the way of a term; none where no title has it, so that nothing is worth what cannot be."""
    if not lexicon.searcher.doc_freq(field, word):
        return []
    query = Query.term_query(lexicon.schema, field, word, "basic")
    return [Way(query, worth * lexicon.rarity(field, word))]


def _title_ways(clause: Clause, lexicon: Lexicon) -> list[Way]:
    word = clause.words[0]
    ways = term("title", word.text, lexicon, TITLE)
    if not clause.phrase:
        ways += [way for each in lexicon.stems(word.lower) for way in term("stem", each, lexicon, STEM)]
    return ways


def _told_ways(clause: Clause, lexicon: Lexicon) -> list[Way]:
    word = clause.words[0]
    stems = lexicon.stems(word.lower)
    if word.text not in stems:
        stems.append(word.text)
    ways = [way for each in stems for way in term("text", each, lexicon, TEXT)]
    if not clause.phrase:
        ways += term("label", word.text, lexicon, LABEL)
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
    typed = known(clause, lexicon)
    rarity = typed or lexicon.of_share(FUZZY_RARITY * lexicon.searcher.num_docs)
    # A beginning of something is no misspelt beginning of something else.
    prefix = clause.prefix and not typed
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
    found = (tuple(analysis.stem(word.lower, each) for word in clause.words) for each in lexicon.order())
    return list(dict.fromkeys(found))
