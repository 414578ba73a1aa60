"""What is said of works, by their tone, in the languages that they are told in."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from reelmesh_tools.library.words import FR, JA, Case, Job, Noun, listed, places, thing

_ELIDED = re.compile(r"\bde (?=[AEIOUYÀÉÈÊÎÔÅÚ])")


@dataclass(frozen=True, slots=True)
class Story:
    """What a work is about; the same in every language."""

    opening: Sequence[str]
    ending: Sequence[str]
    japanese: str
    hero: str
    woman: bool
    job: Job
    city: tuple[str, ...]
    one: Noun
    other: Noun

    def tell(self, language: int) -> str:
        """Return a synopsis in a language."""
        job = self.job.someone(language, woman=self.woman)
        values = {
            "hero": self.hero,
            "job": job,
            "Job": job[:1].upper() + job[1:],
            "city": self.city[language],
            **_forms(language, self.one, "1"),
            **_forms(language, self.other, "2"),
        }
        if language == JA:
            return self.japanese.format_map(values)
        told = f"{self.opening[language].format_map(values)} {self.ending[language].format_map(values)}"
        if language == FR:
            told = _ELIDED.sub("d'", told)
        return told[:1].upper() + told[1:]


@cache
def _forms(language: int, noun: Noun, place: str) -> Mapping[str, str]:
    return {f"{case.value}{place}": thing(language, noun, case) for case in Case}


@dataclass(frozen=True, slots=True)
class _Sentences:
    openings: Mapping[str, Sequence[Sequence[str]]]
    endings: Sequence[Sequence[str]]
    japanese: Sequence[str]
    tones: Mapping[str, str]


@cache
def _sentences() -> _Sentences:
    return _Sentences(**listed("synopses"))


def genres() -> Sequence[str]:
    """Return all genres."""
    return list(_sentences().tones)


def story(rng: random.Random, genre: str, nouns: Sequence[Noun], hero: str, *, woman: bool) -> Story:
    """Draw a story of a genre about the first of `nouns` and one of the others."""
    said = _sentences()
    return Story(
        rng.choice(said.openings[said.tones[genre]]),
        rng.choice(said.endings),
        rng.choice(said.japanese),
        hero,
        woman,
        rng.choice(places().jobs),
        rng.choice(places().cities),
        nouns[0],
        rng.choice(nouns[1:]),
    )
