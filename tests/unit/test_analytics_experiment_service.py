"""ExperimentService by its messages, and what the command line makes of results."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pyarrow
from rich.console import Console
from sqlalchemy import Executable
from test_analytics_experiments import PSEUDONYMS, SESSION, Clock, Log, MemoryStore

from reelmesh.analytics.experiment_results import VARIABLES, ResultsReader
from reelmesh.analytics.experiment_service import ExperimentService
from reelmesh.analytics.experiments import Assignments, Experiments, Running
from reelmesh.analytics.v1 import experiment_service_pb2 as pb
from reelmesh.analytics.v1 import report_pb2
from reelmesh.analytics.v1.experiment_pb2 import Experiment, ExperimentResults
from reelmesh_tools.client.experiments import _dict, _plain, _table

NAME = "organizations/acme/experiments/low-start"
NOBODY = cast("Any", None)


class Answers:
    """Answers the two queries of results: moments of arms, and units in several of them."""

    def __init__(self, *arms: tuple[str, Sequence[dict[str, float]]]) -> None:
        self.arms = arms

    async def rows(self, query: Executable) -> Sequence[Sequence[Any]]:
        if "uniqExact" in str(query):
            return [(0,)]
        return [self._row(arm, units) for arm, units in self.arms]

    async def arrow(self, query: Executable) -> AsyncGenerator[pyarrow.RecordBatch, None]:
        raise AssertionError("results are small")
        yield

    @staticmethod
    def _row(arm: str, units: Sequence[dict[str, float]]) -> Sequence[Any]:
        sums = [sum(unit.get(name, 0) for unit in units) for name in VARIABLES]
        pairs = itertools.combinations_with_replacement(VARIABLES, 2)
        products = [sum(unit.get(one, 0) * unit.get(two, 0) for unit in units) for one, two in pairs]
        return [arm, len(units), 2 * len(units), *sums, *products]


def service(*arms: tuple[str, Sequence[dict[str, float]]]) -> ExperimentService:
    store = MemoryStore()
    assignments = Assignments(Running(store, lambda: 0.0), Log(), PSEUDONYMS.of)
    return ExperimentService(Experiments(store, Clock()), assignments, ResultsReader(Answers(*arms)))


def wanted() -> pb.CreateExperimentRequest:
    arms = [Experiment.Arm(id="control"), Experiment.Arm(id="low", weight=2, parameters={"max_height": "480"})]
    return pb.CreateExperimentRequest(experiment=Experiment(name=NAME, display_name="Low?", arms=arms))


async def test_an_experiment_is_made_told_and_ended() -> None:
    served = service()
    made = (await served.CreateExperiment(wanted(), NOBODY)).experiment
    assert (made.name, made.display_name, made.traffic) == (NAME, "Low?", 1)
    assert [(arm.id, arm.weight, dict(arm.parameters)) for arm in made.arms] == [
        ("control", 1, {}),
        ("low", 2, {"max_height": "480"}),
    ]
    assert made.state == Experiment.STATE_RUNNING
    assert made.create_time.ToDatetime(UTC) == datetime(2026, 11, 26, 12, tzinfo=UTC)
    assert (await served.GetExperiment(pb.GetExperimentRequest(name=NAME), NOBODY)).experiment == made
    listed = await served.ListExperiments(pb.ListExperimentsRequest(parent="organizations/acme"), NOBODY)
    assert list(listed.experiments) == [made]
    (told,) = (
        await served.AssignExperiments(pb.AssignExperimentsRequest(session=str(SESSION), viewer="a"), NOBODY)
    ).assignments
    assert (told.experiment, told.arm) in {("low-start", "control"), ("low-start", "low")}
    ended = (await served.EndExperiment(pb.EndExperimentRequest(name=NAME), NOBODY)).experiment
    assert ended.state == Experiment.STATE_ENDED
    assert ended.HasField("end_time")


async def results(low: int) -> ExperimentResults:
    control = [{"views": 1.0, "watch": 60.0 + n % 7, "failures": float(n % 50 == 0)} for n in range(500)]
    other = [{"views": 1.0, "watch": 70.0 + n % 7, "failures": float(n % 50 == 0)} for n in range(low)]
    served = service(("low", other), ("control", control))
    await served.CreateExperiment(wanted(), NOBODY)
    return (await served.GetExperimentResults(pb.GetExperimentResultsRequest(name=NAME), NOBODY)).results


async def test_results_are_told_by_arm_and_as_people_read_them() -> None:
    found = await results(1000)
    assert [(arm.arm, arm.units, arm.exposures) for arm in found.arms] == [("control", 500, 1000), ("low", 1000, 2000)]
    watch = next(each for each in found.arms[1].measures if each.metric == report_pb2.METRIC_WATCH_SECONDS)
    assert watch.difference_low < 10 < watch.difference_high
    assert watch.p_value < 0.001
    assert (found.sample_ratio_p, found.sample_ratio_mismatch) == (1, False)
    startup = next(each for each in found.arms[1].measures if each.metric == report_pb2.METRIC_STARTUP_MS_MEAN)
    assert math.isnan(startup.value), "nothing started"
    told = _plain(_dict(found))["arms"][1]["measures"]
    assert [each["value"] for each in told if each["metric"] == "METRIC_STARTUP_MS_MEAN"] == [None]
    console = Console(width=160, file=io.StringIO(), record=True)
    console.print(_table(found))
    (line,) = (each for each in console.export_text().splitlines() if "73.0 s" in each)
    assert "low" in line
    assert "10.0 s" in line


async def test_arms_that_are_too_uneven_are_not_to_be_believed() -> None:
    found = await results(700)
    assert found.sample_ratio_mismatch
    assert found.sample_ratio_p < 0.001
