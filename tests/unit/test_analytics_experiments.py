"""Who is in which arm, and who waits for what."""

from __future__ import annotations

import asyncio
import collections
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from scipy import stats

from reelmesh.analytics.errors import (
    ArmRepeated,
    ExperimentEnded,
    ExperimentExists,
    ExperimentUnknown,
    TooManyExperiments,
    TrafficShrunk,
)
from reelmesh.analytics.experiments import (
    FRESH,
    RUNNING,
    STALE,
    Arm,
    Assignments,
    Experiment,
    ExperimentName,
    Experiments,
    Exposure,
    Running,
    unit_of,
)
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import SessionName
from reelmesh.mesh.pseudonyms import Pseudonyms

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
NAME = ExperimentName("acme", "bitrate")
ARMS = (Arm("control"), Arm("low", 3, {"max_height": "480"}))
SESSION = SessionName("acme", "01936800-0000-7000-8000-000000000001")
PSEUDONYMS = Pseudonyms(bytes(32))
UNITS = [PSEUDONYMS.of("acme", f"users/{n}") for n in range(20_000)]


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time


class MemoryStore:
    """Experiments in memory, which may be away and counts how often it is asked for all."""

    def __init__(self, *experiments: Experiment) -> None:
        self.held = {each.name: each for each in experiments}
        self.lists = 0
        self.away = False

    async def load(self, name: ExperimentName) -> Experiment | None:
        return self.held.get(name)

    async def list(self, organization: str) -> Sequence[Experiment]:
        self.lists += 1
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("away")
        return [each for name, each in sorted(self.held.items(), key=str) if name.organization == organization]

    async def add(self, experiment: Experiment) -> bool:
        return self.held.setdefault(experiment.name, experiment) is experiment

    async def grow(self, name: ExperimentName, traffic: float) -> bool:
        there = self.held[name]
        if there.end_time is not None or there.traffic >= traffic:
            return False
        self.held[name] = replace(there, traffic=traffic)
        return True

    async def end(self, name: ExperimentName, time: datetime) -> bool:
        there = self.held[name]
        self.held[name] = replace(there, end_time=there.end_time or time)
        return there.end_time is None


class Log:
    """Keeps exposures; may refuse, and takes its time until `go`."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.written: list[Exposure] = []
        self.refuses = False
        self.go = asyncio.Event()
        if at_once:
            self.go.set()

    async def write(self, exposures: Sequence[Exposure]) -> None:
        if self.refuses:
            raise Unavailable("too much waits")
        await self.go.wait()
        self.written += exposures


def experiment(id_: str = "bitrate", traffic: float = 1.0, arms: tuple[Arm, ...] = ARMS) -> Experiment:
    return Experiment(ExperimentName("acme", id_), "", arms, traffic, NOW)


def arms_of(given: Experiment) -> dict[bytes, str]:
    return {unit: arm.id for unit in UNITS if (arm := given.arm_of(unit)) is not None}


def test_more_traffic_adds_units_and_moves_none() -> None:
    before: dict[bytes, str] = {}
    for traffic in (0.0, 0.01, 0.1, 0.5, 0.99, 1.0):
        now = arms_of(experiment(traffic=traffic))
        assert before.items() <= now.items()
        assert stats.binomtest(len(now), len(UNITS), traffic).pvalue > 0.001
        before = now
    assert len(before) == len(UNITS)


@pytest.mark.parametrize("traffic", [0.1, 0.5, 1.0])
def test_arms_get_their_parts_whatever_the_traffic(traffic: float) -> None:
    arms = (Arm("a", 1), Arm("b", 2), Arm("c", 7))
    found = collections.Counter(arms_of(experiment(traffic=traffic, arms=arms)).values())
    total = found.total()
    assert stats.chisquare([found[arm.id] for arm in arms], [total / 10, total / 5, total * 0.7]).pvalue > 0.001


def test_experiments_know_nothing_of_each_other() -> None:
    one, two = arms_of(experiment("one")), arms_of(experiment("two"))
    table = collections.Counter((one[unit], two[unit]) for unit in UNITS)
    cells = [[table[a.id, b.id] for b in ARMS] for a in ARMS]
    assert stats.chi2_contingency(cells).pvalue > 0.001


async def test_an_experiment_is_made_once_and_its_traffic_grows() -> None:
    store, clock = MemoryStore(), Clock()
    experiments = Experiments(store, clock)
    made = await experiments.create(NAME, "Bitrate", ARMS, 0.1)
    assert made == Experiment(NAME, "Bitrate", ARMS, 0.1, NOW)
    clock.time += timedelta(hours=1)
    assert await experiments.create(NAME, "Bitrate", ARMS, 0.1) == made
    assert await experiments.create(NAME, "Bitrate", ARMS, 0.5) == replace(made, traffic=0.5)
    with pytest.raises(TrafficShrunk):
        await experiments.create(NAME, "Bitrate", ARMS, 0.1)
    with pytest.raises(ExperimentExists):
        await experiments.create(NAME, "Bitrate", ARMS[::-1], 0.5)
    with pytest.raises(ArmRepeated):
        await experiments.create(NAME, "", [Arm("a"), Arm("a", 2)], 1.0)
    ended = await experiments.end(NAME)
    assert ended == replace(made, traffic=0.5, end_time=clock.time)
    clock.time += timedelta(hours=1)
    assert await experiments.end(NAME) == ended
    assert await experiments.create(NAME, "Bitrate", ARMS, 0.5) == ended
    with pytest.raises(ExperimentEnded):
        await experiments.create(NAME, "Bitrate", ARMS, 0.9)
    with pytest.raises(ExperimentUnknown):
        await experiments.get(ExperimentName("other", NAME.id))


async def test_only_so_many_run_at_once() -> None:
    experiments = Experiments(MemoryStore(*(experiment(f"e{n}") for n in range(RUNNING))), Clock())
    with pytest.raises(TooManyExperiments):
        await experiments.create(NAME, "", ARMS, 1.0)
    await experiments.end(ExperimentName("acme", "e0"))
    await experiments.create(NAME, "", ARMS, 1.0)


async def test_what_runs_is_asked_for_every_few_seconds_and_once_by_many() -> None:
    store, now = MemoryStore(experiment(), replace(experiment("over"), end_time=NOW)), [0.0]
    running = Running(store, lambda: now[0])
    found = await asyncio.gather(*(running.of("acme") for _ in range(100)))
    assert {tuple(each.name.id for each in one) for one in found} == {("bitrate",)}
    assert store.lists == 1
    now[0] = FRESH.total_seconds()
    store.held.clear()
    assert await running.of("acme") == []
    assert store.lists == 2


async def test_what_ran_is_believed_for_a_while_when_the_database_is_away() -> None:
    store, now = MemoryStore(experiment()), [0.0]
    running = Running(store, lambda: now[0])
    await running.of("acme")
    store.away = True
    now[0] = STALE.total_seconds()
    assert len(await running.of("acme")) == 1
    now[0] += 1
    with pytest.raises(Unavailable):
        await running.of("acme")
    with pytest.raises(Unavailable):
        await running.of("other")


def assignments(log: Log, *experiments: Experiment, wait: float = 60.0) -> Assignments:
    return Assignments(Running(MemoryStore(*experiments), lambda: 0.0), log, PSEUDONYMS.of, wait)


async def test_a_viewer_gets_the_same_arm_in_every_session_and_nobody_in_each_their_own() -> None:
    log = Log()
    assigner = assignments(log, experiment())
    sessions = [SessionName("acme", str(uuid.UUID(int=uuid.UUID(SESSION.id).int + n))) for n in range(40)]
    known = [await assigner.assign(session, "users/1") for session in sessions]
    assert len({one.arm.id for (one,) in known}) == 1
    pseudonym = PSEUDONYMS.of("acme", "users/1")
    assert {one.unit for (one,) in known} == {unit_of(PSEUDONYMS.of, "acme", pseudonym)} != {pseudonym}
    unknown = [await assigner.assign(session, "") for session in sessions]
    assert {one.arm.id for (one,) in unknown} == {"control", "low"}
    assert len({one.unit for (one,) in unknown}) == len(sessions)
    assert await assigner.assign(sessions[0], "") == unknown[0]
    assert log.written == [one for each in (*known, *unknown, unknown[0]) for one in each]
    assert log.written[0].time_ms == 0x019368000000


async def test_who_asks_for_a_parameter_exposes_nobody_to_what_has_it_not() -> None:
    log = Log()
    tried = experiment(arms=(Arm("control"), Arm("other", parameters={"recommend_model": "none"})))
    assigner = assignments(log, tried)
    (found,) = await assigner.assign(SESSION, "users/1", "recommend_model")
    assert (await assigner.assign(SESSION, "users/1"))[0].arm == found.arm
    before = list(log.written)
    assert await assigner.assign(SESSION, "users/1", "max_height") == []
    assert log.written == before


async def test_who_takes_part_in_nothing_is_not_logged() -> None:
    log = Log()
    log.refuses = True
    assert await assignments(log, experiment(traffic=0.0)).assign(SESSION, "users/1") == []


async def test_a_log_that_refuses_means_no_exposure() -> None:
    log = Log()
    log.refuses = True
    with pytest.raises(Unavailable):
        await assignments(log, experiment()).assign(SESSION, "users/1")


async def test_a_slow_log_does_not_hold_the_viewer_up_and_is_told_all_the_same() -> None:
    log = Log(at_once=False)
    assigner = assignments(log, experiment(), wait=0.0)
    (found,) = await assigner.assign(SESSION, "users/1")
    assert log.written == []
    log.go.set()
    await assigner.finish()
    assert log.written == [found]
