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
from reelmesh.discovery.parsing import Clause, Parsed, Sign
from reelmesh.discovery.planning import misspelt
from reelmesh.discovery.v1.discovery_service_pb2 import SearchResponse

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
        bases = list(languages)
        self._words = [
            word
            for at, clause in enumerate(parsed.clauses)
            if clause.sign is not Sign.EXCLUDED
            for word in _words(clause, at, bases, forgiving)
        ]

    def of(self, title: Title, language: str) -> list[SearchResponse.Highlight]:
        """Return where the words stand in a title's texts in the viewer's language, and in names of people."""
        told = localization(title, language)
        found: list[SearchResponse.Highlight] = []
        if ranges := self.ranges("title", told.title, told.language):
            found.append(_highlight("title", told.title, ranges))
        if ranges := self.ranges("synopsis", told.synopsis, told.language):
            found.append(_piece(told.synopsis, ranges))
        people = 0
        for person in dict.fromkeys(each.person for each in title.credits):
            if people < PEOPLE and (ranges := self.ranges("person", person, "")):
                found.append(_highlight("person", person, ranges))
                people += 1
        return found

    def ranges(self, field: str, text: str, language: str) -> list[Range]:
        """Return where words stand in a text, in code points, in their order and none within another."""
        words = [each for each in self._words if field in each.fields]
        if not words or not text:
            return []
        found = analysis.tokens(text)
        sure = [hit for token in found if (hit := _match(token, words, language, field == "person"))]
        if not sure:
            sure = [(token.start, token.end) for token in found if _alike(token, words)]
        return _merged(sure)


def within(left: str, right: str, most: int) -> bool:
    """Say whether at most `most` letters have to be changed, added, left out or exchanged with the next one."""
    if abs(len(left) - len(right)) > most:
        return False
    before: list[int] = []
    row = list(range(len(right) + 1))
    for at, letter in enumerate(left, 1):
        before, last, row = row, before, [at]
        for to, other in enumerate(right, 1):
            cost = min(before[to] + 1, row[to - 1] + 1, before[to - 1] + (letter != other))
            if at > 1 and to > 1 and letter == right[to - 2] and left[at - 2] == other:
                cost = min(cost, last[to - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return False
    return row[-1] <= most


def _words(clause: Clause, at: int, languages: Sequence[str], forgiving: bool) -> list[_Word]:
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


def _match(token: analysis.Token, words: Sequence[_Word], language: str, name: bool) -> Range | None:
    for word in words:
        if token.text == word.text:
            return (token.start, token.end)
        if not name and analysis.stem(token.lower, language) in word.stems:
            return (token.start, token.end)
        if word.prefix and token.text.startswith(word.text):
            shorter = analysis.is_run(token.text)  # the character that was typed, of a pair
            return (token.start, token.start + len(word.text) if shorter else token.end)
    return None


def _alike(token: analysis.Token, words: Sequence[_Word]) -> bool:
    for word in words:
        if not word.distance:
            continue
        if within(token.text, word.text, word.distance):
            return True
        if word.prefix and any(
            within(token.text[: len(word.text) + more], word.text, word.distance)
            for more in range(-word.distance, word.distance + 1)
        ):
            return True
    return False


def _merged(ranges: Sequence[Range]) -> list[Range]:
    """Return ranges without overlaps: pairs of characters overlap."""
    merged: list[Range] = []
    for start, end in ranges:
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


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
