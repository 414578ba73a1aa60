"""The seeded library: the same for the same seed, by the contract's rules, and of a shape that is worth searching."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import protovalidate
import pytest

from reelmesh.catalog.title_model import imported_name
from reelmesh.catalog.title_rules import check, check_parent
from reelmesh.catalog.v1.title_pb2 import Credit, Image, Title
from reelmesh_tools.library import artwork
from reelmesh_tools.library.generator import LANDMARKS, landmarks, titles
from reelmesh_tools.library.phrases import Behind, Pair, Thing, Whose, shown, sorted_by
from reelmesh_tools.library.words import DE, EN, ES, FR, IT, JA, LANGUAGES, PT, Case, adjectives, themes, thing

COUNT = 2500


@pytest.fixture(scope="module")
def library() -> list[Title]:
    return list(titles(COUNT, 7))


def test_the_same_seed_gives_the_same_titles_however_many(library: list[Title]) -> None:
    assert list(titles(500, 7)) == library[:500]
    assert [title.localizations[0].title for title in titles(500, 8)] != [
        title.localizations[0].title for title in library[:500]
    ]


def test_all_titles_keep_the_rules_of_the_catalog(library: list[Title]) -> None:
    by_name = {str(imported_name("default", title.external_id)): title for title in library}
    before: set[str] = set()
    for title in library:
        protovalidate.validate(title)
        check("default", title)
        if title.parent_title:
            check_parent(title, by_name[title.parent_title])
        assert {title.parent_title, *title.members} - {""} <= before
        before.add(str(imported_name("default", title.external_id)))


def test_names_follow_the_organization() -> None:
    parts = [title for title in titles(400, 7, "acme") if title.parent_title]
    assert parts
    assert all(title.parent_title.startswith("organizations/acme/titles/") for title in parts)


def test_it_has_all_kinds_states_and_windows(library: list[Title]) -> None:
    kinds = Counter(title.kind for title in library)
    assert set(kinds) == set(Title.Kind.values()) - {0}
    assert kinds[Title.KIND_FILM] > COUNT / 5
    assert kinds[Title.KIND_EPISODE] > 5 * kinds[Title.KIND_SEASON] > 0
    states = Counter(title.state for title in library)
    assert states[Title.STATE_PUBLISHED] > 0.85 * COUNT
    assert states[Title.STATE_DRAFT]
    assert states[Title.STATE_WITHDRAWN]
    films = [title for title in library if title.kind == Title.KIND_FILM]
    everywhere = sum(not film.availabilities for film in films)
    assert 0.6 < everywhere / len(films) < 0.95
    assert any(window.territories for film in films for window in film.availabilities)
    assert {len(film.localizations) for film in films[LANDMARKS:]} >= {2, 3, 4, 5, 6}


def test_few_are_famous_and_directors_have_favorites(library: list[Title]) -> None:
    films = [title for title in library if title.kind == Title.KIND_FILM]
    cast: Counter[str] = Counter()
    together: dict[str, Counter[str]] = {}
    for film in films:
        actors = [credit.person for credit in film.credits if credit.role in {Credit.ROLE_ACTOR, Credit.ROLE_VOICE}]
        director = next(credit.person for credit in film.credits if credit.role == Credit.ROLE_DIRECTOR)
        cast.update(actors)
        together.setdefault(director, Counter()).update(actors)
    ranked = [count for _, count in cast.most_common()]
    assert sum(ranked[: len(ranked) // 10]) > 0.25 * sum(ranked)
    assert sum(count == 1 for count in ranked) > 0.2 * len(ranked)
    busy = max(together.values(), key=lambda each: each.total())
    assert sum(count for _, count in busy.most_common(7)) > 0.4 * busy.total()


def test_names_of_works_are_not_given_twice(library: list[Title]) -> None:
    names = Counter(
        title.localizations[0].title for title in library if title.kind in {Title.KIND_FILM, Title.KIND_SERIES}
    )
    assert sum(count - 1 for count in names.values()) < 0.01 * names.total()


def test_landmarks_are_known_by_heart(library: list[Title]) -> None:
    known = landmarks(7)
    assert known == library[:LANDMARKS]
    assert [title.external_id for title in known[:2]] == ["seed-7-000001", "seed-7-000002"]
    names = {localization.title for title in library[LANDMARKS:] for localization in title.localizations}
    for film in known:
        assert film.state == Title.STATE_PUBLISHED
        assert not film.availabilities
        assert {localization.language for localization in film.localizations} == set(LANGUAGES)
    films = {
        localization.title
        for title in library[LANDMARKS:]
        if title.kind in {Title.KIND_FILM, Title.KIND_SERIES}
        for localization in title.localizations
        if localization.language == "en"
    }
    english = {each.title for film in known for each in film.localizations if each.language == "en"}
    assert len(english) == LANDMARKS
    assert not english & films
    assert names


def test_pictures_are_drawn_in_each_coloring(library: list[Title]) -> None:
    uris = {image.uri for title in library for image in title.images}
    assert all(title.images for title in library)
    assert any(image.purpose == Image.PURPOSE_POSTER for image in library[0].images)
    drawings = {theme.name: artwork.drawing(theme.name) for theme in themes()}
    for address in map(urlsplit, uris):
        drawn = Path("gateway/web/public") / address.path.lstrip("/")
        assert drawn.parent == artwork.FOLDER
        assert f'id="{address.fragment}"' in drawings[drawn.stem]
    for name, drawing in drawings.items():
        assert (artwork.FOLDER / f"{name}.svg").read_text(encoding="utf-8") == drawing


def test_grammar() -> None:
    nouns = {noun.key: noun for theme in themes() for noun in theme.nouns}
    silent, dark = (next(each for each in adjectives() if each.english == name) for name in ("silent", "dark"))
    assert [shown(Thing(nouns["lighthouse"], silent), language) for language in range(len(LANGUAGES))] == [
        "The Silent Lighthouse",
        "Der stille Leuchtturm",
        "Le phare silencieux",
        "El faro silencioso",
        "Il faro silenzioso",
        "O farol silencioso",
        "静かな灯台",
    ]
    assert shown(Pair("of", nouns["mirror"], nouns["star"]), FR) == "Le miroir de l'étoile"
    assert shown(Pair("of", nouns["mirror"], nouns["star"]), IT) == "Lo specchio della stella"
    assert shown(Pair("of", nouns["eagle"], nouns["eagle"]), ES) == "El águila del águila"
    assert shown(Pair("of", nouns["house"], nouns["dragon"]), DE) == "Das Haus des Drachen"
    assert shown(Pair("between", nouns["dragon"], nouns["house"]), DE) == "Zwischen dem Drachen und dem Haus"
    assert shown(Pair("of", nouns["house"], nouns["dragon"]), JA) == "竜の家"
    assert shown(Whose(nouns["house"], "Octave"), FR) == "La maison d'Octave"
    assert shown(Behind("after", nouns["storm"]), PT) == "Depois da tempestade"
    assert shown(Behind("under", nouns["storm"]), EN) == "Under the Storm"
    assert thing(DE, nouns["house"], Case.OF, dark) == "des dunklen Hauses"
    assert sorted_by("The Silent Lighthouse", EN) == "Silent Lighthouse, The"
    assert sorted_by("L'étoile", FR) == "Étoile, L'"
    assert not sorted_by("Between the Dragon and the House", EN)
