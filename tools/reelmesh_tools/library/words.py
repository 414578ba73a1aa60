"""Words in seven languages that mean the same, and what grammar a title needs of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "ja")
"""Languages, in the order of the word lists."""
EN, DE, FR, ES, IT, PT, JA = range(7)


class Case(Enum):
    """What a thing does in its sentence."""

    SUBJECT = "t"
    OBJECT = "a"
    WITH = "d"
    """What stands behind the German prepositions of place."""
    OF = "o"


@dataclass(frozen=True, slots=True)
class Word:
    """A noun in one language."""

    text: str
    gender: str
    """m, f or n; e for a Spanish feminine with the article el."""
    genitive: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Noun:
    """A thing, by language."""

    words: tuple[Word, ...]

    @property
    def key(self) -> str:
        """Its English word."""
        return self.words[EN].text


@dataclass(frozen=True, slots=True, eq=False)
class Adjective:
    """A property: its English word, the German stem, and in the others a masculine and a feminine."""

    english: str
    german: str
    romance: tuple[tuple[bool, str, str], ...]
    """French to Portuguese: whether it stands before its noun, masculine, feminine."""
    japanese: str


@dataclass(frozen=True, slots=True)
class Theme:
    """What works are about."""

    name: str
    genres: tuple[str, ...]
    nouns: tuple[Noun, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """What somebody does, a man and a woman, by language."""

    words: tuple[tuple[str, str], ...]

    def someone(self, language: int, *, woman: bool) -> str:
        """Return one of them, with an indefinite article."""
        word = self.words[language][woman]
        if language == EN:
            return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
        if language == IT and not woman:
            return f"{'uno' if _ITALIAN_LO.match(word) else 'un'} {word}"
        if language == IT:
            return f"un'{word}" if word[0] in "aeiou" else f"una {word}"
        articles = {DE: ("ein", "eine"), FR: ("un", "une"), ES: ("un", "una"), PT: ("um", "uma")}
        return f"{articles[language][woman]} {word}" if language in articles else word


@dataclass(frozen=True, slots=True)
class Places:
    """Cities and what is counted in them; each by language."""

    cities: tuple[tuple[str, ...], ...]
    units: tuple[tuple[str, ...], ...]
    numbers: tuple[tuple[str, ...], ...]
    journeys: tuple[tuple[str, ...], ...]
    jobs: tuple[Job, ...]


_GERMAN = {
    Case.SUBJECT: {"m": "der", "f": "die", "n": "das"},
    Case.OBJECT: {"m": "den", "f": "die", "n": "das"},
    Case.WITH: {"m": "dem", "f": "der", "n": "dem"},
    Case.OF: {"m": "des", "f": "der", "n": "des"},
}
_VOWEL = re.compile("[aeiouhàâéèêîïôûœæ]", re.IGNORECASE)
_ASPIRATED = ("hasard",)
_ITALIAN_LO = re.compile("z|gn|ps|x|s[^aeiou]", re.IGNORECASE)


@cache
def thing(language: int, noun: Noun, case: Case, adjective: Adjective | None = None) -> str:
    """Return a noun with its definite article, and an adjective where there is one; lower case but for German nouns."""
    word = noun.words[language]
    if language == JA:
        return (adjective.japanese if adjective else "") + word.text + ("の" if case is Case.OF else "")
    if language == EN:
        article = "of the" if case is Case.OF else "the"
        return f"{article} {adjective.english} {word.text}" if adjective else f"{article} {word.text}"
    if language == DE:
        return _german(word, case, adjective)
    feminine = word.gender in "fe"
    text = word.text
    if adjective:
        before, *forms = adjective.romance[language - FR]
        form = str(forms[feminine])
        text = f"{form} {text}" if before else f"{text} {form}"
    return _ARTICLES[language](text, word.gender, case)


def _german(word: Word, case: Case, adjective: Adjective | None) -> str:
    text = word.text
    weak = word.genitive.endswith("n") and not word.genitive.endswith("ens")
    if case is Case.OF and word.gender != "f":
        text = word.genitive or (f"{text}es" if text[-1] in "sßxz" else f"{text}s")
    elif case in {Case.OBJECT, Case.WITH} and weak:
        text = word.genitive
    article = _GERMAN[case][word.gender]
    if adjective is None:
        return f"{article} {text}"
    stem = f"{adjective.german[:-2]}l" if adjective.german.endswith("el") else adjective.german
    plain = case is Case.SUBJECT or (case is Case.OBJECT and word.gender != "m")
    return f"{article} {stem}{'e' if plain else 'en'} {text}"


def _french(text: str, gender: str, case: Case) -> str:
    of = case is Case.OF
    if _VOWEL.match(text) and not text.startswith(_ASPIRATED):
        return f"de l'{text}" if of else f"l'{text}"
    if gender == "f":
        return f"de la {text}" if of else f"la {text}"
    return f"du {text}" if of else f"le {text}"


def _spanish(text: str, gender: str, case: Case) -> str:
    masculine = gender == "m" or (gender == "e" and text[0] in "áaáh")
    if case is Case.OF:
        return f"del {text}" if masculine else f"de la {text}"
    return f"el {text}" if masculine else f"la {text}"


def _italian(text: str, gender: str, case: Case) -> str:
    of = case is Case.OF
    if text[0] in "aeiouAEIOU":
        return f"dell'{text}" if of else f"l'{text}"
    if gender != "m":
        return f"della {text}" if of else f"la {text}"
    if _ITALIAN_LO.match(text):
        return f"dello {text}" if of else f"lo {text}"
    return f"del {text}" if of else f"il {text}"


def _portuguese(text: str, gender: str, case: Case) -> str:
    article = "o" if gender == "m" else "a"
    return f"d{article} {text}" if case is Case.OF else f"{article} {text}"


_ARTICLES = {FR: _french, ES: _spanish, IT: _italian, PT: _portuguese}


@cache
def themes() -> tuple[Theme, ...]:
    """Return what works are about."""
    return tuple(
        Theme(name, tuple(about["genres"]), tuple(map(_noun, about["nouns"])))
        for name, about in listed("themes").items()
    )


@cache
def adjectives() -> tuple[Adjective, ...]:
    """Return properties of things."""
    return tuple(_adjective(line) for line in listed("adjectives"))


@cache
def places() -> Places:
    """Return places, and what is said of them."""
    found: Mapping[str, Sequence[str]] = listed("places")
    tables = {name: tuple(tuple(_cells(line)) for line in lines) for name, lines in found.items()}
    jobs = tuple(Job(tuple(_pair(cell) for cell in row)) for row in tables["jobs"])
    return Places(tables["cities"], tables["units"], tables["numbers"], tables["journeys"], jobs)


def listed(name: str) -> Any:
    """Return one of the word lists beside this module."""
    return yaml.safe_load((files(__package__) / "words" / f"{name}.yaml").read_text(encoding="utf-8"))


def _cells(line: str) -> Iterator[str]:
    return (cell.strip() for cell in line.split("|"))


def _pair(cell: str) -> tuple[str, str]:
    words = cell.split()
    return words[0], words[-1]


def _noun(line: str) -> Noun:
    english, *others, japanese = _cells(line)
    words = [Word(english, "n")]
    for cell in others:
        gender, text, *genitive = cell.split()
        words.append(Word(text, gender, genitive[0] if genitive else ""))
    return Noun((*words, Word(japanese, "n")))


def _adjective(line: str) -> Adjective:
    english, german, *romance, japanese = _cells(line)
    forms = []
    for cell in romance:
        *before, masculine, feminine = cell.split()
        forms.append((bool(before), masculine, feminine))
    return Adjective(english, german, tuple(forms), japanese)
