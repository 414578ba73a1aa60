"""The statistics of experiments, against scipy and against chance itself."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from reelmesh.analytics.comparison import Moments, Ratio, against, estimate, sample_ratio

WATCH = Ratio(("watch",))
REBUFFER = Ratio(("stall",), ("stall", "watch"))
_NAMES = ("watch", "stall")


def moments(**variables: Any) -> Moments:
    pairs = itertools.combinations_with_replacement(variables, 2)
    return Moments(
        len(next(iter(variables.values()))),
        {name: float(np.sum(values)) for name, values in variables.items()},
        {frozenset(pair): float(np.dot(variables[pair[0]], variables[pair[1]])) for pair in pairs},
    )


def viewers(random: np.random.Generator, units: int, stalling: float = 0.02) -> dict[str, Any]:
    """Return seconds by viewer: some watch much, and those stall much."""
    watch = random.lognormal(6, 1, units)
    return {"watch": watch, "stall": watch * random.gamma(2, stalling / 2, units)}


def test_a_metric_per_unit_is_welch_s_t_test() -> None:
    random = np.random.default_rng(1)
    one, two = viewers(random, 300), viewers(random, 70)
    expected = stats.ttest_ind(two["watch"], one["watch"], equal_var=False)
    interval = expected.confidence_interval(0.95)
    found = against(estimate(WATCH, moments(**one)), estimate(WATCH, moments(**two)))
    assert found.value == pytest.approx(two["watch"].mean())
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_a_ratio_varies_as_resampling_says() -> None:
    random = np.random.default_rng(2)
    given = viewers(random, 2000)

    def ratio(watch: Any, stall: Any, axis: int = -1) -> Any:
        return stall.sum(axis) / (stall.sum(axis) + watch.sum(axis))

    drawn = stats.bootstrap(
        (given["watch"], given["stall"]), ratio, paired=True, n_resamples=2000, random_state=random, method="basic"
    )
    found = estimate(REBUFFER, moments(**given))
    assert found.value == pytest.approx(ratio(given["watch"], given["stall"]))
    assert math.sqrt(found.variance) == pytest.approx(drawn.standard_error, rel=0.06)


def test_intervals_cover_what_is_true_as_often_as_they_say() -> None:
    random = np.random.default_rng(3)
    trials, covered, false = 600, 0, 0
    truth = 0.03 / 1.03 - 0.02 / 1.02
    for _ in range(trials):
        one = estimate(REBUFFER, moments(**viewers(random, 400)))
        found = against(one, estimate(REBUFFER, moments(**viewers(random, 400, stalling=0.03))))
        covered += found.low <= truth <= found.high
        false += against(one, estimate(REBUFFER, moments(**viewers(random, 400)))).p_value < 0.05
    assert stats.binomtest(covered, trials, 0.95).pvalue > 0.001
    assert stats.binomtest(false, trials, 0.05).pvalue > 0.001


def test_viewings_of_one_viewer_are_not_taken_for_many() -> None:
    random = np.random.default_rng(4)
    fails = (random.random(50) < 0.2).astype(float)
    failures, views = fails * 40, np.full(50, 40.0)  # who fails, fails each of 40 times
    found = estimate(Ratio(("failures",), ("views",)), moments(failures=failures, views=views))
    naive = math.sqrt(found.value * (1 - found.value) / 2000)
    assert math.sqrt(found.variance) > 5 * naive


def test_too_little_says_nothing() -> None:
    nobody, one = Moments(0, {}, {}), moments(watch=[60.0], stall=[0.0])
    many = moments(watch=[60.0, 30.0], stall=[0.0, 1.0])
    assert math.isnan(estimate(WATCH, nobody).value)
    assert math.isnan(estimate(REBUFFER, moments(watch=[0.0, 0.0], stall=[0.0, 0.0])).value)
    found = against(estimate(WATCH, one), estimate(WATCH, many))
    assert (found.value, found.difference) == (45.0, -15.0)
    assert math.isnan(found.low)
    assert math.isnan(found.p_value)


def test_what_never_varies_differs_for_sure_or_not_at_all() -> None:
    zero, all_ = moments(failures=[0.0] * 9, views=[1.0] * 9), moments(failures=[1.0] * 9, views=[1.0] * 9)
    ratio = Ratio(("failures",), ("views",))
    assert against(estimate(ratio, zero), estimate(ratio, zero)).p_value == 1
    assert against(estimate(ratio, zero), estimate(ratio, all_)).p_value == 0


def test_numbers_of_units_are_held_against_the_weights() -> None:
    assert sample_ratio([1000, 3000], [1, 3]) == pytest.approx(1)
    assert sample_ratio([5000, 5200], [1, 1]) == pytest.approx(stats.chisquare([5000, 5200]).pvalue)
    assert sample_ratio([5000, 5400], [1, 1]) < 0.001
    assert sample_ratio([0, 0], [1, 1]) == 1
