"""The index itself: changes, revisions, restarts, lists, pages of titles, suggestions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from discovery_titles import (
    NOON,
    VIEWER,
    StandingClock,
    found,
    listed,
    name_of,
    put,
    title,
    video_of,
    watched,
    window,
)

from reelmesh.catalog.v1.title_pb2 import Image, Title
from reelmesh.discovery.errors import PageTooDeep, QueryTooLong
from reelmesh.discovery.index import Index
from reelmesh.discovery.model import BrowseQuery, Order, Popularity, SearchQuery, Viewer


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    opened = Index.open(tmp_path / "index", StandingClock())
    yield opened
    opened.close()


def revised(number: int, told: str, revision: int) -> Title:
    return title(number, told, revision=revision)


def test_older_revisions_are_left(index: Index) -> None:
    assert index.apply([(name_of(1), revised(1, "Second", 2))]) == 1
    assert index.apply([(name_of(1), revised(1, "First", 1)), (name_of(1), revised(1, "Second again", 2))]) == 0
    assert index.apply([(name_of(1), revised(1, "Fourth", 4)), (name_of(1), revised(1, "Third", 3))]) == 1
    index.commit()
    assert listed(index, Order.NAME) == ["Fourth"]
    assert index.statistics().titles == 1


def test_nobody_finds_what_is_not_committed(index: Index) -> None:
    index.apply([(name_of(1), title(1, "Film"))])
    assert found(index, "film") == []
    index.commit()
    assert found(index, "film") == ["Film"]
    index.apply([(name_of(1), revised(1, "Other", 2))])
    assert found(index, "film") == ["Film"]
    index.commit()
    assert found(index, "film") == []


def test_deleted_titles_go_and_their_places_are_taken(index: Index) -> None:
    put(index, title(1, "One"), title(2, "Two", ["Ann"]))
    assert index.apply([(name_of(2), None), (name_of(9), None)]) == 1
    index.commit()
    assert listed(index, Order.NAME) == ["One"]
    assert index.get([video_of(2), name_of(2)], VIEWER) == []
    put(index, title(3, "Three"))
    watched(index, {3: 10})
    assert listed(index, Order.POPULAR) == ["Three", "One"]


def test_a_title_that_is_made_anew_counts_from_one_again(index: Index) -> None:
    put(index, revised(1, "Old", 7))
    changes = [(name_of(1), None), (name_of(1), title(1, "New")), (name_of(2), title(2, "Other"))]
    assert index.apply(changes) == 3
    index.commit()
    assert listed(index, Order.NAME) == ["New", "Other"]
    assert index.apply([(name_of(1), title(1, "New"))]) == 0


def test_a_restart_changes_nothing(tmp_path: Path) -> None:
    clock = StandingClock()
    index = Index.open(tmp_path / "index", clock)
    put(index, title(1, "One", year=2001), title(2, "Two", year=2002), title(3, "Three", year=2003))
    index.apply([(name_of(2), None)])
    index.commit()
    index.apply([(name_of(1), revised(1, "Lost", 2))])  # not committed
    index.close()
    del index
    index = Index.open(tmp_path / "index", clock)
    assert listed(index, Order.NAME) == ["One", "Three"]
    assert index.apply([(name_of(3), title(3, "Three"))]) == 0
    put(index, revised(1, "Found", 2), title(4, "Four"))
    watched(index, {4: 5, 3: 1})
    assert listed(index, Order.POPULAR) == ["Four", "Three", "Found"]
    assert [each.display_title for each in index.get([video_of(3), video_of(1)], VIEWER)] == ["Three", "Found"]
    index.close()


def test_a_video_plays_the_title_that_names_it(index: Index) -> None:
    put(index, title(1, "One"))
    moved = title(1, "One", revision=2)
    moved.video = video_of(5)
    put(index, moved)
    assert [each.title for each in index.get([video_of(5), video_of(1), video_of(5)], VIEWER)] == [name_of(1)] * 2


def test_searches_go_on_while_it_is_written(index: Index) -> None:
    put(index, *(title(number, f"Tale {number}") for number in range(1, 200)))
    stop, failures, searches = threading.Event(), [], [0, 0]

    def search(at: int) -> None:
        while not stop.is_set():
            result = index.search(SearchQuery(VIEWER, "tale", size=100))
            searches[at] += 1
            if result.total != 199 or len({hit.title.title for hit in result.hits}) != 100:
                failures.append(result.total)

    threads = [threading.Thread(target=search, args=(at,)) for at in range(2)]
    for each in threads:
        each.start()
    for revision in range(2, 12):
        put(index, *(revised(number, f"Tale {number} {revision}", revision) for number in range(1, 200, 7)))
        watched(index, {revision: 100.0})
    stop.set()
    for each in threads:
        each.join()
    assert not failures
    assert min(searches) > 0


def test_orders(index: Index) -> None:
    put(
        index,
        title(1, {"en": "The Zebra", "de": "Affe"}, year=2001),
        title(2, "apple", year=2003),
        title(3, "Éclair", year=2002, availabilities=[window(start=NOON - timedelta(hours=1))]),
    )
    index.set_popularity(Popularity({"": {video_of(1): 5, video_of(3): 9}}, {"": {video_of(2): 0.5}}))
    index.commit()
    assert listed(index, Order.POPULAR) == ["Éclair", "The Zebra", "apple"]
    assert listed(index, Order.NEW) == ["Éclair", "apple", "The Zebra"]
    assert listed(index, Order.NAME) == ["apple", "Éclair", "The Zebra"]
    assert listed(index, Order.NAME, Viewer("acme", language="de")) == ["Affe", "apple", "Éclair"]
    assert listed(index, Order.TRENDING) == ["apple", "Éclair", "The Zebra"]


def test_sort_titles_are_sorted_by(index: Index) -> None:
    matrix = title(1, "The Matrix")
    matrix.localizations[0].sort_title = "Matrix, The"
    put(index, matrix, title(2, "Nothing"), title(3, "Lion"))
    assert listed(index, Order.NAME) == ["Lion", "The Matrix", "Nothing"]


def test_popularity_is_that_of_the_country(index: Index) -> None:
    put(index, title(1, "One"), title(2, "Two"))
    views = {"": {video_of(1): 100.0, video_of(2): 60.0}, "DE": {video_of(2): 50.0}}
    index.set_popularity(Popularity(views))
    index.commit()
    assert listed(index, Order.POPULAR, Viewer("acme", "DE", "en")) == ["Two", "One"]
    assert listed(index, Order.POPULAR, Viewer("acme", "FR", "en")) == ["One", "Two"]


def test_parts_are_in_their_order(index: Index) -> None:
    series = title(1, "Series", kind=Title.KIND_SERIES)
    seasons = [title(10 + n, f"Season {n}", kind=Title.KIND_SEASON, parent_title=series.name, number=n) for n in (2, 1)]
    episodes = [
        title(100 + n, f"Episode {n}", kind=Title.KIND_EPISODE, parent_title=seasons[0].name, number=n)
        for n in (11, 2, 1)
    ]
    trailer = title(200, "Trailer", kind=Title.KIND_EXTRA, parent_title=series.name)
    put(index, trailer, *episodes, *seasons, series)
    page = index.details(series.name, VIEWER)
    assert [each.display_title for each in page.parts] == ["Season 1", "Season 2"]
    assert [each.display_title for each in page.extras] == ["Trailer"]
    season = index.details(seasons[0].name, VIEWER)
    assert [each.episode_number for each in season.parts] == [1, 2, 11]
    assert season.parent.title == series.name
    assert {(each.series, each.season_number) for each in season.parts} == {(series.name, 2)}
    by_number = listed(index, Order.NUMBER, filters={"parent": [seasons[0].name]})
    assert by_number == ["Episode 1", "Episode 2", "Episode 11"]


def test_collections_are_in_their_order(index: Index) -> None:
    films = [title(number, f"Film {number}") for number in (1, 2, 3)]
    order = [films[2].name, films[0].name, name_of(77)]
    put(index, *films, title(9, "Trilogy", kind=Title.KIND_COLLECTION, members=order))
    assert listed(index, Order.NUMBER, filters={"collection": [name_of(9)]}) == ["Film 3", "Film 1"]
    assert [each.display_title for each in index.details(name_of(9), VIEWER).parts] == ["Film 3", "Film 1"]
    assert listed(index, Order.NUMBER, filters={"collection": [name_of(8)]}) == []


def test_lists_are_paged_to_a_depth(index: Index) -> None:
    put(index, *(title(number, f"Film {number}") for number in range(1, 1051)))
    shown: list[str] = []
    token = ""
    for _ in range(10):
        page = index.browse(BrowseQuery(VIEWER, Order.NAME, size=100, page_token=token))
        shown += [each.title for each in page.titles]
        token = page.next_page_token
    with pytest.raises(PageTooDeep):
        index.browse(BrowseQuery(VIEWER, Order.NAME, size=100, page_token=token))
    assert len(shown) == 1000 == len(set(shown))


def test_pictures_are_in_the_viewers_language_or_without_words(index: Index) -> None:
    def picture(language: str, purpose: Image.Purpose.ValueType = Image.PURPOSE_POSTER) -> Image:
        return Image(purpose=purpose, uri=f"/{language or 'plain'}.jpg", width=2, height=3, language=language)

    logo = picture("fr", Image.PURPOSE_LOGO)
    put(index, title(1, {"en": "Film", "de": "Film"}, images=[picture("en"), picture("de-AT"), picture(""), logo]))
    (german,) = index.get([name_of(1)], Viewer("acme", language="de"))
    assert [each.uri for each in german.images] == ["/de-AT.jpg", "/plain.jpg", "/fr.jpg"]


def test_suggestions(index: Index) -> None:
    put(
        index,
        title(1, "The Lighthouse", ["Willem Dafoe"], genres=["horror"]),
        title(2, "Light Years", ["Lightfoot Jones"], genres=["light music"]),
        title(3, "The Lighthouse", ["Else Lund"]),
        title(4, {"de": "Leuchtturm", "en": "Beacon"}),
    )
    watched(index, {3: 50.0})
    suggested = index.suggest("ligh", VIEWER)
    assert {each.query for each in suggested} == {"The Lighthouse", "Light Years", "Lightfoot Jones", "light music"}
    assert suggested[0].title.title == name_of(3)
    assert [each.query for each in index.suggest("willem d", VIEWER)] == ["Willem Dafoe"]
    assert [each.query for each in index.suggest("dafoe", VIEWER)] == ["Willem Dafoe"]
    assert [each.query for each in index.suggest("wilelm", VIEWER)] == ["Willem Dafoe"]
    assert index.suggest("lihgtho", VIEWER)[0].query == "The Lighthouse"
    assert [each.query for each in index.suggest("leuch", VIEWER)] == ["Beacon"]
    assert [each.query for each in index.suggest("leuch", Viewer("acme", language="de"))] == ["Leuchtturm"]
    assert len(index.suggest("l", VIEWER, 2)) == 2
    assert index.suggest('"', VIEWER) == []
    with pytest.raises(QueryTooLong):
        index.suggest("x" * 257, VIEWER)


def test_statistics_say_how_large_it_is(index: Index) -> None:
    assert index.statistics().titles == 0
    put(index, title(1, "One"), title(2, "Two"))
    now = index.statistics()
    assert (now.titles, now.segments, now.vectors) == (2, 1, 0)
    assert now.bytes > 1000
