from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from rows_fakes import (
    ACME,
    MemoryOptOuts,
    episode,
    film,
    id_of,
    library_of,
    model_of,
    season,
    series,
    title_name,
    video_name,
)

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.events.v1.identity_event_pb2 import IdentityEvent, UserDeleted
from reelmesh.events.v1.title_event_pb2 import TitleEvent
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import ModelName
from reelmesh.recommend import running
from reelmesh.recommend.artefacts import Artefact
from reelmesh.recommend.candidates import Chooser, Stock, best, likes_of
from reelmesh.recommend.erasures import Erasures
from reelmesh.recommend.explanations import Explaining, Reason
from reelmesh.recommend.factors import taste_of
from reelmesh.recommend.following import Following
from reelmesh.recommend.library import Library
from reelmesh.recommend.personalization import Personalization
from reelmesh.recommend.ranking import fuse, interleave, varied
from reelmesh.recommend.serving import Ready
from reelmesh.stores.events import PoisonRecord
from reelmesh.stores.events import Record as KafkaRecord


def video_id(number: int) -> str:
    return video_name(number).rpartition("/")[2]


def test_episodes_are_in_the_order_of_seasons_and_specials_are_last() -> None:
    held = library_of(
        series(1),
        season(10, 1, 2),
        season(20, 1, 1),
        season(30, 1, 0),
        episode(11, 10, 1),
        episode(22, 20, 10),
        episode(21, 20, 2),
        episode(31, 30, 1),
        episode(40, 1, 3),  # of the series itself, which counts as its first season
    ).of("acme")
    one = held.get(id_of(1))
    assert one is not None
    assert [each.id for each in held.episodes(one)] == [id_of(number) for number in (21, 40, 22, 11, 31)]
    work = held.of_video(video_id(11))
    assert work is not None
    assert held.work_of(work) == one


def test_an_episode_that_is_gone_still_has_a_next_one() -> None:
    library = library_of(series(1), season(10, 1, 1), *(episode(10 + place, 10, place) for place in (1, 2, 3)))
    withdrawn = episode(12, 10, 2)
    withdrawn.state, withdrawn.revision = Title.STATE_WITHDRAWN, 2
    library.put(withdrawn)
    held = library.of("acme")
    seen = held.get(id_of(12))
    assert seen is not None
    following = held.next_episode(seen)
    assert following is not None
    assert following.id == id_of(13)


def test_an_earlier_revision_is_left_and_a_video_that_moved_is_followed() -> None:
    library = library_of(film(1), film(2))
    late = film(1, ["space"], revision=3, video=video_name(9))
    library.put(late)
    library.put(film(1, revision=2))
    held = library.of("acme")
    found = held.of_video(video_id(9))
    assert found is not None
    assert (found.id, found.genres) == (id_of(1), ("space",))
    assert held.of_video(video_id(1)) is None
    library.drop(title_name(1))
    library.drop(title_name(404))
    library.drop("organizations/other/titles/" + id_of(1))
    assert held.of_video(video_id(9)) is None
    assert [each.id for each in held.works()] == [id_of(2)]


def test_what_is_not_published_and_what_is_no_work_is_never_chosen() -> None:
    draft = film(2, state=Title.STATE_DRAFT)
    held = library_of(film(1), draft, series(3), season(4, 3, 1), episode(5, 4, 1)).of("acme")
    assert {each.id for each in held.works()} == {id_of(1), id_of(3)}


@dataclass
class Record:
    key: str
    value: bytes


@dataclass
class Turn:
    records: Sequence[Record]
    place: str
    caught_up: bool


class Lost(Exception):
    pass


def event(title: Title) -> Record:
    return Record(title.name, TitleEvent(title=title).SerializeToString())


async def test_a_library_is_ready_when_it_is_whole_and_goes_on_where_it_was() -> None:
    places: list[str] = []
    steps: list[list[Turn | Exception]] = [
        [Turn([event(film(1))], "1", False), Unavailable("Kafka does not answer")],
        [
            Turn([Record("", b"\xff\xff"), event(film(2)), Record(title_name(1), b"")], "3", True),
            Lost("another topic"),
        ],
        [Turn([event(film(3))], "1", True)],
    ]
    news, done = 0, asyncio.Event()

    async def source(place: str) -> AsyncGenerator[Turn, None]:
        places.append(place)
        for step in steps.pop(0):
            if isinstance(step, Exception):
                raise step
            yield step
        done.set()
        await asyncio.Event().wait()

    def changed() -> None:
        nonlocal news
        news += 1

    library = Library()
    following = Following(library, source, changed, Lost)
    with pytest.raises(Unavailable):
        await following.check()
    running = asyncio.create_task(following.run())
    await done.wait()
    await following.check()
    running.cancel()
    assert places == ["", "1", ""]
    assert [each.id for each in library.of("acme").works()] == [id_of(3)]
    assert news == 2


def test_contributions_add_up_to_the_score_that_least_squares_give() -> None:
    """Held against the equation solved for the whole vector at once."""
    model = model_of("m", [[1, 2, 3], [4, 5]])
    strengths = {id_of(1): 1.0, id_of(4): 0.5, id_of(404): 1.0}
    taste = taste_of(model, strengths)
    assert taste is not None
    assert taste.titles == [id_of(1), id_of(4)]
    y = model.factors.astype(np.float64)
    confidence = np.zeros(len(y))
    confidence[[model.rows[id_of(1)], model.rows[id_of(4)]]] = [21.0, 11.0]
    wanted = confidence > 0
    weights = np.diag(np.where(wanted, confidence, 1.0))
    vector = np.linalg.solve(y.T @ weights @ y + 0.1 * np.eye(8), y.T @ weights @ wanted)
    np.testing.assert_allclose(taste.vector, vector, rtol=1e-4, atol=1e-6)
    parts = taste.contributions(model.factors)
    np.testing.assert_allclose(parts.sum(axis=1), y @ vector, rtol=1e-3, atol=1e-5)
    assert taste_of(model, {id_of(404): 1.0}) is None
    assert taste_of(model, {id_of(1): 0.0}) is None


def test_what_is_rare_makes_titles_alike() -> None:
    works = library_of(
        *(film(number, ["drama"], ["Many Films"]) for number in range(1, 40)),
        film(50, ["drama", "heist"], ["Ann Rare"], synopsis="A vault beneath the harbor"),
        film(51, ["drama"], ["Ann Rare"]),
        film(52, ["heist"], synopsis="Thieves dig towards the vault"),
    ).of("acme").works()  # fmt: skip
    stock = Stock(1, works)
    found = [works[row].id for row in stock.alike(stock.rows[id_of(50)])]
    assert set(found[:2]) == {id_of(51), id_of(52)}
    scores = stock.content.scores(stock.content.vector(0))
    assert scores[0] == pytest.approx(1.0, abs=0.2)
    mix = stock.content.mix({stock.rows[id_of(51)]: 1.0, stock.rows[id_of(1)]: 1.0})
    alone, other = mix.parts(stock.content.vector(stock.rows[id_of(50)]))
    assert alone > 5 * other
    assert stock.content.scores(mix.vector)[stock.rows[id_of(50)]] == pytest.approx(alone + other, rel=1e-4)


def test_an_empty_library_has_nothing_to_choose() -> None:
    chooser = Chooser(Stock(0, []), model_of("m", [[1, 2]]))
    likes = likes_of(chooser, {id_of(1): 1.0})
    assert chooser.for_viewer(likes) == []
    assert likes.seen == frozenset()


def test_titles_without_anything_said_of_them_are_like_nothing() -> None:
    bare = [
        Title(name=title_name(number), kind=Title.KIND_FILM, state=Title.STATE_PUBLISHED, revision=1)
        for number in (1, 2)
    ]
    stock = Stock(1, library_of(*bare).of("acme").works())
    assert stock.alike(0) == []


def test_a_reason_that_speaks_against_a_title_is_none() -> None:
    works = library_of(film(1, ["space"]), film(2, ["crime"]), film(3, ["space"]), film(4, ["love"])).of("acme").works()
    chooser = Chooser(Stock(1, works), None)
    likes = likes_of(chooser, {id_of(1): 1.0, id_of(2): 1.0})
    explaining = Explaining(chooser, likes)
    (first, *_) = chooser.for_viewer(likes)
    assert works[first.row].id == id_of(3)
    explanation = explaining.of(first)
    assert explanation is not None
    assert (explanation.reason, explanation.because_of) == (Reason.ALIKE, [id_of(1)])
    (unlike,) = fuse([], [chooser.stock.rows[id_of(4)]], 1.0)
    assert explaining.of(unlike) is None


def test_lists_are_fused_by_rank() -> None:
    found = fuse([1, 2, 3], [3, 4], 0.5)
    assert [each.row for each in found] == [3, 1, 2, 4]
    assert (found[1].alike, found[3].together) == (0.0, 0.0)
    assert list(interleave([1, 2, 3, 4, 5, 6], iter([7, 8, 9]), 3)) == [1, 2, 7, 3, 4, 8, 5, 6, 9]
    assert list(interleave([1], iter([]), 3)) == [1]


def test_the_best_are_found_whatever_their_number() -> None:
    scores = np.array([0.5, 0.0, 0.9, 0.5, -1.0, 0.1], np.float32)
    assert best(scores, 10) == [2, 0, 3, 5]
    assert best(scores, 2) == [2, 0]
    assert best(np.zeros(0, np.float32), 2) == []


def test_a_row_has_its_part_of_a_genre_and_no_more_unless_there_is_nothing_else() -> None:
    items = ["a1", "a2", "a3", "a4", "b1", "b2", "c1"]
    assert varied(items, lambda item: item[0], 5) == ["a1", "a2", "b1", "b2", "c1"]
    assert varied(items, lambda item: item[0], 6) == ["a1", "a2", "b1", "b2", "c1", "a3"]
    assert varied(items, lambda _: "", 3) == ["a1", "a2", "a3"]


async def test_the_choice_of_who_deletes_their_account_goes_with_it() -> None:
    store = MemoryOptOuts()
    choices = Personalization(store, lambda organization, viewer: f"{organization}/{viewer}".encode())
    for user in ("users/1", "users/2"):
        await choices.set("acme", user, enabled=False)
    assert await choices.opted_out("acme") == {b"acme/users/1", b"acme/users/2"}
    deleted = IdentityEvent(user="users/1", user_deleted=UserDeleted(organizations=[ACME]))
    for _ in range(2):
        await Erasures(choices).handle(KafkaRecord("topic", "users/1", deleted.SerializeToString()))
    assert await choices.opted_out("acme") == {b"acme/users/2"}
    assert await choices.enabled("acme", "users/1")
    with pytest.raises(PoisonRecord):
        await Erasures(choices).handle(KafkaRecord("topic", "users/1", b"\xff"))


class Served:
    """Models in memory, by id."""

    def __init__(self) -> None:
        self.running: running.Served | None = None

    async def load(self, organization: str, model: str = "") -> running.Served | None:
        return self.running if not model else None


async def test_a_model_is_made_ready_once_and_anew_when_another_runs() -> None:
    factors = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    artefact = Artefact(
        titles=(id_of(1), id_of(2)),
        factors=factors,
        popularity=np.ones(2, np.float32),
        neighbours=np.full((2, 1), -1, np.int32),
        likeness=np.zeros((2, 1), np.float32),
        regularization=2.0,
        alpha=3.0,
        facts={},
    )
    models = Served()
    ready = Ready(models)
    assert await ready.load("acme", "") is None
    models.running = running.Served(ModelName("acme", id_of(7)), artefact)
    first = await ready.load("acme", "")
    assert first is not None
    assert (first.name, first.rows, first.alpha) == (id_of(7), {id_of(1): 0, id_of(2): 1}, 3.0)
    np.testing.assert_allclose(first.system, [[3.0, 0.0], [0.0, 3.0]])
    assert await ready.load("acme", "") is first
    assert await ready.load("acme", id_of(8)) is None
    models.running = running.Served(ModelName("acme", id_of(8)), artefact)
    assert await ready.load("acme", "") is not first
