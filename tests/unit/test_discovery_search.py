"""What a search finds, in which order, and where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from discovery_titles import VIEWER, StandingClock, found, name_of, put, title, watched

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.discovery import ranking
from reelmesh.discovery.errors import FacetUnknown, ModelMissing, PageTooDeep
from reelmesh.discovery.index import Index
from reelmesh.discovery.model import Mode, SearchQuery, Viewer
from reelmesh.discovery.pages import fingerprint
from reelmesh.mesh.errors import PageTokenInvalid
from reelmesh.mesh.names import encode_page_token

GERMAN = Viewer("acme", language="de")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    opened = Index.open(tmp_path_factory.mktemp("search") / "index", StandingClock())
    put(
        opened,
        title(
            1,
            {"en": ("The Matrix", "A hacker learns what reality is."), "de": ("Matrix", "Ein Hacker.")},
            ["Keanu Reeves", "Carrie-Anne Moss"],
            genres=["science fiction"],
            tags=["dystopia"],
            year=1999,
        ),
        title(2, {"en": "The Godfather", "de": "Der Pate", "fr": "Le Parrain"}, ["Marlon Brando"], genres=["crime"]),
        title(3, {"ja": "千と千尋の神隠し", "en": "Spirited Away"}, ["Rumi Hiiragi"], genres=["animation"], year=2001),
        title(4, {"de": ("Häuser im Schnee", "Die Straßen sind leer. Ein Kommissar sucht ein Kind.")}, year=2010),
        title(5, "Star Wars", ["Carrie Fisher"], genres=["science fiction"], year=1977),
        title(6, "Wars of a Star", year=1985),
        title(7, "Spider-Man", year=2002),
        title(8, {"fr": "L'Été meurtrier"}, year=1983),
        title(9, "Moss and Fisher", ["Anne Carrie"], kind=Title.KIND_SERIES, year=1999),
    )
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("matrix", "The Matrix"),
        ("MATRIX THE", "The Matrix"),
        ("the matirx", "The Matrix"),
        ("matr", "The Matrix"),
        ("parrain", "The Godfather"),
        ("der pate", "The Godfather"),
        ("godfahter", "The Godfather"),
        ("千尋", "Spirited Away"),
        ("神隠し", "Spirited Away"),
        ("spirited", "Spirited Away"),
        ("haus schnee", "Häuser im Schnee"),
        ("hauser", "Häuser im Schnee"),
        ("strasse", "Häuser im Schnee"),
        ("spiderman", "Spider-Man"),
        ("spider man", "Spider-Man"),
        ("ete meurtrier", "L'Été meurtrier"),
        ("été", "L'Été meurtrier"),
        ("keanu", "The Matrix"),
        ("reeves keanu", "The Matrix"),
        ("keanu reevs", "The Matrix"),
        ("person:brando", "The Godfather"),
        ('person:"keanu reeves"', "The Matrix"),
        ('genre:"science fiction" year:1977', "Star Wars"),
        ("tag:dystopia", "The Matrix"),
        ("year:1980-1984", "L'Été meurtrier"),
        ("kind:series", "Moss and Fisher"),
        ('"star wars"', "Star Wars"),
        ("wars star", "Star Wars"),
        ('title:wars -"star wars"', "Wars of a Star"),
        ("hacker reality nonsense", "The Matrix"),
        ("carrie fisher", "Star Wars"),
    ],
)
def test_what_is_meant_comes_first(index: Index, text: str, first: str) -> None:
    assert found(index, text)[:1] == [first]


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ('"wars star"', set()),
        ("title:keanu", set()),
        ("person:matrix", set()),
        ("tag:crime", set()),
        ("genre:crime", {"The Godfather"}),
        ("star -wars", set()),
        ("the -matrix", {"The Godfather"}),
        ("zzzzzzzz", set()),
        ('"matrix away"', set()),
        ("person:carrie", {"The Matrix", "Star Wars", "Moss and Fisher"}),
    ],
)
def test_nothing_else_is_found(index: Index, text: str, titles: set[str]) -> None:
    assert set(found(index, text)) == titles


def test_what_is_typed_rightly_comes_before_what_is_nearly_so(tmp_path: Path) -> None:
    index = Index.open(tmp_path / "index", StandingClock())
    put(index, title(1, "Heart of Stone"), title(2, "Hearth and Home"), title(3, "The Heat"))
    watched(index, {2: 1e6, 3: 1e6})
    assert found(index, "heart ")[0] == "Heart of Stone"
    index.close()


def test_the_viewers_language_is_worth_more(tmp_path: Path) -> None:
    index = Index.open(tmp_path / "index", StandingClock())
    put(index, title(1, {"en": "Gift Basket"}), title(2, {"de": "Gift Kammer"}), title(3, {"fr": "Gift Panier"}))
    assert found(index, "gift", GERMAN)[0] == "Gift Kammer"
    assert found(index, "gift", Viewer("acme", language="en"))[0] == "Gift Basket"
    assert found(index, "gift", Viewer("acme", language="fr"))[0] == "Gift Panier"
    index.close()


def test_titles_are_told_in_the_viewers_language(index: Index) -> None:
    assert found(index, "godfather", GERMAN) == ["Der Pate"]
    assert found(index, "godfather", Viewer("acme")) == ["The Godfather"]
    assert found(index, "godfather", Viewer("acme", language="pl")) == ["The Godfather"]


def test_among_namesakes_the_popular_one_comes_first(tmp_path: Path) -> None:
    index = Index.open(tmp_path / "index", StandingClock())
    put(index, *(title(number, "The Island", year=1990 + number % 30) for number in range(1, 40)))
    watched(index, {7: 900.0, 23: 40.0})
    hits = index.search(SearchQuery(VIEWER, "island")).hits
    assert [hit.title.title for hit in hits[:2]] == [name_of(7), name_of(23)]
    index.close()


def test_no_popularity_passes_an_exact_name(tmp_path: Path) -> None:
    index = Index.open(tmp_path / "index", StandingClock())
    old = title(1, "Avatar", kind=Title.KIND_EXTRA, year=1950)
    put(index, old, title(2, "Avatar The Way of Water", ["Avatar Avatar"], genres=["avatar"], year=2026))
    watched(index, {2: 1e9})
    assert found(index, "avatar") == ["Avatar", "Avatar The Way of Water"]
    assert found(index, "avata")[0] == "Avatar The Way of Water"
    index.close()


def test_what_relevance_is_multiplied_with_spans_less_than_an_exact_name() -> None:
    weights = ranking.KIND_WEIGHTS.values()
    span = (1 + ranking.POPULARITY) * (1 + ranking.FRESHNESS) * max(weights) / min(weights)
    assert span < ranking.EXACT_RATIO


def test_what_is_popular_in_a_country_is_found_there_among_very_many(tmp_path: Path) -> None:
    index = Index.open(tmp_path / "index", StandingClock())
    put(index, *(title(number, f"Tale {number}") for number in range(1, 2500)))
    watched(index, {1777: 500.0}, "DE")
    there = index.search(SearchQuery(Viewer("acme", "DE", "en"), "t"))
    assert there.total == 2499
    assert there.hits[0].title.title == name_of(1777)
    elsewhere = index.search(SearchQuery(Viewer("acme", "FR", "en"), "t")).hits
    assert elsewhere[0].title.title != name_of(1777)
    index.close()


def test_a_series_is_as_popular_as_its_episodes(tmp_path: Path) -> None:
    index = Index.open(tmp_path / "index", StandingClock())
    series = [title(number, "Harbour", kind=Title.KIND_SERIES, video="") for number in (1, 2)]
    for each in series:
        each.ClearField("video")
    season = title(3, "Season 1", kind=Title.KIND_SEASON, parent_title=name_of(2), number=1)
    episode = title(4, "Storm", kind=Title.KIND_EPISODE, parent_title=name_of(3), number=2)
    put(index, episode, season, *series)  # parts may come before what they are part of
    watched(index, {4: 100.0})
    hits = index.search(SearchQuery(VIEWER, "harbour")).hits
    assert [hit.title.title for hit in hits[:2]] == [name_of(2), name_of(1)]
    (storm,) = index.get([name_of(4)], VIEWER)
    assert (storm.series, storm.season_number, storm.episode_number) == (name_of(2), 1, 2)
    index.close()


def test_highlights_are_in_code_points_of_what_is_shown(index: Index) -> None:
    def marks(text: str, viewer: Viewer = VIEWER) -> list[tuple[str, list[str]]]:
        hit = index.search(SearchQuery(viewer, text)).hits[0]
        return [(each.field, [each.text[at.start : at.end] for at in each.ranges]) for each in hit.highlights]

    assert marks("hauser strasse", GERMAN) == [("title", ["Häuser"]), ("synopsis", ["Straßen"])]
    assert marks("千尋", Viewer("acme", language="ja")) == [("title", ["千尋"])]
    assert marks("神隠し", Viewer("acme", language="ja")) == [("title", ["神隠し"])]
    assert marks("reevs") == [("person", ["Reeves"])]
    assert marks("ete") == [("title", ["Été"])]
    assert marks("matr") == [("title", ["Matrix"])]
    assert marks("the godfathre") == [("title", ["Godfather"])]


def test_a_long_synopsis_is_shown_where_the_word_is(tmp_path: Path) -> None:
    index = Index.open(tmp_path / "index", StandingClock())
    told = "🎬 " + "Wörter und noch mehr. " * 20 + "Ein Leuchtturm steht da. " + "Und so weiter. " * 20
    put(index, title(1, {"de": ("Film", told)}))
    (hit,) = index.search(SearchQuery(GERMAN, "leuchttürme")).hits
    (mark,) = hit.highlights
    assert [mark.text[each.start : each.end] for each in mark.ranges] == ["Leuchtturm"]
    assert len(mark.text) <= 240
    assert mark.text in told
    index.close()


def test_facets_count_all_that_was_found(tmp_path: Path) -> None:
    index = Index.open(tmp_path / "index", StandingClock())
    genres = [["drama"], ["drama", "war"], ["war"], ["comedy"]]
    put(index, *(title(n, f"Tale {n}", genres=genres[n % 4], year=1980 + n % 20) for n in range(1, 41)))
    result = index.search(SearchQuery(VIEWER, "tale", facets=["genre", "decade"], size=3))
    assert result.total == 40
    counted = {facet.facet: {each.value: each.titles for each in facet.values} for facet in result.facets}
    assert counted == {"genre": {"drama": 20, "war": 20, "comedy": 10}, "decade": {"1980": 20, "1990": 20}}
    narrowed = index.search(SearchQuery(VIEWER, "tale", {"genre": ["war"], "year": ["1981", "1982"]}, ["genre"]))
    assert narrowed.total == 4
    assert {each.value: each.titles for each in narrowed.facets[0].values} == {"war": 4, "drama": 2}
    index.close()


def test_unknown_facets_are_refused(index: Index) -> None:
    with pytest.raises(FacetUnknown):
        index.search(SearchQuery(VIEWER, "matrix", {"color": ["red"]}))
    with pytest.raises(FacetUnknown):
        index.search(SearchQuery(VIEWER, "matrix", facets=["collection"]))


def test_without_a_model_nothing_is_searched_by_meaning(index: Index) -> None:
    with pytest.raises(ModelMissing):
        index.search(SearchQuery(VIEWER, "matrix", mode=Mode.SEMANTIC))
    assert index.search(SearchQuery(VIEWER, "matrix", mode=Mode.BEST)).total == 1


def test_pages_show_each_title_once_while_popularity_changes(tmp_path: Path) -> None:
    index = Index.open(tmp_path / "index", StandingClock())
    put(index, *(title(number, f"Tale {number}") for number in range(1, 61)))
    shown: list[str] = []
    token, page = "", 0
    while True:
        result = index.search(SearchQuery(VIEWER, "tale", size=7, page_token=token))
        shown += [hit.title.title for hit in result.hits]
        page += 1
        watched(index, {page * 9: 10.0**page})
        token = result.next_page_token
        if not token:
            break
    assert len(shown) == 60 == len(set(shown))
    index.close()


def test_pages_beyond_the_depth_and_foreign_tokens_are_refused(index: Index) -> None:
    asked = SearchQuery(VIEWER, "matrix")
    deep = encode_page_token(f"{fingerprint(asked)}/1000")
    with pytest.raises(PageTooDeep):
        index.search(SearchQuery(VIEWER, "matrix", page_token=deep))
    for token in ("nonsense", encode_page_token("a/b"), encode_page_token("0123456789abcdef/20")):
        with pytest.raises(PageTokenInvalid):
            index.search(SearchQuery(VIEWER, "matrix", page_token=token))


def test_no_query_makes_the_index_explode(index: Index) -> None:
    for text in (
        "ab" * 128,
        "a " * 24,
        "abcdefgh " * 24,
        '"' + "a " * 20 + '"',
        "*" * 200 + " a",
        "\0 \u202e x",
    ):
        index.search(SearchQuery(VIEWER, text[:256].strip()))
