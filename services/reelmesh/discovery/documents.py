"""What of a title is indexed, and how.

A field has one purpose; what it holds stands beside it. Everything that a query filters by is a term. What answers are
made of is the title itself, stored as it came.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from tantivy import Document, Schema, SchemaBuilder, TextAnalyzerBuilder, Tokenizer
from tantivy import Index as TantivyIndex

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.discovery import analysis, availability
from reelmesh.discovery.localization import localization

SCHEMA_VERSION = 1
"""Counts changes of what is indexed, or how: an index of another version is to be built anew."""

KINDS = {
    Title.KIND_FILM: "film",
    Title.KIND_SERIES: "series",
    Title.KIND_SEASON: "season",
    Title.KIND_EPISODE: "episode",
    Title.KIND_EXTRA: "extra",
    Title.KIND_COLLECTION: "collection",
}
"""Kinds as facets name them."""
AUDIENCES = (Title.AUDIENCE_EVERYONE, Title.AUDIENCE_SIGNED_IN, Title.AUDIENCE_MEMBERS)
"""Audiences, each of which finds what the ones before it do."""
POPULARITY_UNIT = 1_000_000
"""The most popular title's popularity in documents."""
KEY_SEPARATOR = "\x1f"
"""Between what a completion is looked up by and what it is."""
GENRE_MARK, TAG_MARK = "g|", "t|"
"""Before words of genres and tags, to find them as one or the other."""
SORT_KEYS = ("a", "b", "c")
"""Pieces of a name, of SORT_BYTES each, that titles are sorted by."""
SORT_BYTES = 7
_NO_EDGE = 1 << 62
_KEYED_WORDS = 5
"""Words of a person's name that it is completed from."""
_TOKENIZER = "words"

_TEXT_FIELDS = {
    "title": "position",  # words of the title in all languages, and compounds as one word
    "stem": "basic",  # stems of those, each in its language
    "own": "basic",  # the same with the language before them: "de|haus"
    "text": "position",  # stems of synopsis and description in all languages; whom actors play
    "people": "position",  # words of the names of people
    "where": "basic",  # see availability.where_terms, as of its indexing
    "age": "basic",  # see availability.age_terms
    "label": "basic",  # words of genres and tags, and each once more with its mark before it
}
"""Fields of words, and what is kept of each."""
_TERM_FIELDS = (
    "name",  # the title's resource name
    "video",  # name of the video
    "parent",  # name of the title that it is part of
    "member",  # names of a collection's titles
    "scope",  # "{organization}/{audience}" for each audience that finds it
    "exact",  # the whole title, folded, in each language; and without the article that it begins with
    "key",  # "hanks␟Tom Hanks": people and genres, by each of their words
    "told",  # languages that it has texts in
)
"""Fields of whole terms."""
FACET_FIELDS = ("kind", "genre", "tag", "person", "language", "decade", "year")
"""Fields of whole terms that are counted."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a document says of a title beside the title."""

    ordinal: int
    """Place of the title in the table and among the vectors."""
    prior: float
    """What its relevance is multiplied with, whatever is looked for: see ranking.py."""
    popularity: int
    """Popularity, in millionths of the most popular title's."""
    now: float
    """As of when it is available, seconds since 1970."""


def schema() -> Schema:
    """Return the schema of SCHEMA_VERSION."""
    builder = SchemaBuilder()
    for name, kept in _TEXT_FIELDS.items():
        builder.add_text_field(name, tokenizer_name=_TOKENIZER, index_option=kept)
    for name in _TERM_FIELDS:
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    for name in FACET_FIELDS:
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic", fast=True)
    builder.add_unsigned_field("ordinal", indexed=True, fast=True)
    builder.add_unsigned_field("revision", fast=True)
    builder.add_unsigned_field("popularity", fast=True)
    builder.add_float_field("prior", fast=True)
    builder.add_integer_field("published", fast=True)
    builder.add_integer_field("edge", fast=True)
    builder.add_unsigned_field("number", fast=True)
    builder.add_json_field("sort", fast=True, tokenizer_name="raw", index_option="basic")
    builder.add_bytes_field("stored", stored=True)
    return builder.build()


def register(index: TantivyIndex) -> None:
    """Tell an index how its texts are cut into words: they come cut."""
    index.register_tokenizer(_TOKENIZER, TextAnalyzerBuilder(Tokenizer.whitespace()).build())


def document(title: Title, standing: Standing) -> Document:
    """Return what is indexed of a title."""
    made = Document()
    made.add_text("name", title.name)
    if title.video:
        made.add_text("video", title.video)
    if title.parent_title:
        made.add_text("parent", title.parent_title)
    for member in title.members:
        made.add_text("member", member)
    _add_filters(made, title, standing)
    _add_facets(made, title)
    _add_texts(made, title)
    _add_people(made, title)
    made.add_unsigned("ordinal", standing.ordinal)
    made.add_unsigned("revision", title.revision)
    made.add_unsigned("popularity", standing.popularity)
    made.add_float("prior", standing.prior)
    made.add_integer("published", int(published(title)))
    made.add_integer("edge", edge_number(availability.next_edge(availability.windows(title), standing.now)))
    made.add_unsigned("number", title.number)
    made.add_json("sort", _sort_keys(title))
    made.add_bytes("stored", title.SerializeToString())
    return made


def edge_number(edge: float) -> int:
    """Return an edge, seconds since 1970 or NEVER, as it is written down: milliseconds."""
    return _NO_EDGE if math.isinf(edge) else math.floor(edge * 1000)


def edge_of(number: int) -> float:
    """Return the edge that was written down."""
    return availability.NEVER if number >= _NO_EDGE else number / 1000


def scope(organization: str, audience: int) -> str:
    """Return the term of what an audience of an organization finds."""
    return f"{organization}/{audience}"


def published(title: Title) -> float:
    """Return since when a title may have been found, seconds since 1970: since it was made, or its first window."""
    starts = [each.start for each in availability.windows(title)]
    first = min(starts, default=-availability.NEVER)
    made = title.create_time.ToNanoseconds() / 1e9
    return max(made, first)


def organization_of(name: str) -> str:
    """Return the organization of a resource's name."""
    return name.split("/", 2)[1]


def sort_text(title: Title, language: str) -> str:
    """Return what a title is sorted by in a language."""
    told = localization(title, language)
    return analysis.fold(told.sort_title or told.title).strip()


def _add_filters(made: Document, title: Title, standing: Standing) -> None:
    if title.state == Title.STATE_PUBLISHED:
        for audience in AUDIENCES:
            if audience >= title.audience:
                made.add_text("scope", scope(organization_of(title.name), audience))
    where = availability.where_terms(availability.windows(title), standing.now)
    if where:
        made.add_text("where", " ".join(where))
    made.add_text("age", " ".join(availability.age_terms(title.age_ratings)))


def _add_facets(made: Document, title: Title) -> None:
    made.add_text("kind", KINDS.get(title.kind, ""))
    for genre in title.genres:
        made.add_text("genre", genre)
        for start in _word_starts(genre):
            made.add_text("key", f"{start}{KEY_SEPARATOR}{KEY_SEPARATOR}{genre}")
    for tag in title.tags:
        made.add_text("tag", tag)
    if title.original_language:
        made.add_text("language", title.original_language)
    if title.release_date.year:
        made.add_text("year", str(title.release_date.year))
        made.add_text("decade", str(title.release_date.year // 10 * 10))
    genres, tags = analysis.words(" ".join(title.genres)), analysis.words(" ".join(title.tags))
    if genres or tags:
        marked = [GENRE_MARK + each for each in genres] + [TAG_MARK + each for each in tags]
        made.add_text("label", " ".join([*genres, *tags, *marked]))


def _add_texts(made: Document, title: Title) -> None:
    exact: set[str] = set()
    texts: list[str] = [each.character for each in title.credits if each.character]
    told_text = [" ".join(analysis.words(" ".join(texts)))] if texts else []
    for each in title.localizations:
        language = analysis.base_language(each.language)
        found = analysis.words(each.title)
        whole = " ".join(found)
        if whole and whole not in exact:
            # A text of its own for each language: phrases do not reach from one into another.
            made.add_text("title", whole)
            exact.update((whole, _without_article(found, language)))
            for compound in analysis.joined(each.title):
                made.add_text("title", compound)
        stemmed = analysis.stems(each.title, language)
        if stemmed:
            made.add_text("stem", " ".join(stemmed))
            made.add_text("own", " ".join(f"{language}|{stem}" for stem in stemmed))
        told_text.append(" ".join(analysis.stems(f"{each.synopsis}\n{each.description}", language)))
        made.add_text("told", language)
    for whole in sorted(exact):
        made.add_text("exact", whole)
    for each_text in told_text:
        if each_text:
            made.add_text("text", each_text)


def _add_people(made: Document, title: Title) -> None:
    for person in dict.fromkeys(each.person for each in title.credits):
        made.add_text("person", person)
        starts = _word_starts(person)
        if starts:
            made.add_text("people", starts[0])
        for start in starts:
            made.add_text("key", f"{start}{KEY_SEPARATOR}{person}")


@functools.lru_cache(maxsize=20_000)
def _word_starts(text: str) -> tuple[str, ...]:
    """Return what is left of a text from each of its words on."""
    found = analysis.words(text)[:_KEYED_WORDS]
    return tuple(" ".join(found[at:]) for at in range(len(found)))


def _without_article(found: list[str], language: str) -> str:
    if len(found) > 1 and analysis.is_small(found[0], frozenset({language})):
        return " ".join(found[1:])
    return " ".join(found)


def _sort_keys(title: Title) -> dict[str, dict[str, int]]:
    """Return numbers that sort as a title's names do, by language, and "original"."""
    keys = {"original": _numbers(sort_text(title, ""))}
    for each in title.localizations:
        language = analysis.base_language(each.language)
        if language not in keys:
            keys[language] = _numbers(sort_text(title, language))
    return keys


def _numbers(text: str) -> dict[str, int]:
    raw = text.encode()[: SORT_BYTES * len(SORT_KEYS)].ljust(SORT_BYTES * len(SORT_KEYS), b"\0")
    return {key: int.from_bytes(raw[at * SORT_BYTES : (at + 1) * SORT_BYTES]) for at, key in enumerate(SORT_KEYS)}
