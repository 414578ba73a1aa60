"""Where in what a viewer is shown the words of their query stand.

The index says that a title was found, not where: it looks at all languages, the viewer sees one. So the texts on a
page, a few at a time, are compared with the query here, by the same rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.discovery import analysis
from reelmesh.discovery.localization import localization
from reelmesh.discovery.misspelling import alike
from reelmesh.discovery.parsing import Clause, Parsed, Sign
from reelmesh.discovery.planning import is_small
from reelmesh.discovery.v1.discovery_service_pb2 import SearchResponse
from reelmesh.discovery.ways import misspelt

PIECE = 240
"""Characters of a synopsis that are shown at most…"""
BEFORE = 60
"""…and so many of them before its first word that was found."""
PEOPLE = 5
"""People that are shown at most."""

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Word:
    """A word that is looked for."""

    text: str
    lower: str
    stems: frozenset[str]
    prefix: bool
    distance: int
    fields: frozenset[str]


class Highlighter:
    """Finds a query's words in texts."""

    def __init__(self, parsed: Parsed, languages: Iterable[str], forgiving: bool) -> None:
        """`languages` are those whose stems were looked for; `forgiving` says that words may be misspelt."""
        bases = frozenset(languages)
        clauses = [each for each in parsed.clauses if each.sign is not Sign.EXCLUDED]
        telling = [each for each in clauses if each.prefix or not is_small(each, bases)]
        self._words = [
            word for at, clause in enumerate(telling or clauses) for word in _words(clause, at, bases, forgiving)
        ]

    def of(self, title: Title, language: str) -> list[SearchResponse.Highlight]:
        """Return where the words stand in a title's texts in the viewer's language, and in names of people."""
        told = localization(title, language)
        base = analysis.base_language(told.language)
        texts = [("title", told.title), ("synopsis", told.synopsis)]
        texts += [("person", each) for each in dict.fromkeys(each.person for each in title.credits)]
        missing = list(self._words)
        found: list[list[Range]] = []
        for field, text in texts:
            words = [each for each in self._words if field in each.fields]
            hits = _matches(text, words, base if field != "person" else None) if words else []
            missing = [each for each in missing if all(each is not word for _, word in hits)]
            found.append([place for place, _ in hits])
        doubtful = [each for each in missing if each.distance]
        if doubtful:
            # Misspelt words are looked for only where they stand nowhere as they were typed.
            for ranges, (field, text) in zip(found, texts, strict=True):
                words = [each for each in doubtful if field in each.fields and field != "synopsis"]
                ranges += [(token.start, token.end) for token in analysis.tokens(text) if _alike(token, words)]
        return _shown(texts, found)


def _words(clause: Clause, at: int, languages: Iterable[str], forgiving: bool) -> list[_Word]:
    fields = {"": {"title", "synopsis", "person"}, "title": {"title"}, "person": {"person"}}.get(clause.field, set())
    distance_allowed = forgiving and not clause.phrase and len(clause.words) == 1
    return [
        _Word(
            word.text,
            word.lower,
            frozenset(analysis.stem(word.lower, each) for each in languages) | {word.text},
            clause.prefix,
            misspelt(len(word.text), at) if distance_allowed else 0,
            frozenset(fields),
        )
        for word in clause.words
    ]


def _matches(text: str, words: Sequence[_Word], language: str | None) -> list[tuple[Range, _Word]]:
    """Return where words stand in a text, and which; in a language, without which stems do not count."""
    found: list[tuple[Range, _Word]] = []
    for token in analysis.tokens(text):
        stem = analysis.stem(token.lower, language) if language is not None else ""
        for word in words:
            if token.text == word.text or stem in word.stems:
                found.append(((token.start, token.end), word))
                break
            if word.prefix and token.text.startswith(word.text):
                shorter = analysis.is_run(token.text)  # the character that was typed, of a pair
                found.append(((token.start, token.start + len(word.text) if shorter else token.end), word))
                break
    return found


def _alike(token: analysis.Token, words: Sequence[_Word]) -> bool:
    return any(word.distance and alike(word.text, token.text, word.distance, word.prefix) for word in words)


def _merged(ranges: Sequence[Range]) -> list[Range]:
    """Return ranges without overlaps: pairs of characters overlap."""
    merged: list[Range] = []
    for start, end in sorted(ranges):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _shown(texts: Sequence[tuple[str, str]], found: Sequence[Sequence[Range]]) -> list[SearchResponse.Highlight]:
    shown: list[SearchResponse.Highlight] = []
    people = 0
    for (field, text), ranges in zip(texts, found, strict=True):
        if not ranges or (field == "person" and people == PEOPLE):
            continue
        people += field == "person"
        merged = _merged(ranges)
        shown.append(_piece(text, merged) if field == "synopsis" else _highlight(field, text, merged))
    return shown


def _highlight(field: str, text: str, ranges: Sequence[Range]) -> SearchResponse.Highlight:
    made = SearchResponse.Highlight(field=field, text=text)
    for start, end in ranges:
        made.ranges.add(start=start, end=end)
    return made


def _piece(text: str, ranges: Sequence[Range]) -> SearchResponse.Highlight:
    """Return the piece of a text with the first range in it, cut between words."""
    if len(text) <= PIECE:
        return _highlight("synopsis", text, ranges)
    start = max(min(ranges[0][0] - BEFORE, len(text) - PIECE), 0)
    if start:
        space = text.find(" ", start, ranges[0][0])
        start = space + 1 if space >= 0 else start
    end = min(start + PIECE, len(text))
    if end < len(text):
        space = text.rfind(" ", ranges[0][1], end)
        end = space if space >= 0 else max(end, ranges[0][1])
    inside = [(first - start, last - start) for first, last in ranges if last <= end]
    return _highlight("synopsis", text[start:end], inside)
