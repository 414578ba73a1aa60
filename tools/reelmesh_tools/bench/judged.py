"""Queries with the titles that they mean, in a library that the generator made: how good a search is, as a number.

Most queries mean one of the landmarks, films that each such library begins with and whose names are no other work's:
typed rightly, with mistakes, unfinished, in another order or language. Others mean all titles of a person or with a
word. How good an answer is is its nDCG@10 (Järvelin and Kekäläinen, 2002), with gains of 2^grade - 1.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.discovery import analysis

CUT = 10
"""Places of an answer that count."""
MEANT, RELATED = 3, 1
"""Grades: what was looked for, and what fits too."""
_LANGUAGES = ("de", "fr", "es", "it", "pt", "ja")
_BY_MEANING = {
    "quiet beacon on the coast": ({"silent"}, {"lighthouse"}),
    "dark home": ({"black", "dark"}, {"house"}),
    "everlasting winter frost": ({"eternal"}, {"snow", "winter", "ice"}),
    "icy sand dunes": ({"frozen"}, {"desert", "dune"}),
    "solitary peak climbers": ({"lonely"}, {"mountain", "summit"}),
    "slumbering mythical beast": ({"sleeping"}, {"dragon"}),
    "drowned classroom pupils": ({"sunken"}, {"school", "class"}),
    "sugary stream of water": ({"sweet"}, {"river"}),
    "shattered bank safe robbery": ({"broken"}, {"vault", "bank"}),
    "sightless robot computer": ({"blind"}, {"machine", "robot"}),
}
"""Other words for what titles are called, with the words of English names that they mean: how it is, and what it is."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A query, and what it means."""

    kind: str
    """How it is typed."""
    text: str
    language: str
    """Of whoever asks."""
    grades: Mapping[str, int] = field(default_factory=dict)
    """By name of a title."""


def ndcg(answer: Sequence[str], grades: Mapping[str, int]) -> float:
    """Return how good an answer is: 1 where nothing better could stand in its first places."""
    best = _gain(sorted(grades.values(), reverse=True)[:CUT])
    return _gain([grades.get(name, 0) for name in answer[:CUT]]) / best if best else 1.0


def quality(judged: Iterable[Judged], answers: Callable[[Judged], Sequence[str]]) -> dict[str, float]:
    """Return the mean nDCG@10 of each kind of query, and "all"."""
    values: defaultdict[str, list[float]] = defaultdict(list)
    for each in judged:
        value = ndcg(answers(each), each.grades)
        values[each.kind].append(value)
        values["all"].append(value)
    return {kind: round(sum(found) / len(found), 4) for kind, found in values.items()}


def queries(landmarks: Sequence[Title], library: Sequence[Title], seed: int) -> list[Judged]:
    """Return queries to a library; `library` has the titles that their asker may find, the landmarks among them."""
    rng = random.Random(seed)  # noqa: S311 — the same seed, the same queries
    found: list[Judged] = []
    for kind, make, count in (
        ("exact", _exact, 8),
        ("typo", _typo, 14),
        ("prefix", _prefix, 10),
        ("word order", _word_order, 8),
        ("other language", _other_language, 12),
        ("phrase", _phrase, 6),
        ("field", _field, 8),
    ):
        for title in rng.sample(list(landmarks), count):
            text, language = make(title, rng)
            found.append(Judged(kind, text, language, {title.name: MEANT}))
    found += _people(landmarks, library, rng)
    found += _words(landmarks, library, rng)
    found += _meanings(library)
    return found


def misspelt(word: str, rng: random.Random) -> str:
    """Return a word with one mistake: two letters exchanged, one left out, added or another."""
    at = rng.randrange(1, len(word) - 1)
    match rng.randrange(4):
        case 0 if word[at] != word[at - 1]:
            return word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :]
        case 1:
            return word[:at] + word[at + 1 :]
        case 2:
            return word[:at] + rng.choice("aeinrst") + word[at:]
        case _:
            return word[:at] + rng.choice([each for each in "aeinrst" if each != word[at]]) + word[at + 1 :]


def _gain(grades: Sequence[int]) -> float:
    return sum((float(2**grade) - 1) / math.log2(place + 2) for place, grade in enumerate(grades))


def _told(title: Title, language: str) -> str:
    return next(each.title for each in title.localizations if each.language == language)


def _exact(title: Title, _: random.Random) -> tuple[str, str]:
    return _told(title, "en"), "en"


def _typo(title: Title, rng: random.Random) -> tuple[str, str]:
    language = rng.choice(["en", "en", "de", "fr"])
    words = analysis.fold(_told(title, language)).split()
    long = [at for at, word in enumerate(words) if len(word) >= 5 and word.isalpha()]
    for at in rng.sample(long, min(2, len(long))):
        words[at] = misspelt(words[at], rng)
    return " ".join(words), language


def _prefix(title: Title, rng: random.Random) -> tuple[str, str]:
    words = _told(title, "en").lower().split()
    words[-1] = words[-1][: max(3, len(words[-1]) - rng.randint(2, 4))]
    return " ".join(words[1:] if rng.random() < 0.5 else words), "en"


def _word_order(title: Title, rng: random.Random) -> tuple[str, str]:
    words = [each for each in _told(title, "en").lower().split() if each not in {"the", "of", "and", "in"}]
    return " ".join(reversed(words)), rng.choice(["en", "de"])


def _other_language(title: Title, rng: random.Random) -> tuple[str, str]:
    language = rng.choice(_LANGUAGES)
    name = _told(title, language)
    return analysis.fold(name) if rng.random() < 0.5 else name, "en"


def _phrase(title: Title, _: random.Random) -> tuple[str, str]:
    return f'"{_told(title, "en").lower()}"', "en"


def _field(title: Title, rng: random.Random) -> tuple[str, str]:
    word = max(_told(title, "en").split(), key=len).lower()
    family = title.credits[0].person.split()[-1]
    return rng.choice(
        [
            f"title:{word} person:{family}",
            f'person:"{title.credits[0].person}" {word}',
            f"{word} year:{title.release_date.year} genre:{title.genres[0]} person:{family}",
        ]
    ), "en"


def _people(landmarks: Sequence[Title], library: Sequence[Title], rng: random.Random) -> list[Judged]:
    """Return queries of the names of people, as they are, folded, and misspelt; all of their titles are meant."""
    people = list(dict.fromkeys(title.credits[0].person for title in rng.sample(list(landmarks), 12)))[:9]
    works: dict[str, dict[str, int]] = {person: {} for person in people}
    for title in library:
        people_of = {credit.person for credit in title.credits}
        people_of |= {each.title for each in title.localizations}  # a film about somebody
        for person in people_of & works.keys():
            works[person][title.name] = RELATED
    found: list[Judged] = []
    for at, person in enumerate(people):
        names = analysis.fold(person).split()
        if at % 3 == 2:
            names[-1] = misspelt(names[-1], rng)
        text = person if at % 3 == 0 else " ".join(names)
        found.append(Judged("people", text, "en", works[person]))
    return found


def _words(landmarks: Sequence[Title], library: Sequence[Title], rng: random.Random) -> list[Judged]:
    """Return queries of one word: titles that are called so are meant, and the landmark, the best known with it."""
    meant = {max(_told(title, "en").split(), key=len).lower(): title for title in rng.sample(list(landmarks), 8)}
    grades: dict[str, dict[str, int]] = {word: {title.name: MEANT} for word, title in meant.items()}
    for title in library:
        for each in title.localizations:
            words = analysis.words(each.title)
            for word in grades.keys() & set(words):
                named = [other for other in words if not analysis.is_small(other, frozenset({each.language}))] == [word]
                before = grades[word].get(title.name, 0)
                grades[word][title.name] = max(before, MEANT if named else RELATED)
    return [Judged("one word", word, "en", found) for word, found in grades.items()]


def _meanings(library: Sequence[Title]) -> list[Judged]:
    """Return queries of other words; titles that are called so are meant, those of the same thing fit."""
    grades: dict[str, dict[str, int]] = {text: {} for text in _BY_MEANING}
    for title in library:
        words = {word for each in title.localizations if each.language == "en" for word in analysis.words(each.title)}
        for text, (how, what) in _BY_MEANING.items():
            if words & what:
                grades[text][title.name] = MEANT if words & how else RELATED
    return [Judged("meaning", text, "en", found) for text, found in grades.items()]
