"""Works: films, series and collections with all that is known of them, not yet in the contract's words."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from google.type.date_pb2 import Date

from reelmesh.catalog.v1.title_pb2 import AgeRating, Availability, Credit, Title
from reelmesh_tools.library import facts
from reelmesh_tools.library.people import Person, Pool
from reelmesh_tools.library.phrases import Fixed, Phrase, phrase
from reelmesh_tools.library.stories import Story, story
from reelmesh_tools.library.words import LANGUAGES, Noun, Theme, themes

LATEST = date(2026, 10, 31)
"""After this day nothing was shown yet."""
OLDEST = 1931
SPOKEN = (0.40, 0.12, 0.12, 0.12, 0.08, 0.06, 0.10)
"""How many works are made in each language."""
_CREW = (
    (Credit.ROLE_WRITER, 0.4),
    (Credit.ROLE_PRODUCER, 0.3),
    (Credit.ROLE_COMPOSER, 0.0),
    (Credit.ROLE_CINEMATOGRAPHER, 0.0),
    (Credit.ROLE_EDITOR, 0.0),
)
"""Who else makes a film, with the chance that there are two."""
_TAGS: Sequence[str] = (
    "based on a true story", "based on a novel", "debut", "festival winner", "cult", "slow burn", "feel-good",
    "ensemble", "black and white", "road movie", "coming of age", "revenge", "friendship", "small town", "courtroom",
    "time loop", "female lead", "family secrets", "dark humor", "award winner", "restored", "single location",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Work:
    """What the titles of a work have in common."""

    name: Phrase
    language: int
    languages: tuple[int, ...]
    """Languages that it is told in, the original first."""
    theme: Theme
    genres: tuple[str, ...]
    tags: tuple[str, ...]
    story: Story
    director: Person
    cast: tuple[tuple[Person, str], ...]
    """Actors, each with whom they play."""
    released: date
    age: int
    windows: tuple[Availability, ...]
    state: Title.State.ValueType
    audience: Title.Audience.ValueType
    palette: int

    @property
    def ratings(self) -> Sequence[AgeRating]:
        """Its age ratings."""
        return facts.RATINGS[self.age]

    @property
    def code(self) -> str:
        """Its original language."""
        return LANGUAGES[self.language]


class Author:
    """Thinks of works, one after the other."""

    def __init__(self, rng: random.Random, pool: Pool) -> None:
        self._rng = rng
        self._pool = pool
        self._names: set[str] = set()

    def work(self, *, like: Work | None = None, about: tuple[Theme, Phrase] | None = None, wide: bool = False) -> Work:
        """Return a work: `like` another one in language, theme and people, `about` something, `wide` for everyone."""
        rng = self._rng
        if like is not None:
            language, theme, genre, director = like.language, like.theme, like.genres[0], like.director
        else:
            language = rng.choices(range(len(LANGUAGES)), SPOKEN)[0]
            theme = about[0] if about is not None else rng.choice(themes())
            genre = rng.choices(theme.genres, _falling(len(theme.genres)))[0]
            director = self._pool.draw(rng, LANGUAGES[language], Credit.ROLE_DIRECTOR, genre)
        code = LANGUAGES[language]
        hero, woman = self._pool.character(rng, code)
        name = like.name if like is not None else about[1] if about is not None else self._name(theme, hero)
        about_these = _nouns(name, theme)
        nouns = [*about_these, *rng.sample([noun for noun in theme.nouns if noun not in about_these], 3)]
        chance = rng.random()
        return Work(
            name=name,
            language=language,
            languages=self._languages(language),
            theme=theme,
            genres=self._genres(theme, genre),
            tags=(theme.name, *rng.sample(_TAGS, rng.randint(1, 3))),
            story=story(rng, genre, nouns, hero, woman=woman),
            director=director,
            cast=tuple(self._cast(code, director, genre, hero, first=like.cast[:2] if like is not None else ())),
            released=self._date(like.released if like is not None else None),
            age=like.age if like is not None else facts.age_class(rng, genre),
            windows=() if wide else tuple(facts.windows(rng)),
            state=_state(chance) if not wide else Title.STATE_PUBLISHED,
            audience=_audience(rng.random()) if not wide else Title.AUDIENCE_EVERYONE,
            palette=rng.randrange(facts.PALETTES),
        )

    def crew(self, work: Work) -> list[Credit]:
        """Return who else makes a work."""
        rng, genre = self._rng, work.genres[0]
        found: dict[tuple[str, int], Credit] = {}
        for role, second in _CREW:
            for _ in range(1 + (rng.random() < second)):
                name = self._pool.draw(rng, work.code, role, genre).name
                found[name, role] = Credit(person=name, role=role)
        return list(found.values())

    def host(self, work: Work) -> Credit:
        """Return who presents it."""
        return Credit(
            person=self._pool.draw(self._rng, work.code, Credit.ROLE_HOST, work.genres[0]).name, role=Credit.ROLE_HOST
        )

    def remember(self, name: Phrase) -> None:
        """Let no other work have a name."""
        self._names.add(name.key)

    def _name(self, theme: Theme, hero: str) -> Phrase:
        for _ in range(6):
            name = phrase(self._rng, theme.nouns, hero.split(" ", maxsplit=1)[0])
            if name.key not in self._names:
                break
        else:
            name = Fixed((hero,) * len(LANGUAGES))  # what is left of names is those of people
        self._names.add(name.key)
        return name

    def _languages(self, original: int) -> tuple[int, ...]:
        others = [language for language in range(len(LANGUAGES)) if language != original]
        chosen = self._rng.sample(others, self._rng.randint(1, 5))
        if original and not chosen.count(0) and self._rng.random() < 0.8:
            chosen[0] = 0  # most that is told abroad is told in English
        return (original, *sorted(chosen))

    def _genres(self, theme: Theme, genre: str) -> tuple[str, ...]:
        if self._rng.random() < 0.35:
            return (genre,)
        other = self._rng.choice(theme.genres)
        return (genre,) if other == genre else (genre, other)

    def _cast(
        self, code: str, director: Person, genre: str, hero: str, first: Sequence[tuple[Person, str]]
    ) -> list[tuple[Person, str]]:
        rng = self._rng
        if genre == "documentary":
            return list(first)
        found = {person.name: (person, character) for person, character in first}
        for someone in self._pool.cast(rng, code, director, genre, rng.randint(3, 7)):
            character = hero if not found else self._pool.character(rng, code)[0]
            found.setdefault(someone.name, (someone, character))
        return list(found.values())

    def _date(self, after: date | None) -> date:
        rng = self._rng
        if after is not None:
            return min(LATEST, after + timedelta(days=rng.randint(400, 1200)))
        year = max(OLDEST, LATEST.year - int(rng.expovariate(1 / 13)))
        return min(LATEST, date(year, 1, 1) + timedelta(days=rng.randrange(365)))


def day(released: date) -> Date:
    """Return a day in the contract's words."""
    return Date(year=released.year, month=released.month, day=released.day)


def _nouns(name: Phrase, theme: Theme) -> list[Noun]:
    """Return what a name is about, so that a story is about it too."""
    of = [getattr(name, part, None) for part in ("noun", "one", "other")]
    return [noun for noun in of if noun in theme.nouns]


def _falling(count: int) -> list[float]:
    return [1 / (1 + place) for place in range(count)]


def _state(chance: float) -> Title.State.ValueType:
    return Title.STATE_DRAFT if chance < 0.05 else Title.STATE_WITHDRAWN if chance < 0.08 else Title.STATE_PUBLISHED


def _audience(chance: float) -> Title.Audience.ValueType:
    if chance < 0.01:
        return Title.AUDIENCE_MEMBERS
    return Title.AUDIENCE_SIGNED_IN if chance < 0.05 else Title.AUDIENCE_EVERYONE
