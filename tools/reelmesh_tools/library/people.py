"""People who make films: a few are everywhere, most are seldom seen, and they work together again and again."""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from reelmesh.catalog.v1.title_pb2 import Credit
from reelmesh_tools.library.words import LANGUAGES, listed

COUNTS: Mapping[Credit.Role.ValueType, int] = {
    Credit.ROLE_ACTOR: 900,
    Credit.ROLE_DIRECTOR: 220,
    Credit.ROLE_WRITER: 150,
    Credit.ROLE_PRODUCER: 60,
    Credit.ROLE_COMPOSER: 40,
    Credit.ROLE_CINEMATOGRAPHER: 50,
    Credit.ROLE_EDITOR: 50,
    Credit.ROLE_HOST: 30,
}
"""People of a role in the largest language; others have fewer."""
SHARES: Mapping[str, float] = {"en": 1.0, "de": 0.6, "fr": 0.6, "es": 0.6, "it": 0.45, "pt": 0.3, "ja": 0.35}
FAME, CROWD = 0.9, 8
"""By Zipf's law, as Mandelbrot has it, the famous are cast: rank r as often as 1 / (r + CROWD) ** FAME."""
AT_HOME = 6.0
"""How much rather somebody is cast in a genre that is theirs."""
FAVORITES = 7
"""Actors whom a director likes to work with."""
LOYALTY = 0.55
"""Chance that a director casts one of them."""
ABROAD = 0.05
"""Chance that somebody of another language is cast."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who makes films."""

    name: str
    woman: bool
    genres: frozenset[str]
    """Where they are at home."""


@dataclass(frozen=True, slots=True)
class Names:
    """Names of a country."""

    women: tuple[str, ...]
    men: tuple[str, ...]
    families: tuple[str, ...]

    def draw(self, rng: random.Random) -> tuple[str, bool]:
        """Return a name, and whether it is a woman's."""
        woman = rng.random() < 0.5
        return f"{rng.choice(self.women if woman else self.men)} {rng.choice(self.families)}", woman


@dataclass
class Weighted:
    """People to draw from, with the sums of their weights."""

    people: Sequence[Person]
    sums: Sequence[float]

    def draw(self, rng: random.Random) -> Person:
        """Return somebody, the famous more often."""
        return self.people[bisect.bisect(self.sums, rng.random() * self.sums[-1], hi=len(self.sums) - 1)]


@dataclass
class Pool:
    """Everybody, by language and role; the same for the same seed."""

    seed: int
    genres: Sequence[str]
    circles: Mapping[tuple[str, Credit.Role.ValueType], Sequence[Person]] = field(init=False)
    """Who works in a language, the most famous first."""
    names: Mapping[str, Sequence[Names]] = field(init=False)
    """Names by language, the most usual first."""
    _weighted: dict[tuple[str, Credit.Role.ValueType, str], Weighted] = field(default_factory=dict)
    _favorites: dict[str, Weighted] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = random.Random(f"people/{self.seed}")  # noqa: S311 - the same people again is the point
        found: dict[str, list[Names]] = {language: [] for language in LANGUAGES}
        for country in listed("people").values():
            lists = (tuple(country[part].split()) for part in ("women", "men", "families"))
            found[country["language"]].append(Names(*lists))
        self.names = {
            language: sorted(each, key=lambda names: -len(names.families)) for language, each in found.items()
        }
        taken: set[str] = set()
        self.circles = {
            (language, role): list(self._people(rng, language, round(count * SHARES[language]), taken))
            for language in LANGUAGES
            for role, count in COUNTS.items()
        }

    def draw(self, rng: random.Random, language: str, role: Credit.Role.ValueType, genre: str) -> Person:
        """Return somebody for a role in a work of a language and a genre."""
        key = (language, role, genre)
        found = self._weighted.get(key)
        if found is None:
            found = self._weighted[key] = _weighted(self.circles[language, role], genre)
        return found.draw(rng)

    def cast(self, rng: random.Random, language: str, director: Person, genre: str, size: int) -> list[Person]:
        """Return `size` actors or fewer: favorites of the director, others of the language, seldom strangers."""
        favorites = self._liked_by(language, director)
        found: dict[str, Person] = {}
        for _ in range(size):
            chance = rng.random()
            if chance < LOYALTY:
                someone = favorites.draw(rng)
            elif chance < 1 - ABROAD:
                someone = self.draw(rng, language, Credit.ROLE_ACTOR, genre)
            else:
                someone = self.draw(rng, rng.choice(LANGUAGES), Credit.ROLE_ACTOR, genre)
            found.setdefault(someone.name, someone)
        return list(found.values())

    def character(self, rng: random.Random, language: str) -> tuple[str, bool]:
        """Return the name of someone in a story, and whether it is a woman's."""
        return self.names[language][0].draw(rng)

    def _liked_by(self, language: str, director: Person) -> Weighted:
        found = self._favorites.get(director.name)
        if found is None:
            rng = random.Random(f"favorites/{self.seed}/{director.name}")  # noqa: S311 - no secret
            liked: dict[str, Person] = {}
            home = sorted(director.genres)
            while len(liked) < FAVORITES:
                someone = self.draw(rng, language, Credit.ROLE_ACTOR, rng.choice(home))
                liked.setdefault(someone.name, someone)
            people = list(liked.values())
            found = self._favorites[director.name] = Weighted(people, _sums([1.0] * len(people)))
        return found

    def _people(self, rng: random.Random, language: str, count: int, taken: set[str]) -> Iterator[Person]:
        countries = self.names[language]
        weights = [len(names.women) * len(names.families) for names in countries]
        made = 0
        while made < count:
            name, woman = rng.choices(countries, weights)[0].draw(rng)
            if name in taken:
                continue
            taken.add(name)
            made += 1
            yield Person(name, woman, frozenset(rng.sample(self.genres, 2)))


def _weighted(people: Sequence[Person], genre: str) -> Weighted:
    return Weighted(
        people,
        _sums(
            [
                (AT_HOME if genre in person.genres else 0.4) / (rank + CROWD) ** FAME
                for rank, person in enumerate(people, start=1)
            ]
        ),
    )


def _sums(weights: Sequence[float]) -> list[float]:
    return list(itertools.accumulate(weights))
