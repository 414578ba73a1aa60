"""Results of experiments from what arrived, on chDB; experiments and exposures on a real Cassandra and Kafka."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from audience import Viewing, arrive
from scipy import stats

from reelmesh.analytics.erasure import Erasure
from reelmesh.analytics.experiment_messages import exposure_to_proto
from reelmesh.analytics.experiment_results import Results, ResultsReader
from reelmesh.analytics.experiments import Arm, Experiment, ExperimentName, Exposure, unit_of
from reelmesh.analytics.v1 import report_pb2 as pb
from reelmesh.mesh.clock import SystemClock, TimeOrderedIds
from reelmesh.mesh.names import SessionName
from reelmesh.mesh.pseudonyms import Pseudonyms
from reelmesh.stores.warehouse import Warehouse

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
PSEUDONYMS = Pseudonyms(bytes(32))
_batches = itertools.count(1_000_000)


@dataclass(frozen=True, slots=True)
class Trial:
    """An experiment and what its audience did."""

    experiment: Experiment
    viewings: Sequence[Viewing]
    exposures: Sequence[Exposure]

    async def arrive(self, warehouse: Warehouse) -> None:
        for _ in range(2):  # everything comes twice
            first = next(_batches)
            await arrive(warehouse, "events", (each.record() for each in self.viewings), first)
            await arrive(warehouse, "exposures", map(exposure_to_proto, self.exposures), first)

    def sums(self, arm: str) -> dict[bytes, tuple[int, int]]:
        """Return milliseconds watched and stalled by unit, counted by hand."""
        found: dict[bytes, tuple[int, int]] = {}
        by_session = {each.session: each for each in self.viewings}
        for exposure in self.exposures:
            if exposure.arm.id == arm:
                viewing = by_session.get(uuid.UUID(exposure.session.id).bytes)
                watch, stall = found.get(exposure.unit, (0, 0))
                found[exposure.unit] = (
                    watch + (viewing.watch_ms if viewing and not viewing.failed else 0),
                    stall + (viewing.stall_ms if viewing and not viewing.failed else 0),
                )
        return found


def trial(
    organization: str,
    stalling: float,
    assign: Callable[[Experiment, bytes, int], Arm | None] = lambda experiment, unit, number: experiment.arm_of(unit),
    viewers: int = 3000,
) -> Trial:
    """Let viewers watch one to four times each; in arm `b` they stall `stalling` times as much.

    All chance comes from the name of the organization, which decides the arms, and a seed.
    """
    random = np.random.default_rng(5)
    experiment = Experiment(ExperimentName(organization, "x"), "", (Arm("a"), Arm("b")), 1.0, START)
    viewings, exposures = [], []
    for number in range(viewers):
        unit = unit_of(PSEUDONYMS.of, organization, PSEUDONYMS.of(organization, f"users/{number}"))
        arm = assign(experiment, unit, number)
        if arm is None:
            continue
        taste = random.lognormal(11, 1)
        for which in range(random.integers(1, 5)):
            viewing = Viewing(
                organization,
                START + timedelta(seconds=number, milliseconds=which),
                (number, which),
                viewer=PSEUDONYMS.of(organization, f"users/{number}") if number % 2 else bytes(16),
                watch_ms=int(taste * random.random()),
                stall_ms=int(taste * 0.02 * random.random() * (stalling if arm.id == "b" else 1)),
                startup_ms=int(300 + 200 * random.random()),
                failed=bool(random.random() < 0.02),
            )
            session = SessionName(organization, str(uuid.UUID(bytes=viewing.session)))
            exposures.append(Exposure(session, unit, "x", arm))
            if random.random() < 0.97:  # some are never heard of
                viewings.append(viewing)
    return Trial(experiment, viewings, exposures)


async def shown(warehouse: Warehouse, given: Trial) -> Results:
    await given.arrive(warehouse)
    return await ResultsReader(warehouse).of(given.experiment)


async def test_an_effect_is_found_with_the_numbers_that_a_count_by_hand_gives(warehouse: Warehouse) -> None:
    given = trial("trial-effect", stalling=1.5)
    results = await shown(warehouse, given)
    control, other = results.arms
    assert (control.arm, other.arm) == ("a", "b")
    assert control.units + other.units == 3000
    assert control.exposures + other.exposures == len(given.exposures)
    sums = {arm: np.array(list(given.sums(arm).values())) for arm in "ab"}
    assert (control.units, other.units) == (len(sums["a"]), len(sums["b"]))
    watch = other.measures[pb.METRIC_WATCH_SECONDS]
    expected = stats.ttest_ind(sums["b"][:, 0] / 1000, sums["a"][:, 0] / 1000, equal_var=False)
    assert watch.value == pytest.approx(sums["b"][:, 0].mean() / 1000)
    assert watch.p_value == pytest.approx(expected.pvalue)
    assert (watch.low, watch.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    rebuffer = other.measures[pb.METRIC_REBUFFER_RATIO]
    assert rebuffer.value == pytest.approx(sums["b"][:, 1].sum() / sums["b"].sum())
    assert rebuffer.difference > rebuffer.low > 0.004
    assert rebuffer.p_value < 1e-6
    assert control.measures[pb.METRIC_REBUFFER_RATIO].difference == 0
    for metric in (pb.METRIC_VIEWS, pb.METRIC_STARTUP_MS_MEAN, pb.METRIC_FAILURE_RATIO):
        found = other.measures[metric]
        assert found.low < found.difference < found.high
        assert found.p_value > 0.001
    assert other.measures[pb.METRIC_STARTUP_MS_MEAN].value == pytest.approx(400, abs=10)
    assert other.measures[pb.METRIC_FAILURE_RATIO].value == pytest.approx(0.02, abs=0.01)
    assert not results.mismatch


async def test_the_same_way_twice_differs_in_nothing(warehouse: Warehouse) -> None:
    results = await shown(warehouse, trial("trial-same", stalling=1.0))
    assert results.sample_ratio_p > 0.001
    assert not results.mismatch
    for measure in results.arms[1].measures.values():
        assert not measure.p_value < 0.001


async def test_a_broken_assignment_is_noticed(warehouse: Warehouse) -> None:
    def broken(experiment: Experiment, unit: bytes, number: int) -> Arm | None:
        arm = experiment.arm_of(unit)
        # Every sixth viewer of b is lost on the way.
        return None if arm is not None and arm.id == "b" and number % 6 == 0 else arm

    results = await shown(warehouse, trial("trial-broken", stalling=1.0, assign=broken))
    assert results.sample_ratio_p < 0.001
    assert results.mismatch


async def test_units_in_several_arms_are_noticed(warehouse: Warehouse) -> None:
    given = trial("trial-mixed", stalling=1.0, viewers=300)
    first, second = given.experiment.arms
    # Assigned by session, which is even but not sticky.
    exposures = [replace(each, arm=second if uuid.UUID(each.session.id).int & 1 else first) for each in given.exposures]
    results = await shown(warehouse, replace(given, exposures=exposures))
    assert results.sample_ratio_p > 0.001
    assert results.mixed_units > 50
    assert results.mismatch


async def test_viewings_that_stand_for_others_count_as_many(warehouse: Warehouse) -> None:
    organization = "trial-weights"
    experiment = Experiment(ExperimentName(organization, "x"), "", (Arm("a"), Arm("b")), 1.0, START)
    viewings = [Viewing(organization, START, n, watch_ms=1000, weight=4 if n < 3 else 1) for n in range(6)]
    arms = [experiment.arms[n // 3] for n in range(6)]
    exposures = [
        Exposure(SessionName(organization, str(uuid.UUID(bytes=each.session))), bytes([n]) * 16, "x", arm)
        for n, (each, arm) in enumerate(zip(viewings, arms, strict=True))
    ]
    results = await shown(warehouse, Trial(experiment, viewings, exposures))
    assert [arm.measures[pb.METRIC_WATCH_SECONDS].value for arm in results.arms] == [4, 1]
    assert [arm.measures[pb.METRIC_VIEWS].value for arm in results.arms] == [4, 1]


async def test_an_experiment_that_nobody_saw_has_arms_without_numbers(warehouse: Warehouse) -> None:
    name = ExperimentName("trial-nobody", "x")
    results = await ResultsReader(warehouse).of(Experiment(name, "", (Arm("a"), Arm("b")), 1.0, START))
    assert [(arm.units, arm.exposures) for arm in results.arms] == [(0, 0), (0, 0)]
    assert np.isnan(results.arms[1].measures[pb.METRIC_VIEWS].value)
    assert not results.mismatch


async def test_who_is_forgotten_is_forgotten_here_too(warehouse: Warehouse) -> None:
    given = trial("trial-forgotten", stalling=1.0, viewers=20)
    before = await shown(warehouse, given)

    async def nothing(*_: object) -> None:
        """There is nothing on its way, and nothing is counted."""

    clock = SystemClock()
    erasure = Erasure(warehouse, clock, TimeOrderedIds(clock), PSEUDONYMS.of, nothing, nothing)
    for viewer in (3, 4):  # one who let themselves be known in events, and one who did not
        await erasure.erase_viewer(given.experiment.name.organization, f"users/{viewer}")
    after = await ResultsReader(warehouse).of(given.experiment)
    assert sum(arm.units for arm in after.arms) == sum(arm.units for arm in before.arms) - 2
