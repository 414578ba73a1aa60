"""A believable library, made of nothing but a seed: the same seed gives the same titles, however many are asked for."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta

from google.protobuf.duration_pb2 import Duration

from reelmesh.catalog.title_model import imported_name
from reelmesh.catalog.v1.title_pb2 import Credit, Localization, Title
from reelmesh_tools.library import facts
from reelmesh_tools.library.people import Pool
from reelmesh_tools.library.phrases import (
    Pair,
    Part,
    Phrase,
    Thing,
    Where,
    Whose,
    phrase,
    short_phrase,
    shown,
    sorted_by,
)
from reelmesh_tools.library.stories import genres, story
from reelmesh_tools.library.words import EN, JA, LANGUAGES, Case, Theme, adjectives, places, themes, thing
from reelmesh_tools.library.works import LATEST, Author, Work, day

ORGANIZATION = "default"
LANDMARKS = 60
"""Films at the beginning of each library that are known by heart: see `landmarks`."""
_SEASON = ("Season", "Staffel", "Saison", "Temporada", "Stagione", "Temporada", "シーズン")
_TRAILER = ("Trailer", "Trailer", "Bande-annonce", "Tráiler", "Trailer", "Trailer", "予告編")
_MAKING = ("The Making of", "Die Entstehung von", "Les coulisses de", "Así se hizo", "Dietro le quinte di",
           "Bastidores de", "メイキング")  # fmt: skip
_COLLECTION = ("{} Collection", "{}: Die Sammlung", "{} : la collection", "{}: la colección", "{}: la collezione",
               "{}: a coleção", "{}コレクション")  # fmt: skip
_STORIES = ("Stories", "Geschichten", "Histoires", "Historias", "Storie", "Histórias")
_REMEMBERED = 40
"""Films of a theme that a collection is made of."""


def titles(count: int, seed: int, organization: str = ORGANIZATION) -> Iterator[Title]:
    """Yield `count` titles, each after what it is part of; names, etags and the like are left to the catalog.

    Parents and members are named as the catalog names what is imported into `organization`.
    """
    return itertools.islice(_Library(seed, organization).titles(), count)


def landmarks(seed: int, organization: str = ORGANIZATION) -> list[Title]:
    """Return films that every library of a seed begins with: published, everywhere, for everyone.

    Their names are no other work's, and told in all languages. So who judges a search knows what to look for.
    """
    return list(titles(LANDMARKS, seed, organization))


class _Library:
    def __init__(self, seed: int, organization: str) -> None:
        self._seed = seed
        self._organization = organization
        self._rng = random.Random(f"library/{seed}")  # noqa: S311 - the same library again is the point
        self._pool = Pool(seed, genres())
        self._author = Author(self._rng, self._pool)
        self._number = 0
        self._recent: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=_REMEMBERED))

    def titles(self) -> Iterator[Title]:
        """Yield titles without an end."""
        yield from self._landmarks()
        while True:
            chance = self._rng.random()
            if chance < 0.86:
                yield from self._film()
            elif chance < 0.90:
                yield from self._franchise()
            elif chance < 0.97:
                yield from self._series()
            else:
                yield from self._editors_choice()

    def _landmarks(self) -> Iterator[Title]:
        names = list(_landmark_names())
        for _, name in names:
            self._author.remember(name)
        for theme, name in names:
            work = self._author.work(about=(theme, name), wide=True)
            others = (language for language in range(len(LANGUAGES)) if language != work.language)
            work = replace(work, languages=(work.language, *others), tags=(*work.tags, "landmark"))
            film = self._whole(Title.KIND_FILM, work, name)
            film.running_time.CopyFrom(self._minutes(85, 150))
            yield film

    def _film(self) -> Iterator[Title]:
        work = self._author.work()
        film = self._whole(Title.KIND_FILM, work, work.name)
        film.running_time.CopyFrom(self._minutes(80, 165))
        yield film
        yield from self._extras(film, work, chance=0.10)

    def _franchise(self) -> Iterator[Title]:
        first = work = self._author.work()
        members = []
        for number in range(1, self._rng.randint(2, 5) + 1):
            own = (
                phrase(self._rng, work.theme.nouns, work.story.hero.split(" ")[0]) if self._rng.random() < 0.5 else None
            )
            name = first.name if number == 1 else Part(first.name, number, own)
            film = self._whole(Title.KIND_FILM, work, name)
            film.running_time.CopyFrom(self._minutes(85, 170))
            members.append(film.external_id)
            yield film
            if work.released >= LATEST:
                break
            work = self._author.work(like=work)
        texts = tuple(_COLLECTION[i].format(shown(first.name, i)) for i in range(len(LANGUAGES)))
        if len(members) > 1:
            yield self._collection(first, texts, members)

    def _sequel(self, first: Work, work: Work, number: int) -> Phrase:
        named = self._rng.random() < 0.5
        own = phrase(self._rng, work.theme.nouns, work.story.hero.split(" ")[0]) if named else None
        return Part(first.name, number, own)

    def _series(self) -> Iterator[Title]:
        rng, work = self._rng, self._author.work()
        series = self._whole(Title.KIND_SERIES, work, work.name)
        yield series
        yield from self._extras(series, work, chance=0.3)
        minutes = rng.choice((22, 25, 42, 45, 50, 55))
        released = work.released
        for number in range(1, min(1 + int(rng.expovariate(0.7)), 9) + 1):
            season = self._part(Title.KIND_SEASON, work, series, number, released)
            season.localizations.extend(
                Localization(language=LANGUAGES[i], title=_season(i, number)) for i in work.languages
            )
            season.images.extend(facts.pictures(Title.KIND_SEASON, work.theme.name, (work.palette + number) % 24))
            yield season
            yield from self._episodes(work, season, rng.randint(6, 10), minutes, released)
            released += timedelta(days=rng.randint(330, 480))
            if released > LATEST:
                return

    def _episodes(self, work: Work, season: Title, count: int, minutes: int, released: date) -> Iterator[Title]:
        rng = self._rng
        for number in range(1, count + 1):
            shown_on = min(LATEST, released + timedelta(days=7 * (number - 1)))
            episode = self._part(Title.KIND_EPISODE, work, season, number, shown_on)
            hero = work.story.hero if rng.random() < 0.5 else self._pool.character(rng, work.code)[0]
            name = short_phrase(rng, work.theme.nouns, hero.split(" ")[0])
            nouns = rng.sample(work.theme.nouns, 3)
            told = story(rng, work.genres[0], nouns, hero, woman=work.story.woman)
            episode.localizations.extend(
                _localization(language, name, told.tell(language) if place < 2 else "")
                for place, language in enumerate(work.languages)
            )
            writer = self._pool.draw(rng, work.code, Credit.ROLE_WRITER, work.genres[0])
            episode.credits.append(Credit(person=work.director.name, role=Credit.ROLE_DIRECTOR))
            episode.credits.append(Credit(person=writer.name, role=Credit.ROLE_WRITER))
            episode.credits.extend(_acting(work)[: 3 + number % 2])
            episode.running_time.CopyFrom(Duration(seconds=60 * minutes + rng.randint(-90, 90)))
            palette = (work.palette + number) % facts.PALETTES
            episode.images.extend(facts.pictures(Title.KIND_EPISODE, work.theme.name, palette))
            yield episode

    def _extras(self, whole: Title, work: Work, chance: float) -> Iterator[Title]:
        rng = self._rng
        for number, (words, most) in enumerate(((_TRAILER, 3), (_MAKING, 40)), start=1):
            if rng.random() >= chance:
                continue
            extra = self._part(Title.KIND_EXTRA, work, whole, number, work.released)
            for language in work.languages:
                name = shown(work.name, language)
                both = f"{name} {words[language]}" if language == JA else f"{words[language]}: {name}"
                extra.localizations.add(language=LANGUAGES[language], title=both)
            extra.running_time.CopyFrom(Duration(seconds=60 * rng.randint(1, most) + rng.randint(5, 55)))
            extra.images.extend(facts.pictures(Title.KIND_EXTRA, work.theme.name, work.palette))
            yield extra

    def _editors_choice(self) -> Iterator[Title]:
        rng, work = self._rng, self._author.work(wide=True)
        members = list(self._recent[work.theme.name])
        if len(members) < 4:
            return
        noun = rng.choice(work.theme.nouns)
        texts = [f"{_STORIES[i]} {thing(i, noun, Case.OF)}" for i in range(JA)]
        texts.append(f"{noun.words[JA].text}の物語")
        texts[EN] = f"{_STORIES[EN]} of the {noun.words[EN].text.title()}"
        yield self._collection(work, texts, sorted(rng.sample(members, rng.randint(4, min(15, len(members))))))

    def _collection(self, work: Work, texts: Sequence[str], members: Iterable[str]) -> Title:
        collection = self._title(Title.KIND_COLLECTION, work)
        collection.ClearField("release_date")
        collection.localizations.extend(
            Localization(language=LANGUAGES[language], title=texts[language]) for language in work.languages
        )
        collection.members.extend(self._name(member) for member in members)
        collection.images.extend(facts.pictures(Title.KIND_COLLECTION, work.theme.name, work.palette))
        return collection

    def _whole(self, kind: Title.Kind.ValueType, work: Work, name: Phrase) -> Title:
        title = self._title(kind, work)
        title.localizations.extend(
            _localization(language, name, work.story.tell(language)) for language in work.languages
        )
        role = Credit.ROLE_CREATOR if kind == Title.KIND_SERIES else Credit.ROLE_DIRECTOR
        title.credits.append(Credit(person=work.director.name, role=role))
        if work.genres[0] == "documentary":
            title.credits.append(self._author.host(work))
        title.credits.extend(_acting(work))
        title.credits.extend(self._author.crew(work))
        title.images.extend(facts.pictures(kind, work.theme.name, work.palette))
        self._recent[work.theme.name].append(title.external_id)
        return title

    def _part(self, kind: Title.Kind.ValueType, work: Work, whole: Title, number: int, released: date) -> Title:
        title = self._title(kind, work)
        title.parent_title = self._name(whole.external_id)
        title.number = number
        title.release_date.CopyFrom(day(released))
        return title

    def _title(self, kind: Title.Kind.ValueType, work: Work) -> Title:
        self._number += 1
        return Title(
            kind=kind,
            external_id=f"seed-{self._seed}-{self._number:06}",
            original_language=work.code,
            genres=work.genres,
            tags=work.tags,
            release_date=day(work.released),
            age_ratings=work.ratings,
            availabilities=work.windows,
            state=work.state,
            audience=work.audience,
        )

    def _name(self, external_id: str) -> str:
        return str(imported_name(self._organization, external_id))

    def _minutes(self, least: int, most: int) -> Duration:
        return Duration(seconds=60 * round(self._rng.triangular(least, most, least + (most - least) / 3)))


def _localization(language: int, name: Phrase, synopsis: str) -> Localization:
    title = shown(name, language)
    return Localization(
        language=LANGUAGES[language], title=title, sort_title=sorted_by(title, language), synopsis=synopsis
    )


def _acting(work: Work) -> list[Credit]:
    role = Credit.ROLE_VOICE if "animation" in work.genres else Credit.ROLE_ACTOR
    return [Credit(person=person.name, role=role, character=character) for person, character in work.cast]


def _season(language: int, number: int) -> str:
    return f"{_SEASON[language]}{number}" if language == JA else f"{_SEASON[language]} {number}"


def _landmark_names() -> Iterator[tuple[Theme, Phrase]]:
    """Yield names that are the same for all seeds: three of each theme."""
    properties, cities = adjectives(), places().cities
    for place, theme in enumerate(themes()):
        nouns = theme.nouns
        yield theme, Thing(nouns[0], properties[2 * place])
        yield theme, Pair("of" if place % 2 else "and", nouns[1], nouns[2])
        yield theme, Where(nouns[3], cities[place]) if place % 2 else Whose(nouns[3], _HEROES[place // 2])


_HEROES = ("Marlene", "Octave", "Jimena", "Calogero", "Dandara", "Elspeth", "Hayato", "Åsa", "Łukasz", "Çiğdem")
