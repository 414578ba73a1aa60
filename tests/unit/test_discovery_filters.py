"""Who may find what: territory, windows, age, audience, state and organization, at the moment of asking."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from discovery_titles import NOON, StandingClock, found, listed, name_of, put, rating, title, window

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.discovery.errors import TitleUnknown
from reelmesh.discovery.index import Index
from reelmesh.discovery.model import BrowseQuery, Order, Viewer

HOUR = timedelta(hours=1)
PLACES = ("", "DE", "FR", "US", "JP")


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def index(tmp_path: Path, clock: StandingClock) -> Iterator[Index]:
    opened = Index.open(tmp_path / "index", clock)
    yield opened
    opened.close()


def viewer(territory: str = "", **more: object) -> Viewer:
    return Viewer("acme", territory, "en", **more)  # type: ignore[arg-type]


def test_windows_and_their_countries_belong_together(index: Index) -> None:
    early, late = window("DE", end=NOON), window("FR", start=NOON)
    put(index, title(1, "Film", availabilities=[early, late]))
    assert found(index, "film", viewer("DE")) == []
    assert found(index, "film", viewer("FR")) == ["Film"]
    assert found(index, "film", viewer()) == []


def test_an_edge_is_kept_at_the_moment_even_without_indexing_anew(index: Index, clock: StandingClock) -> None:
    put(index, title(1, "Film", availabilities=[window("DE", start=NOON + HOUR, end=NOON + 2 * HOUR)]))
    seen = []
    for _ in range(4):
        seen.append(found(index, "film", viewer("DE")) + listed(index, Order.NEW, viewer("FR")))
        clock.put_on(minutes=59, seconds=59, milliseconds=999)
        seen.append(found(index, "film", viewer("DE")))
        clock.put_on(milliseconds=1)
    assert seen == [[], [], ["Film"], ["Film"], [], [], [], []]


def test_edges_are_told_and_indexed_anew(index: Index, clock: StandingClock) -> None:
    put(
        index,
        title(1, "Film", availabilities=[window("DE", start=NOON + HOUR, end=NOON + 2 * HOUR)]),
        title(2, "Other"),
        title(3, "Third", availabilities=[window(end=NOON + 3 * HOUR)]),
    )
    assert index.next_edge() == NOON + HOUR
    assert index.refresh_edges() == 0
    clock.put_on(hours=1)
    assert index.refresh_edges() == 1
    assert found(index, "film", viewer("DE")) == ["Film"]  # before the commit as after
    index.commit()
    assert index.next_edge() == NOON + 2 * HOUR
    assert found(index, "film", viewer("DE")) == ["Film"]
    assert found(index, "film", viewer("FR")) == []
    clock.put_on(hours=5)
    assert index.refresh_edges() == 2
    index.commit()
    assert index.next_edge() is None
    assert listed(index, Order.NAME, viewer("DE")) == ["Other"]


def test_edges_last_over_a_restart(tmp_path: Path, clock: StandingClock) -> None:
    index = Index.open(tmp_path / "again", clock)
    put(index, title(1, "Film", availabilities=[window("DE", start=NOON + HOUR)]), title(2, "Other"))
    index.close()
    del index
    clock.put_on(hours=2)
    index = Index.open(tmp_path / "again", clock)
    assert found(index, "film", viewer("DE")) == ["Film"]
    assert index.refresh_edges() == 1
    index.commit()
    assert index.next_edge() is None
    index.close()


def test_any_windows_are_right_at_any_time(index: Index, clock: StandingClock) -> None:
    """Held against the definition, with and without indexing anew."""
    rng = random.Random(11)  # noqa: S311 - the same windows again
    titles: list[Title] = []
    for number in range(1, 80):
        windows = []
        for _ in range(rng.randrange(4)):
            start = NOON + HOUR * rng.randrange(-5, 10) if rng.random() < 0.7 else None
            end = (start or NOON) + HOUR * rng.randrange(1, 8) if rng.random() < 0.7 else None
            windows.append(window(*rng.sample(PLACES[1:], rng.randrange(4)), start=start, end=end))
        titles.append(title(number, f"Film {number}", availabilities=windows))
    put(index, *titles)

    def open_(each: Title, territory: str, now: datetime) -> bool:
        return not each.availabilities or any(
            (not one.territories or territory in one.territories)
            and (not one.HasField("start_time") or one.start_time.ToNanoseconds() <= now.timestamp() * 1e9)
            and (not one.HasField("end_time") or now.timestamp() * 1e9 < one.end_time.ToNanoseconds())
            for one in each.availabilities
        )

    for step in range(20):
        for territory in PLACES:
            shown = index.browse(BrowseQuery(viewer(territory), size=100)).titles
            wanted = {each.name for each in titles if open_(each, territory, clock.now())}
            assert {each.title for each in shown} == wanted, (step, territory)
        clock.put_on(minutes=59)
        if step % 3 == 2:
            index.refresh_edges()
            index.commit()


def test_the_summary_says_until_when(index: Index) -> None:
    chained = [window("DE", end=NOON + HOUR), window("DE", "FR", start=NOON + HOUR, end=NOON + 3 * HOUR)]
    put(index, title(1, "Film", availabilities=chained), title(2, "Good", availabilities=[window("DE")]))
    film, good = index.get([name_of(1), name_of(2)], viewer("DE"))
    assert film.available_until.ToDatetime(NOON.tzinfo) == NOON + 3 * HOUR
    assert not good.HasField("available_until")


@pytest.mark.parametrize("territory", PLACES)
@pytest.mark.parametrize("age", [0, 6, 11, 12, 16, 21])
def test_the_rating_of_the_country_holds_and_else_the_general_one(index: Index, territory: str, age: int) -> None:
    ratings = {
        1: [rating(16), rating(12, "DE", "AT"), rating(6, "FR")],
        2: [rating(6), rating(18, "DE")],
        3: [rating(12, "DE")],
        4: [],
        5: [rating(0)],
        6: [rating(12, "DE"), rating(16, "DE"), rating(6)],
    }
    put(index, *(title(number, f"Film {number}", age_ratings=each) for number, each in ratings.items()))

    def fit(number: int) -> bool:
        here = [each.minimum_age for each in ratings[number] if territory in each.territories and territory]
        general = [each.minimum_age for each in ratings[number] if not each.territories]
        anywhere = [each.minimum_age for each in ratings[number]] if not territory else []
        return not age or max(here or general or anywhere, default=18) <= age

    shown = index.browse(BrowseQuery(viewer(territory, maximum_age=age))).titles
    assert {each.title for each in shown} == {name_of(number) for number in ratings if fit(number)}


def test_audiences(index: Index) -> None:
    for number, audience in enumerate(
        (Title.AUDIENCE_UNSPECIFIED, Title.AUDIENCE_EVERYONE, Title.AUDIENCE_SIGNED_IN, Title.AUDIENCE_MEMBERS), 1
    ):
        put(index, title(number, f"Film {number}", audience=audience))
    assert len(found(index, "film", viewer())) == 2
    assert len(found(index, "film", viewer(signed_in=True))) == 3
    assert len(found(index, "film", viewer(member=True))) == 4


def test_only_what_is_published_in_the_organization(index: Index) -> None:
    put(
        index,
        title(1, "Film one"),
        title(2, "Film two", state=Title.STATE_DRAFT),
        title(3, "Film three", state=Title.STATE_WITHDRAWN),
        title(4, "Film four", organization="other"),
    )
    assert found(index, "film", viewer()) == ["Film one"]
    assert found(index, "film", Viewer("other", language="en")) == ["Film four"]
    assert [each.title for each in index.get([name_of(2), name_of(1), name_of(4)], viewer())] == [name_of(1)]
    for number in (2, 3, 4, 5):
        with pytest.raises(TitleUnknown):
            index.details(name_of(number), viewer())


def test_filters_hold_in_suggestions_facets_and_parts_too(index: Index) -> None:
    hidden = title(2, "Harbour hidden", ["Hidden Harbourman"], genres=["harbour life"], state=Title.STATE_DRAFT)
    series = title(3, "Harbour series", kind=Title.KIND_SERIES)
    season = title(4, "Season", kind=Title.KIND_SEASON, parent_title=series.name, number=1, state=Title.STATE_DRAFT)
    put(index, title(1, "Harbour", ["Jo Harbourwoman"], genres=["sea"]), hidden, series, season)
    assert {each.query for each in index.suggest("harb", viewer())} == {"Harbour", "Harbour series", "Jo Harbourwoman"}
    counted = index.browse(BrowseQuery(viewer(), facets=["genre", "person"])).facets
    assert [[each.value for each in facet.values] for facet in counted] == [["sea"], ["Jo Harbourwoman"]]
    assert not index.details(series.name, viewer()).parts
