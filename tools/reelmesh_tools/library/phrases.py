"""Names of works: the same in every language, drawn from what the works are about."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from reelmesh_tools.library.words import DE, EN, ES, FR, IT, JA, PT, Adjective, Case, Noun, adjectives, places, thing


class Phrase(Protocol):
    """Something that can be said in every language."""

    @property
    def key(self) -> str:
        """What tells it from others."""

    def say(self, language: int) -> str:
        """Return it in a language, its first letter small where it is no name."""


@dataclass(frozen=True, slots=True)
class Thing:
    """The silent lighthouse."""

    noun: Noun
    adjective: Adjective | None = None

    @property
    def key(self) -> str:
        """What tells it from others."""
        return f"{self.adjective.english} {self.noun.key}" if self.adjective else self.noun.key

    def say(self, language: int) -> str:
        """Return it in a language."""
        return thing(language, self.noun, Case.SUBJECT, self.adjective)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two things: one of the other, one and the other, or what is between them."""

    how: str
    """of, and, between."""
    one: Noun
    other: Noun

    @property
    def key(self) -> str:
        """What tells it from others."""
        return f"{self.how} {self.one.key} {self.other.key}"

    def say(self, language: int) -> str:
        """Return it in a language."""
        if language == JA:
            one, other = self.one.words[JA].text, self.other.words[JA].text
            return {"of": f"{other}の{one}", "and": f"{one}と{other}", "between": f"{one}と{other}の間"}[self.how]
        if self.how == "of":
            return f"{thing(language, self.one, Case.SUBJECT)} {thing(language, self.other, Case.OF)}"
        case = Case.WITH if self.how == "between" else Case.SUBJECT
        both = f"{thing(language, self.one, case)} {_AND[language]} {thing(language, self.other, case)}"
        return f"{_BETWEEN[language]} {both}" if self.how == "between" else both


@dataclass(frozen=True, slots=True)
class Where:
    """A thing in a city."""

    noun: Noun
    city: tuple[str, ...]

    @property
    def key(self) -> str:
        """What tells it from others."""
        return f"{self.noun.key} in {self.city[EN]}"

    def say(self, language: int) -> str:
        """Return it in a language."""
        if language == JA:
            return f"{self.city[JA]}の{self.noun.words[JA].text}"
        return f"{thing(language, self.noun, Case.SUBJECT)} {_IN[language]} {self.city[language]}"


@dataclass(frozen=True, slots=True)
class Whose:
    """A thing of somebody."""

    noun: Noun
    name: str

    @property
    def key(self) -> str:
        """What tells it from others."""
        return f"{self.noun.key} of {self.name}"

    def say(self, language: int) -> str:
        """Return it in a language."""
        if language == JA:
            return f"{self.name}の{self.noun.words[JA].text}"
        of = "d'" if language == FR and self.name[0] in "AEIOUYÀÉÈÊÎÔÅÚ" else f"{_FROM[language]} "
        return f"{thing(language, self.noun, Case.SUBJECT)} {of}{self.name}"


@dataclass(frozen=True, slots=True)
class Behind:
    """Under, after or before a thing."""

    how: str
    noun: Noun

    @property
    def key(self) -> str:
        """What tells it from others."""
        return f"{self.how} {self.noun.key}"

    def say(self, language: int) -> str:
        """Return it in a language."""
        if language == JA:
            return f"{self.noun.words[JA].text}{_PREPOSITIONS[self.how][JA]}"
        preposition = _PREPOSITIONS[self.how][language]
        contracted = preposition in {"antes", "después", "prima", "depois"}
        case = Case.OF if contracted else Case.WITH if language == DE else Case.SUBJECT
        return f"{preposition} {thing(language, self.noun, case)}"


@dataclass(frozen=True, slots=True)
class Fixed:
    """Words that are made for every language, such as "Return to Lisbon"."""

    texts: tuple[str, ...]

    @property
    def key(self) -> str:
        """What tells it from others."""
        return self.texts[EN]

    def say(self, language: int) -> str:
        """Return it in a language."""
        return self.texts[language]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a franchise: its number, or a name of its own behind the common one."""

    whole: Phrase
    number: int
    own: Phrase | None = None

    @property
    def key(self) -> str:
        """What tells it from others."""
        return f"{self.whole.key} / {self.own.key if self.own else self.number}"

    def say(self, language: int) -> str:
        """Return it in a language."""
        whole = self.whole.say(language)
        if self.own is None:
            return f"{whole} {self.number}"
        return f"{whole}: {shown(self.own, language)}"


_AND = {EN: "and", DE: "und", FR: "et", ES: "y", IT: "e", PT: "e"}
_BETWEEN = {EN: "between", DE: "zwischen", FR: "entre", ES: "entre", IT: "tra", PT: "entre"}
_IN = {EN: "in", DE: "in", FR: "à", ES: "en", IT: "a", PT: "em"}
_FROM = {EN: "of", DE: "von", FR: "de", ES: "de", IT: "di", PT: "de"}
_PREPOSITIONS = {
    "under": ("under", "unter", "sous", "bajo", "sotto", "sob", "の下で"),
    "after": ("after", "nach", "après", "después", "dopo", "depois", "の後で"),
    "before": ("before", "vor", "avant", "antes", "prima", "antes", "の前に"),
}
_SMALL = frozenset(["of", "the", "and", "in", "under", "after", "before", "between", "to", "a", "an"])
_ARTICLE = re.compile(r"(The|Der|Die|Das|Le|La|El|Il|Lo|O|A) (.+)")
_ELIDED = re.compile(r"(L')(.+)")


def shown(phrase: Phrase, language: int) -> str:
    """Return a name as it is written: English words large, of others the first letter."""
    text = phrase.say(language)
    if language == EN:
        words = text.split(" ")
        return " ".join(
            word if place and word in _SMALL else word[:1].upper() + word[1:] for place, word in enumerate(words)
        )
    return text[:1].upper() + text[1:]


def sorted_by(title: str, language: int) -> str:
    """Return what a title is sorted by where its article is left out; empty where it has none."""
    found = None if language == JA else _ARTICLE.fullmatch(title) or _ELIDED.fullmatch(title)
    if found is None or (found[1] == "A" and language != PT):
        return ""
    rest = found[2]
    return f"{rest[:1].upper()}{rest[1:]}, {found[1]}"


def phrase(rng: random.Random, nouns: Sequence[Noun], name: str) -> Phrase:
    """Draw a name that is about `nouns`, or somebody of a `name`."""
    noun = rng.choice(nouns)
    kind = rng.random()
    if kind < 0.30:
        return Thing(noun, rng.choice(adjectives()))
    if kind < 0.54:
        return Pair("of", *_two(rng, nouns))
    if kind < 0.62:
        return Pair("and", *_two(rng, nouns))
    if kind < 0.68:
        return Pair("between", *_two(rng, nouns))
    if kind < 0.80:
        return Where(noun, rng.choice(places().cities))
    if kind < 0.88:
        return Whose(noun, name)
    if kind < 0.93:
        return _counted(rng)
    if kind < 0.96:
        return journey(rng.choice(places().journeys), rng.choice(places().cities))
    if kind < 0.99:
        return Behind(rng.choice(("under", "after", "before")), noun)
    return Thing(noun)


def short_phrase(rng: random.Random, nouns: Sequence[Noun], name: str) -> Phrase:
    """Draw a name of an episode."""
    kind = rng.random()
    if kind < 0.35:
        return Thing(rng.choice(nouns))
    if kind < 0.65:
        return Thing(rng.choice(nouns), rng.choice(adjectives()))
    if kind < 0.8:
        return Whose(rng.choice(nouns), name)
    return Pair("and", *_two(rng, nouns))


def journey(pattern: tuple[str, ...], city: tuple[str, ...]) -> Fixed:
    """Return what happens with a city."""
    return Fixed(tuple(text.format(where) for text, where in zip(pattern, city, strict=True)))


def _two(rng: random.Random, nouns: Sequence[Noun]) -> tuple[Noun, Noun]:
    one, other = rng.sample(nouns, 2)
    return one, other


def _counted(rng: random.Random) -> Fixed:
    number, unit, city = rng.choice(places().numbers), rng.choice(places().units), rng.choice(places().cities)
    texts = [f"{number[i]} {unit[i]} {_IN[i]} {city[i]}" for i in (EN, DE, FR, ES, IT, PT)]
    return Fixed((*texts, f"{city[JA]}の{number[JA]}{unit[JA]}"))
