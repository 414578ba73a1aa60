"""From text to the words that are looked for: folding, stemming, and pairs of characters where no space parts words.

A text is looked at in two ways. Its *words* are folded (lower case, no diacritics), whatever the language: names,
prefixes and misspelt words are found by them. Its *stems* are what the language's stemmer makes of the words, folded
afterwards, because stemmers live on diacritics. Scripts that write no spaces (Han, kana, Hangul, Thai, Lao, Khmer,
Burmese) are cut into pairs of neighboring characters in both.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tantivy import Filter, TextAnalyzer, TextAnalyzerBuilder, Tokenizer

STEMMERS = {
    "ar": "arabic",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "hu": "hungarian",
    "it": "italian",
    "nb": "norwegian",
    "nl": "dutch",
    "nn": "norwegian",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
}
"""Languages (BCP 47, without region) that tantivy has a stemmer (Snowball) for; words of others are left as they
are."""
STOP_LISTS = frozenset(STEMMERS.values()) - {"arabic", "greek", "romanian", "tamil", "turkish"}
"""Stemmed languages that tantivy knows the smallest words of."""
MAX_WORD = 64
"""Characters of a word that count: what is longer is no word."""

_MARKS = "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
"""Diacritics, points and vowel signs that may be left out."""
_INNER = _MARKS + "\u0900-\u0963\u0966-\u0dff\u0e00-\u0eff\u1000-\u109f\u1780-\u17dd\u3099\u309a"
"""Signs within words that are no letters by themselves."""
_RUN = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17dd\u3005-\u3007\u3040-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
)
"""Scripts without spaces."""
# An apostrophe is part of a word before at most two letters ("ocean's", "they're"), and parts words elsewhere
# ("l'eau").
_WORD = re.compile(rf"(?:[^\W_]|[{_INNER}])+(?:['\u2019](?:[a-z]{{1,2}})(?![^\W_]))?", re.IGNORECASE)
_APOSTROPHE = re.compile("['\u2019]")
_HAS_RUN = re.compile(f"[{_RUN}]")
_PIECE = re.compile(f"[{_RUN}]+|[^{_RUN}]+")
_MARK = re.compile(f"[{_MARKS}]")
_LETTERS = str.maketrans(
    {
        "ß": "ss",
        "æ": "ae",
        "œ": "oe",
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "\u0131": "i",
        "ħ": "h",
        "ς": "\u03c3",
    }
)
"""Letters that Unicode does not take apart."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word in a text."""

    text: str
    """The word, folded."""
    lower: str
    """The word in lower case, with its diacritics: what stemmers take."""
    start: int
    """Its first character in the text, in code points."""
    end: int
    """The one behind its last."""


def fold(text: str) -> str:
    """Return a text in lower case and without diacritics."""
    lower = text.lower()
    if lower.isascii():
        return lower
    apart = unicodedata.normalize("NFKD", lower.translate(_LETTERS))
    return unicodedata.normalize("NFC", _MARK.sub("", apart))


def base_language(language: str) -> str:
    """Return a language without its region and script: "pt" of "pt-BR"."""
    return language.split("-", 1)[0].lower()


def words(text: str) -> list[str]:
    """Return the folded words of a text, in their order."""
    return _cut(fold(text))


def stems(text: str, language: str) -> list[str]:
    """Return the stems of a text's words in a language (BCP 47), or the words where it has no stemmer; in order."""
    analyzer = _stemmer(base_language(language))
    if analyzer is None:
        return words(text)
    found = analyzer.analyze(" ".join(_cut(text.lower())))
    return [each if each.isascii() else fold(each) for each in found]


@functools.lru_cache(maxsize=100_000)
def stem(lower: str, base: str) -> str:
    """Return the stem of a word in lower case in a language without region."""
    analyzer = _stemmer(base)
    found: Sequence[str] = analyzer.analyze(lower) if analyzer else ()
    return fold(found[0]) if found else fold(lower)


@functools.lru_cache(maxsize=8192)
def tokens(text: str) -> tuple[Token, ...]:
    """Return the words of a text, each with where it stands; of scripts without spaces the pairs of characters."""
    found: list[Token] = []
    for match in _WORD.finditer(text):
        word, at = match.group(), match.start()
        if word.isascii() and "'" not in word:
            lower = word.lower()[:MAX_WORD]
            found.append(Token(lower, lower, at, at + len(word)))
            continue
        for piece, start in _pieces(word, at):
            lower = _APOSTROPHE.sub("", piece.lower())[:MAX_WORD]
            folded = fold(lower)
            if folded:
                found.append(Token(folded, lower, start, start + len(piece)))
    return tuple(found)


def joined(text: str) -> list[str]:
    """Return compounds that are written with hyphens as one word each: "spiderman" of "Spider-Man"."""
    if "-" not in text:
        return []
    return ["".join(words(each)) for each in re.findall(r"[^\W_]+(?:-[^\W_]+)+", text)]


def exact(text: str) -> str:
    """Return what is left of a title when case, diacritics and punctuation do not matter."""
    return " ".join(words(text))


def is_run(word: str) -> bool:
    """Say whether a word is of a script without spaces."""
    return _HAS_RUN.match(word) is not None


@functools.lru_cache(maxsize=50_000)
def is_small(lower: str, languages: frozenset[str]) -> bool:
    """Say whether a word in lower case is one of the smallest of a language, such as an article."""
    return any(not _stop(STEMMERS[each]).analyze(lower) for each in languages if STEMMERS.get(each) in STOP_LISTS)


def _cut(text: str) -> list[str]:
    found = _WORD.findall(text)
    if "'" in text or "\u2019" in text:
        found = [_APOSTROPHE.sub("", each) for each in found]
    if not text.isascii() and _HAS_RUN.search(text):
        found = [piece for each in found for piece, _ in _pieces(each, 0)]
    return [each[:MAX_WORD] for each in found]


def _pieces(word: str, start: int) -> Iterable[tuple[str, int]]:
    if word.isascii() or not _HAS_RUN.search(word):
        return ((word, start),)
    found: list[tuple[str, int]] = []
    for match in _PIECE.finditer(word):
        piece, begin = match.group(), start + match.start()
        if _HAS_RUN.match(piece) and len(piece) > 2:
            found.extend((piece[at : at + 2], begin + at) for at in range(len(piece) - 1))
        else:
            found.append((piece, begin))
    return found


@functools.lru_cache(maxsize=64)
def _stemmer(language: str) -> TextAnalyzer | None:
    name = STEMMERS.get(language)
    if name is None:
        return None
    return TextAnalyzerBuilder(Tokenizer.whitespace()).filter(Filter.stemmer(name)).build()


@functools.lru_cache(maxsize=32)
def _stop(name: str) -> TextAnalyzer:
    return TextAnalyzerBuilder(Tokenizer.whitespace()).filter(Filter.stopword(name)).build()
