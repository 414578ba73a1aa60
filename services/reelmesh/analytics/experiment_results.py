"""What experiments have shown: sums by unit and their moments, made in the warehouse, so that the answer is small."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, Subquery, func, select

from reelmesh.analytics import comparison
from reelmesh.analytics.columns import EXPOSURES
from reelmesh.analytics.comparison import Measure, Moments, Ratio
from reelmesh.analytics.experiments import Experiment
from reelmesh.analytics.reading import Reader, latest
from reelmesh.analytics.schema import SESSIONS
from reelmesh.analytics.v1 import report_pb2

MEASURES: Mapping[report_pb2.Metric.ValueType, Ratio] = {
    report_pb2.METRIC_VIEWS: Ratio(("views",)),
    report_pb2.METRIC_WATCH_SECONDS: Ratio(("watch",)),
    report_pb2.METRIC_STARTUP_MS_MEAN: Ratio(("startup",), ("starts",)),
    report_pb2.METRIC_REBUFFER_RATIO: Ratio(("stall",), ("stall", "watch")),
    report_pb2.METRIC_FAILURE_RATIO: Ratio(("failures",), ("views",)),
    report_pb2.METRIC_EXIT_BEFORE_START_RATIO: Ratio(("exits",), ("views",)),
}
"""Metrics that arms are held against each other by."""

VARIABLES = ("views", "watch", "stall", "starts", "startup", "failures", "exits")
"""What is summed up by unit: seconds are those of watch and stall, and startup is in milliseconds."""
_PAIRS = list(itertools.combinations_with_replacement(VARIABLES, 2))


@dataclass(frozen=True, slots=True)
class ArmResult:
    """One arm by itself."""

    arm: str
    units: int
    exposures: int
    measures: Mapping[report_pb2.Metric.ValueType, Measure]


@dataclass(frozen=True, slots=True)
class Results:
    """What an experiment has shown."""

    arms: Sequence[ArmResult]
    sample_ratio_p: float
    mixed_units: int
    """Units that were in more than one arm."""

    @property
    def mismatch(self) -> bool:
        """Whether the assignment or the telemetry is wrong, and so is the rest."""
        return self.sample_ratio_p < comparison.MISMATCH or self.mixed_units > 0


NOBODY = Moments(0, {}, {})
"""Of an arm that nobody is in."""


class ResultsReader:
    """Reads results."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def of(self, experiment: Experiment) -> Results:
        """Return what an experiment has shown so far. Raises Unavailable."""
        rows = await self._reader.rows(query(experiment))
        mixed = await self._reader.rows(mixed_query(experiment))
        return judged(experiment, rows, int(mixed[0][0]))


def query(experiment: Experiment) -> Select[Any]:
    """Return the query for an arm's id, units, exposures, sums, and sums of products, a row for each arm.

    Viewings that were assigned and never told anything count as nothing was watched: leaving them out would leave out
    what an arm did to them. Those that were sampled count for as many as they stand for.
    """
    exposure = EXPOSURES.c
    of_it = _of(experiment)
    viewing = _viewings(experiment, select(exposure.session).where(*of_it))
    units = (
        select(
            exposure.arm.label("unit_arm"),
            func.count().label("unit_exposures"),
            *(func.sum(viewing.c[f"viewing_{name}"]).label(f"unit_{name}") for name in VARIABLES),
        )
        .select_from(EXPOSURES.outerjoin(viewing, exposure.session == viewing.c.viewing))
        .where(*of_it)
        .group_by(exposure.arm, exposure.unit)
        .subquery("units")
    ).c
    sums = [func.sum(units[f"unit_{name}"]) for name in VARIABLES]
    products = [func.sum(units[f"unit_{one}"] * units[f"unit_{two}"]) for one, two in _PAIRS]
    arms = select(units.unit_arm, func.count(), func.sum(units.unit_exposures), *sums, *products)
    return latest(arms.group_by(units.unit_arm))


def mixed_query(experiment: Experiment) -> Select[Any]:
    """Return the query for how many units were in more than one arm."""
    exposure = EXPOSURES.c
    arms = func.uniqExact(exposure.arm)
    mixed = select(exposure.unit).where(*_of(experiment)).group_by(exposure.unit).having(arms > 1).subquery("mixed")
    return latest(select(func.count()).select_from(mixed))


def _of(experiment: Experiment) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    name = experiment.name
    return EXPOSURES.c.organization == name.organization, EXPOSURES.c.experiment == name.id


def _viewings(experiment: Experiment, sessions: Select[Any]) -> Subquery:
    """Return the variables of viewings. They are the right side of a join, which is held in memory: none but these."""
    viewing = SESSIONS.c
    variables: Mapping[str, ColumnElement[Any]] = {
        "views": viewing.requested,
        "watch": func.divide(viewing.watch_ms, 1000),
        "stall": func.divide(viewing.stall_ms, 1000),
        "starts": viewing.started,
        "startup": viewing.startup_ms * viewing.started,
        "failures": viewing.failed,
        "exits": viewing.exited,
    }
    weight = func.toFloat64(func.greatest(viewing.weight, 1))
    return (
        select(
            viewing.session.label("viewing"),
            *((variables[name] * weight).label(f"viewing_{name}") for name in VARIABLES),
        )
        .where(viewing.organization == experiment.name.organization, viewing.session.in_(sessions))
        .subquery("viewings")
    )


def moments_of(row: Sequence[Any]) -> Moments:
    """Read an arm's moments out of a row of the query."""
    _, units, _, *numbers = row
    sums, products = numbers[: len(VARIABLES)], numbers[len(VARIABLES) :]
    return Moments(
        int(units),
        dict(zip(VARIABLES, map(float, sums), strict=True)),
        {frozenset(pair): float(product) for pair, product in zip(_PAIRS, products, strict=True)},
    )


def judged(experiment: Experiment, rows: Sequence[Sequence[Any]], mixed: int) -> Results:
    """Hold the arms of an experiment against the first. An arm that nobody is in has no row."""
    found = {str(row[0]): row for row in rows}
    moments = {arm.id: moments_of(found[arm.id]) if arm.id in found else NOBODY for arm in experiment.arms}
    control, *_ = experiment.arms
    results = []
    for arm in experiment.arms:
        measures = {}
        for metric, ratio in MEASURES.items():
            first = comparison.estimate(ratio, moments[control.id])
            mine = comparison.estimate(ratio, moments[arm.id])
            measures[metric] = comparison.itself(mine) if arm is control else comparison.against(first, mine)
        exposures = int(found[arm.id][2]) if arm.id in found else 0
        results.append(ArmResult(arm.id, moments[arm.id].units, exposures, measures))
    p = comparison.sample_ratio([each.units for each in results], [arm.weight for arm in experiment.arms])
    return Results(results, p, mixed)
