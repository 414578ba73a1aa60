"""What somebody typed, taken apart: words, "phrases" and field:word, each with + (it must be) or - (it must not).

    the matrix            both words, in any order; the last may be a beginning
    "star wars"           these words, one after the other
    person:nolan          a word of a name
    year:1994, year:1990-1999, kind:series, genre:"science fiction"
    dune -1984            dune, but not 1984

A hyphen within a word, a colon behind it that a space follows, and all other punctuation mean nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum

from reelmesh.discovery import analysis, documents
from reelmesh.discovery.errors import QueryInvalid, QueryTooLong
from reelmesh.discovery.model import MAX_QUERY_LENGTH

MAX_WORDS = 24
"""Words of a query at most: nobody types more, and each is looked up in all fields."""
MAX_YEARS = 200
"""Years of a span at most."""
FIELDS = frozenset({"title", "person", "genre", "tag", "year", "kind"})
_TOKEN = re.compile(r'\s*(?P<sign>[+-](?=[^\s+-]))?(?:(?P<field>[a-z]+):(?=\S))?(?P<value>"|[^\s"]+)')
_YEARS = re.compile(r"(\d{4})(?:-(\d{4}))?")


class Sign(Enum):
    """How a clause counts."""

    WANTED = ""
    """It is expected, but may be given up where nothing has everything."""
    REQUIRED = "+"
    EXCLUDED = "-"


@dataclass(frozen=True, slots=True)
class Clause:
    """A piece of a query."""

    words: tuple[analysis.Token, ...]
    """Folded; one, or several that follow one another."""
    field: str = ""
    """Of FIELDS; empty for all."""
    sign: Sign = Sign.WANTED
    prefix: bool = False
    """Whether the word may be a beginning: the last one that was typed."""
    values: tuple[str, ...] = ()
    """What years or kinds are meant, in place of words."""
    phrase: bool = False
    """Whether it stood in quotes."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A query taken apart."""

    clauses: tuple[Clause, ...]

    @property
    def plain(self) -> bool:
        """Whether it is of words alone, in the way that people talk."""
        return all(not each.field and not each.phrase and each.sign is Sign.WANTED for each in self.clauses)

    @property
    def text(self) -> str:
        """What was typed, folded, as the name of a title would be; empty where it is more than words."""
        return _whole(self.clauses) if self.plain else ""


def parse(text: str) -> Parsed:
    """Take a query apart. Raises QueryTooLong and QueryInvalid.

    An empty query has no clauses: it means everything.
    """
    if len(text) > MAX_QUERY_LENGTH:
        raise QueryTooLong(f"a query has at most {MAX_QUERY_LENGTH} characters, this one {len(text)}")
    clauses: list[Clause] = []
    at, count = 0, 0
    while match := _TOKEN.match(text, at):
        found, at = _clauses(text, match)
        count += sum(max(len(each.words), 1) for each in found)
        if count > MAX_WORDS:
            raise QueryInvalid(f"a query has at most {MAX_WORDS} words", match.start("value"))
        clauses += found
    if text.strip() and not clauses:
        raise QueryInvalid("there is no word in the query", len(text) - len(text.lstrip()))
    if clauses and all(each.sign is Sign.EXCLUDED for each in clauses):
        raise QueryInvalid("the query says only what must not be there", len(text) - len(text.lstrip()))
    if clauses and not text[-1].isspace():
        clauses[-1] = _maybe_prefix(clauses[-1])
    return Parsed(tuple(clauses))


def _clauses(text: str, match: re.Match[str]) -> tuple[list[Clause], int]:
    """Return the clauses of a token, and where the next one begins."""
    sign = Sign(match["sign"] or "")
    value, start, end = match["value"], match.start("value"), match.end()
    quoted = value == '"'
    if quoted:
        end = text.find('"', start + 1)
        if end < 0:
            raise QueryInvalid("a quote is not closed", start)
        value, start, end = text[start + 1 : end], start + 1, end + 1
    field = match["field"] or ""
    if field and field not in FIELDS:
        if value.startswith("//"):  # an address, pasted
            field = ""
        else:
            known = ", ".join(sorted(FIELDS))
            raise QueryInvalid(f"there is no field {field!r}, but {known}", match.start("field"))
    if field in {"year", "kind"}:
        return [Clause((), field, sign, values=_values(field, value, start))], end
    if not quoted and value.endswith(":") and value[:-1] in FIELDS:
        raise QueryInvalid(f"a word is missing behind {value}", end)
    words = analysis.tokens(value)
    if not words:
        if field or quoted or sign is not Sign.WANTED:
            raise QueryInvalid("a word is missing", start)
        return [], end
    if quoted:
        return [Clause(words, field, sign, phrase=True)], end
    runs = _runs(words)
    return [Clause(run, field, sign) for run in runs], end


def _runs(words: tuple[analysis.Token, ...]) -> list[tuple[analysis.Token, ...]]:
    """Return words one by one, but pairs of characters that overlap together: they are one word of their language."""
    runs: list[tuple[analysis.Token, ...]] = []
    for word in words:
        if runs and runs[-1][-1].end > word.start:
            runs[-1] = (*runs[-1], word)
        else:
            runs.append((word,))
    return runs


def _values(field: str, value: str, position: int) -> tuple[str, ...]:
    if field == "kind":
        kinds = sorted(documents.KINDS.values())
        if value.lower() not in kinds:
            raise QueryInvalid(f"there is no kind {value!r}, but {', '.join(kinds)}", position)
        return (value.lower(),)
    match = _YEARS.fullmatch(value)
    if not match:
        raise QueryInvalid(f"{value!r} is no year, nor a span such as 1990-1999", position)
    first, last = int(match[1]), int(match[2] or match[1])
    if not first <= last < first + MAX_YEARS:
        raise QueryInvalid(f"{value!r} is no span of at most {MAX_YEARS} years", position)
    return tuple(str(year) for year in range(first, last + 1))


def _maybe_prefix(clause: Clause) -> Clause:
    return replace(clause, prefix=len(clause.words) == 1 and not clause.phrase and clause.sign is not Sign.EXCLUDED)


def _whole(clauses: tuple[Clause, ...]) -> str:
    return " ".join(word.text for clause in clauses for word in clause.words)
