"""An organization's models: one is made at a time, by one process, and the right one runs."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from reelmesh.mesh.errors import InvalidArgument, Unavailable
from reelmesh.mesh.names import ModelName
from reelmesh.recommend.artefacts import Artefact, ArtefactDamaged
from reelmesh.recommend.errors import (
    ModelNotReady,
    ModelUnknown,
    NoEarlierModel,
    TooFewViewings,
    TrainingUnderWay,
    ViewersRemoved,
)
from reelmesh.recommend.job import ATTEMPTS, KEPT, SOON, Job, Schedule, Timing, due, superfluous
from reelmesh.recommend.messages import model_to_proto
from reelmesh.recommend.model import Data, Evaluation, Head, Lease, Model, Reason, Refusal, Score, Shelf, State
from reelmesh.recommend.model_service import ModelService
from reelmesh.recommend.models import Models
from reelmesh.recommend.running import Running
from reelmesh.recommend.v1 import model_service_pb2 as pb
from reelmesh.recommend.workplace import Outcome, TrainerFailed

START = datetime(2026, 11, 27, 3, tzinfo=UTC)
DATA = Data(40, 10, 300, START - timedelta(days=9), START - timedelta(days=1), START, 0.5)
EVALUATION = Evaluation(12, 20, (Score("als", 0.2, 0.1, 0.5, 0.8),))
LEASE = timedelta(milliseconds=300)


class Clock:
    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time


class Ids:
    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def new(self) -> str:
        return str(uuid.UUID(int=next(self._numbers)))


class Shelves:
    """Shelves as a store keeps them: a change that another came before is not applied."""

    def __init__(self) -> None:
        self.shelves: dict[str, Shelf] = {}
        self.kept = asyncio.Event()

    async def load(self, organization: str) -> Shelf:
        return self.shelves.get(organization, Shelf(organization))

    async def save(self, before: Shelf, after: Shelf) -> bool:
        await asyncio.sleep(0)
        if (await self.load(after.organization)).revision != before.revision:
            return False
        self.shelves[after.organization] = replace(after, revision=before.revision + 1)
        return True

    async def keep(self, organization: str, lease: Lease) -> bool:
        shelf = await self.load(organization)
        if shelf.lease is None or (shelf.lease.holder, shelf.lease.model) != (lease.holder, lease.model):
            return False
        self.shelves[organization] = replace(shelf, lease=lease)
        self.kept.set()
        return True

    async def heads(self) -> Sequence[Head]:
        return [Head(shelf.organization, shelf.running, shelf.lease) for shelf in self.shelves.values()]


ARTEFACT = Artefact(
    ("t",),
    np.ones((1, 2), np.float32),
    np.ones(1, np.float32),
    np.zeros((1, 1), np.int32),
    np.ones((1, 1), np.float32),
    1,
    1,
    {},
)


class Files:
    """What is kept of models: their names."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes | None] = {}
        self.damaged: set[str] = set()

    async def save(self, name: ModelName, attempt: int, files: Mapping[str, bytes]) -> str:
        if name.id in self.damaged:
            raise ArtefactDamaged("it is not what was written")
        self.kept[name.id] = files["viewers.bin"]
        return f"checksum of {name.id}"

    async def load(self, name: ModelName, attempt: int, checksum: str) -> Artefact:
        if name.id in self.damaged:
            raise ArtefactDamaged("factors.npy is damaged")
        return ARTEFACT

    async def viewers(self, name: ModelName, attempt: int, checksum: str) -> bytes | None:
        return self.kept[name.id]

    async def forget_viewers(self, name: ModelName) -> None:
        if name.id in self.kept:
            self.kept[name.id] = None

    async def remove(self, name: ModelName) -> None:
        self.kept.pop(name.id, None)


class Maker:
    """Makes models at once, or when it is let."""

    def __init__(self) -> None:
        self.outcome = Outcome(None, DATA, EVALUATION, {"viewers.bin": (7).to_bytes(16)})
        self.let = asyncio.Event()
        self.let.set()
        self.begun = asyncio.Event()
        self.error: Exception | None = None
        self.against: list[str | None] = []

    async def train(self, model: Model, running: Model | None) -> Outcome:
        self.begun.set()
        self.against.append(running.name.id if running else None)
        await self.let.wait()
        if self.error is not None:
            raise self.error
        return self.outcome


class World:
    def __init__(self) -> None:
        self.clock, self.store, self.files, self.maker = Clock(), Shelves(), Files(), Maker()
        self.models = Models(self.store, self.files, self.clock, Ids(), lambda: None)
        self.ran = 0

    async def ready(self) -> None:
        pass

    def job(self, holder: str = "one", maker: Maker | None = None) -> Job:
        def ran() -> None:
            self.ran += 1

        timing = Timing(lease=LEASE, look_seconds=60)
        return Job(self.store, maker or self.maker, self.files, self.clock, holder, timing, ready=self.ready, ran=ran)

    async def made(self, outcome: Outcome | None = None) -> Model:
        """Have a model made."""
        self.clock.time += timedelta(days=1)
        model, _ = await self.models.begin("acme")
        if outcome is not None:
            self.maker.outcome = outcome
        await self.job().look()
        return (await self.models.get(model.name))[0]

    async def shelf(self) -> Shelf:
        return await self.store.load("acme")


@pytest.fixture
def world() -> World:
    return World()


async def test_a_model_is_begun_once_for_each_request(world: World) -> None:
    first, shelf = await world.models.begin("acme", "request")
    assert model_to_proto(first, shelf).state == pb.Model.STATE_TRAINING
    again, _ = await world.models.begin("acme", "request")
    assert again == first
    with pytest.raises(TrainingUnderWay):
        await world.models.begin("acme", "another")
    await world.models.begin("other")
    await world.job().look()
    done, shelf = await world.models.begin("acme", "request")
    assert model_to_proto(done, shelf).state == pb.Model.STATE_RUNNING
    assert len((await world.shelf()).models) == 1


async def test_many_who_begin_at_once_begin_one(world: World) -> None:
    tries = await asyncio.gather(*(world.models.begin("acme") for _ in range(5)), return_exceptions=True)
    assert sum(not isinstance(each, BaseException) for each in tries) == 1
    assert len((await world.shelf()).models) == 1


async def test_a_model_that_may_runs_with_what_is_known_of_it(world: World) -> None:
    model = await world.made()
    shelf = await world.shelf()
    assert shelf.running == model.name.id
    assert shelf.lease is None
    assert world.ran == 1
    assert (model.state, model.data, model.evaluation) == (State.READY, DATA, EVALUATION)
    assert model.run_time == model.end_time == world.clock.time
    assert model.checksum == f"checksum of {model.name.id}"
    assert model.attempt == 1
    assert await world.models.learned_from(model.name, (7).to_bytes(16)) == (True, 1)
    assert await world.models.learned_from(model.name, (8).to_bytes(16)) == (False, 1)


async def test_the_next_is_held_against_it_and_its_viewers_are_forgotten(world: World) -> None:
    first = await world.made()
    second = await world.made()
    assert world.maker.against == [None, first.name.id]
    assert (await world.shelf()).running == second.name.id
    with pytest.raises(ViewersRemoved):
        await world.models.learned_from(first.name, (7).to_bytes(16))
    assert await world.models.learned_from(second.name, (7).to_bytes(16)) == (True, 1)


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        (Reason.RECALL_WORSE, State.REFUSED),
        (Reason.NDCG_WORSE, State.REFUSED),
        (Reason.COVERAGE_WORSE, State.REFUSED),
        (Reason.TOO_FEW_VIEWINGS, State.FAILED),
        (Reason.NUMBERS_INVALID, State.FAILED),
    ],
)
async def test_one_that_may_not_run_leaves_the_other_running(world: World, reason: Reason, state: State) -> None:
    first = await world.made()
    second = await world.made(Outcome(Refusal(reason, "why"), DATA, EVALUATION, {"viewers.bin": b""}))
    assert (second.state, second.reason, second.message) == (state, reason, "why")
    assert second.run_time is None
    assert (await world.shelf()).running == first.name.id
    assert second.name.id not in world.files.kept
    with pytest.raises(ModelNotReady):
        await world.models.roll_back("acme", second.name)


async def test_what_was_not_kept_whole_does_not_run(world: World) -> None:
    await world.made()
    world.files.damaged.add(str(uuid.UUID(int=2)))
    second = await world.made()
    assert (second.state, second.reason) == (State.FAILED, Reason.ARTEFACT_DAMAGED)
    assert (await world.shelf()).running != second.name.id


async def test_a_trainer_that_fails_is_said_to_have(world: World) -> None:
    world.maker.error = TrainerFailed("Traceback: secret")
    model = await world.made()
    assert (model.state, model.reason) == (State.FAILED, Reason.INTERNAL)
    assert "secret" not in model.message
    assert (await world.shelf()).lease is None


async def test_rolling_back_goes_back_further_each_time(world: World) -> None:
    with pytest.raises(NoEarlierModel):
        await world.models.roll_back("acme", None)
    first, second, third = [await world.made() for _ in range(3)]
    for expected in (second, first):
        model, shelf = await world.models.roll_back("acme", None)
        assert model.name == expected.name
        assert model_to_proto(model, shelf).state == pb.Model.STATE_RUNNING
    with pytest.raises(NoEarlierModel):
        await world.models.roll_back("acme", None)
    model, shelf = await world.models.roll_back("acme", third.name)
    assert shelf.running == third.name.id
    assert model.run_time == world.clock.time
    revision = shelf.revision
    assert (await world.models.roll_back("acme", third.name))[1].revision == revision
    with pytest.raises(ModelUnknown):
        await world.models.roll_back("acme", ModelName("acme", str(uuid.UUID(int=99))))


async def test_a_damaged_model_is_not_gone_back_to(world: World) -> None:
    first, second = [await world.made() for _ in range(2)]
    world.files.damaged.add(first.name.id)
    with pytest.raises(ModelNotReady, match="damaged"):
        await world.models.roll_back("acme", None)
    assert (await world.shelf()).running == second.name.id


async def test_models_are_listed_latest_first_by_pages(world: World) -> None:
    made = [await world.made() for _ in range(5)]
    listed, after = [], ""
    while True:
        page, after, _ = await world.models.list("acme", after, 2)
        listed += [model.name for model in page]
        if not after:
            break
    assert listed == [model.name for model in reversed(made)]


async def test_a_model_whose_maker_died_is_made_by_another_when_the_lease_has_ended(world: World) -> None:
    model, _ = await world.models.begin("acme")
    dead = Maker()
    dead.let.clear()
    dying = asyncio.create_task(world.job("dead", dead).look())
    await dead.begun.wait()
    held = await world.shelf()
    assert held.lease is not None
    assert held.lease.holder == "dead"
    await world.job("alive").look()
    assert (await world.shelf()).lease == held.lease  # its time is not over
    world.clock.time += LEASE * 2
    await world.job("alive").look()
    shelf = await world.shelf()
    assert shelf.running == model.name.id
    assert shelf.models[model.name.id].attempt == 2
    # The first was not dead after all: it sees that it has lost, and changes nothing.
    dead.let.set()
    await dying
    assert await world.shelf() == shelf


async def test_a_lease_is_lengthened_while_a_model_is_made(world: World) -> None:
    await world.models.begin("acme")
    world.maker.let.clear()
    working = asyncio.create_task(world.job().look())
    await world.maker.begun.wait()
    begun = (await world.shelf()).lease
    assert begun is not None
    world.clock.time += LEASE / 2
    world.store.kept.clear()
    async with asyncio.timeout(5):
        await world.store.kept.wait()
    kept = (await world.shelf()).lease
    assert kept is not None
    assert kept.end == world.clock.time + LEASE
    world.maker.let.set()
    await working


@pytest.mark.parametrize("cancelled", [True, False])
async def test_who_stops_or_waits_for_analytics_lets_others_go_on(world: World, cancelled: bool) -> None:
    await world.models.begin("acme")
    world.maker.let.clear()
    working = asyncio.create_task(world.job().look())
    await world.maker.begun.wait()
    if cancelled:
        working.cancel()
    else:
        world.maker.error = Unavailable("analytics does not answer")
        world.maker.let.set()
    with pytest.raises(asyncio.CancelledError if cancelled else Unavailable):
        await working
    shelf = await world.shelf()
    assert shelf.lease is not None
    assert shelf.lease.free(world.clock.time)
    assert [model.attempt for model in shelf.models.values()] == [0]


async def test_a_model_that_kills_its_makers_is_given_up(world: World) -> None:
    model, _ = await world.models.begin("acme")
    world.maker.let.clear()
    dying = []
    for number in range(ATTEMPTS):
        world.maker.begun.clear()
        dying.append(asyncio.create_task(world.job(f"{number}").look()))
        await world.maker.begun.wait()
        world.clock.time += LEASE * 2
    await world.job("last").look()
    found, shelf = await world.models.get(model.name)
    assert (found.state, found.reason, shelf.lease) == (State.FAILED, Reason.INTERNAL, None)
    world.maker.let.set()
    await asyncio.gather(*dying)
    assert await world.shelf() == shelf


async def test_a_model_that_was_held_against_another_than_runs_waits(world: World) -> None:
    first, second = [await world.made() for _ in range(2)]
    world.clock.time += timedelta(days=1)
    third, _ = await world.models.begin("acme")
    world.maker.let.clear()
    world.maker.begun.clear()
    working = asyncio.create_task(world.job().look())
    await world.maker.begun.wait()
    await world.models.roll_back("acme", first.name)
    world.maker.let.set()
    await working
    shelf = await world.shelf()
    assert shelf.running == first.name.id
    assert shelf.models[third.name.id].state is State.READY
    assert "held against" in shelf.models[third.name.id].message
    assert second.name.id in shelf.models


def shelf_of(*states: State, running: int | None = None, reason: str = "") -> Shelf:
    models = {}
    for number, state in enumerate(states):
        id_ = str(uuid.UUID(int=number))
        models[id_] = Model(ModelName("acme", id_), state, START + timedelta(hours=number), reason=reason)
    return Shelf("acme", models, str(uuid.UUID(int=running)) if running is not None else "")


def test_the_schedule_waits_its_time() -> None:
    day = timedelta(days=1)
    assert due(Shelf("acme"), day, START)
    assert not due(Shelf("acme"), timedelta(), START)
    one = shelf_of(State.READY, running=0)
    assert not due(one, day, START + day - timedelta(seconds=1))
    assert due(one, day, START + day)
    assert not due(replace(one, lease=Lease("m", "", START)), day, START + day)
    few = shelf_of(State.FAILED, reason=Reason.TOO_FEW_VIEWINGS)
    assert due(few, day, START + SOON)
    assert not due(shelf_of(State.FAILED, reason=Reason.INTERNAL), day, START + SOON)


async def test_the_schedule_begins_what_is_due_when_the_library_is_whole(world: World) -> None:
    whole = False

    async def ready() -> None:
        if not whole:
            raise Unavailable("titles are read")

    schedule = Schedule(
        world.store, world.models, lambda: ["acme", "other"], world.clock, timedelta(days=1), ready=ready
    )
    with pytest.raises(Unavailable):
        await schedule.look()
    whole = True
    await schedule.look()
    await schedule.look()
    assert [len(shelf.models) for shelf in world.store.shelves.values()] == [1, 1]


async def test_old_models_are_removed_and_the_running_one_never(world: World) -> None:
    shelf = shelf_of(*[State.READY] * (KEPT + 3), *[State.FAILED] * (KEPT + 2), State.TRAINING, running=0)
    gone = {int(uuid.UUID(name.id)) for name in superfluous(shelf)}
    assert gone == {1, 2, KEPT + 3, KEPT + 4}
    first = await world.made()
    await world.made()
    await world.models.roll_back("acme", first.name)
    world.maker.outcome = Outcome(Refusal(Reason.RECALL_WORSE, "why"), DATA, EVALUATION)
    for _ in range(KEPT + 3):
        await world.made()
    shelf = await world.shelf()
    assert len(shelf.models) == KEPT + 2
    assert first.name.id in shelf.models
    assert set(world.files.kept) == {str(uuid.UUID(int=1)), str(uuid.UUID(int=2))}


class Judge:
    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.asked: list[tuple[str | None, datetime]] = []

    async def judge(self, model: Model, running: Model | None, split: datetime) -> Outcome:
        self.asked.append((running.name.id if running else None, split))
        return self.outcomes.pop(0)


async def test_a_model_is_judged_by_what_came_since_or_by_what_it_was_judged_by(world: World) -> None:
    model = await world.made()
    few = Outcome(Refusal(Reason.TOO_FEW_VIEWINGS, "2 viewers"), DATA)
    judge = Judge(few, Outcome(None, DATA, EVALUATION))
    assert await world.models.evaluate(model.name, judge) == EVALUATION
    assert judge.asked == [(None, DATA.end_time), (None, DATA.split_time)]
    with pytest.raises(TooFewViewings, match="2 viewers"):
        await world.models.evaluate(model.name, Judge(few, few))
    running = await world.made()
    judge = Judge(Outcome(None, DATA, EVALUATION))
    await world.models.evaluate(model.name, judge)
    assert judge.asked == [(running.name.id, DATA.end_time)]
    failed = await world.made(Outcome(Refusal(Reason.NUMBERS_INVALID, "why"), DATA))
    with pytest.raises(ModelNotReady):
        await world.models.evaluate(failed.name, Judge())


async def test_replicas_notice_what_runs_and_keep_what_they_have_of_what_is_damaged(world: World) -> None:
    running = Running(world.store, world.files)
    await running.look()
    assert running.of("acme") is None
    first = await world.made()
    await running.look()
    served = running.of("acme")
    assert served is not None
    assert served.name == first.name
    second = await world.made()
    world.files.damaged.add(second.name.id)
    await running.look()
    assert running.of("acme") is served
    third = await world.made()
    await running.look()
    assert await running.load("acme") is running.of("acme")
    assert (await running.load("acme", third.name.id)) is running.of("acme")
    tried = await running.load("acme", first.name.id)
    assert tried is not None
    assert tried.name == first.name
    assert await running.load("acme", first.name.id) is tried
    assert await running.load("acme", str(uuid.UUID(int=77))) is None
    await world.models.roll_back("acme", first.name)
    await running.look()
    assert running.of("acme") is tried


async def test_a_model_s_name_is_of_the_organization_that_one_has_rights_in() -> None:
    world = World()
    service = ModelService(world.models, Judge(), lambda organization, viewer: b"")
    name = str(ModelName("other", str(uuid.UUID(int=1))))
    with pytest.raises(InvalidArgument):
        await service.RollbackModel(
            pb.RollbackModelRequest(parent="organizations/acme", model=name),
            None,  # type: ignore[arg-type]  # it is not asked
        )
