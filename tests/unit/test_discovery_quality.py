"""How good searches are in a small seeded library, by letters and by meaning."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from discovery_titles import StandingClock

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.discovery.index import Index
from reelmesh.discovery.model import Mode, SearchQuery, Viewer
from reelmesh.discovery.semantic import installed_model, vectors_of
from reelmesh_tools.bench import judged, search_library

SEED, TITLES = 3, 2000
ASKER = Viewer("default", "DE", "en")


@dataclass(frozen=True)
class Library:
    index: Index
    titles: Mapping[str, Title]
    landmarks: list[Title]
    queries: list[judged.Judged]
    now: float

    def names(self, each: judged.Judged, mode: Mode) -> list[str]:
        asked = SearchQuery(replace(ASKER, language=each.language), each.text, size=judged.CUT, mode=mode)
        return [hit.title.title for hit in self.index.search(asked).hits]

    def quality(self, mode: Mode) -> dict[str, float]:
        return judged.quality(self.queries, lambda each: self.names(each, mode))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    clock = StandingClock()
    model = installed_model()
    assert model is not None, "the extra `semantic` is one of development's packages"
    titles = list(search_library.library(TITLES, SEED, clock.now()))
    landmarks = search_library.landmarks(SEED, clock.now())
    now = clock.now().timestamp()
    findable = [each for each in titles if search_library.findable(each, ASKER, now)]
    index = Index.open(tmp_path_factory.mktemp("quality") / "index", clock, model)
    index.apply((each.name, each) for each in titles)
    index.commit()
    index.set_popularity(search_library.popularity(iter(titles), len(landmarks), SEED))
    index.commit()
    queries = judged.queries(landmarks, findable, SEED)
    yield Library(index, {each.name: each for each in titles}, landmarks, queries, now)
    index.close()


def test_there_are_enough_judged_queries(library: Library) -> None:
    assert len(library.queries) >= 60
    assert len({each.kind for each in library.queries}) == 10


def test_searches_by_letters_are_good(library: Library) -> None:
    quality = library.quality(Mode.LEXICAL)
    for kind in ("exact", "prefix", "word order", "other language", "phrase", "field", "people"):
        assert quality[kind] > 0.97, (kind, quality)
    assert quality["typo"] > 0.9, quality
    assert quality["one word"] > 0.85, quality
    assert quality["all"] > 0.85, quality


def test_meaning_helps_who_uses_other_words_and_harms_nobody(library: Library) -> None:
    letters, both = library.quality(Mode.LEXICAL), library.quality(Mode.BEST)
    assert both["meaning"] > letters["meaning"] + 0.15, (letters, both)
    assert both["all"] > letters["all"]
    for kind in ("exact", "typo", "prefix", "phrase", "field", "people"):
        assert both[kind] >= letters[kind] - 0.01, (kind, letters, both)


def test_an_index_that_was_built_in_another_order_gives_the_same_answers(library: Library, tmp_path: Path) -> None:
    titles = list(library.titles.values())
    popularity = search_library.popularity(iter(titles), len(library.landmarks), SEED)
    random.Random(SEED).shuffle(titles)  # noqa: S311 - not for secrets
    other = Index.open(tmp_path / "index", StandingClock(), installed_model())
    try:
        # As it comes from Kafka: in pieces, some of them twice.
        for start in range(0, TITLES, 300):
            other.apply((each.name, each) for each in titles[max(0, start - 50) : start + 300])
            other.commit()
        other.set_popularity(popularity)
        other.commit()
        again = replace(library, index=other)
        for mode in (Mode.LEXICAL, Mode.BEST):
            differing = [each for each in library.queries if library.names(each, mode) != again.names(each, mode)]
            assert differing == [], mode
    finally:
        other.close()


def test_what_is_no_word_means_nothing() -> None:
    model = installed_model()
    assert model is not None
    assert not model.embed(["xqzw vbnkj"]).any()
    both, alone = model.embed(["samurai xqzw", "samurai"])
    assert both @ alone == pytest.approx(1)


def test_meaning_finds_nothing_that_the_viewer_may_not(library: Library) -> None:
    for each in library.queries:
        asked = SearchQuery(replace(ASKER, maximum_age=6), each.text, mode=Mode.SEMANTIC, size=100)
        for hit in library.index.search(asked).hits:
            assert search_library.findable(library.titles[hit.title.title], ASKER, library.now)
            assert hit.title.minimum_age <= 6


def test_meaning_finds_the_nearest_of_those_allowed_however_few_they_are(library: Library) -> None:
    """Held against all vectors, compared one by one."""
    model = installed_model()
    assert model is not None
    genres = {"adventure", "drama"}
    wanted = {"genre": sorted(genres), "kind": ["film"]}
    asked = SearchQuery(ASKER, "icy sand dunes", wanted, mode=Mode.SEMANTIC, size=10)
    hits = [hit.title.title for hit in library.index.search(asked).hits]
    fitting = [
        each
        for each in library.titles.values()
        if genres & set(each.genres)
        and each.kind == Title.KIND_FILM
        and search_library.findable(each, ASKER, library.now)
    ]
    cosines = vectors_of(fitting, model) @ model.embed(["icy sand dunes"])[0]
    order = [fitting[at].name for at in np.argsort(-cosines)[:10]]
    assert len(set(order) & set(hits)) >= 9  # a byte for each number may exchange neighbors
    assert hits[0] == order[0]


def test_ndcg_is_one_for_the_best_answer_and_less_for_others() -> None:
    grades = {"a": 3, "b": 1, "c": 1}
    assert judged.ndcg(["a", "b", "c"], grades) == 1
    assert judged.ndcg(["a", "c", "b", "x"], grades) == 1
    assert 0 < judged.ndcg(["b", "a", "c"], grades) < judged.ndcg(["a", "x", "b"], grades) < 1
    assert judged.ndcg(["x"] * 10 + ["a"], grades) == 0
