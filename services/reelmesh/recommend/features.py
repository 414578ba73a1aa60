"""What a title is, as numbers: hashed words of its genres, tags, people, kind, decade, language and texts.

A feature is one unsigned number: the field that it comes from in the upper bits, the hash of its word in the lower
ones. Words of different fields never meet; two of one field rarely do (2^20 places).
"""

from __future__ import annotations

import re
import zlib
from array import array
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from reelmesh.catalog.v1.title_pb2 import Title

BITS = 20
"""Of a hash."""
FIELDS = ("genre", "tag", "person", "kind", "decade", "language", "name", "synopsis")
"""Fields, by number."""
WEIGHTS: NDArray[np.float32] = np.array([3.0, 2.0, 2.0, 1.0, 1.0, 0.5, 1.0, 1.0], np.float32)
"""How much a word of each field weighs, before its rarity."""
SIZE = len(FIELDS) << BITS
"""Above all features."""
PEOPLE = 12
WORDS = 24
"""Words of a synopsis that are looked at, besides which it repeats itself."""
_WORD = re.compile(r"\w{3,}")


def features_of(title: Title) -> array[int]:
    """Return the features of a title, each once, in ascending order."""
    return array("I", sorted({_feature(field, word) for field, word in _words(title)}))


def _words(title: Title) -> Iterator[tuple[int, str]]:
    yield from _of("genre", title.genres)
    yield from _of("tag", title.tags)
    yield from _of("person", (credit.person for credit in title.credits[:PEOPLE]))
    yield from _of("kind", [str(title.kind)])
    if title.release_date.year:
        yield from _of("decade", [str(title.release_date.year // 10)])
    if title.original_language:
        yield from _of("language", [title.original_language.partition("-")[0]])
    spoken = {each.language: each for each in title.localizations}
    text = spoken.get(title.original_language) or (title.localizations[0] if title.localizations else None)
    if text is not None:
        yield from _of("name", _WORD.findall(text.title))
        yield from _of("synopsis", list(dict.fromkeys(_WORD.findall(text.synopsis.lower())))[:WORDS])


def _of(field: str, words: Iterable[str]) -> Iterator[tuple[int, str]]:
    number = FIELDS.index(field)
    for word in words:
        yield number, word.lower()


def _feature(field: int, word: str) -> int:
    return field << BITS | zlib.crc32(word.encode()) & ((1 << BITS) - 1)
