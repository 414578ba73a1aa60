"""Statistics of experiments: ratios of sums over units, and how sure their differences are.

Viewings of one viewer resemble each other, so they are no independent samples; viewers are. What a viewing is a part of
is therefore summed up by unit first, and a metric is a ratio of two sums over units. Its variance follows by the delta
method from the moments of those sums. Source: Deng, Knoblich, Lu, "Applying the Delta Method in Metric Analytics",
2018.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

CONFIDENCE = 0.95
"""Of intervals."""
MISMATCH = 0.001
"""Numbers of units that are less likely than this did not come from the assignment that was meant."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over the units of an arm of some variables, and of their products."""

    units: int
    sums: Mapping[str, float]
    """Sum of each variable."""
    products: Mapping[frozenset[str], float]
    """Sum of the product of each pair; of a variable with itself it is the pair of one."""

    def mean(self, name: str) -> float:
        """Return the mean of a variable over units."""
        return self.sums[name] / self.units

    def covariance(self, one: str, two: str) -> float:
        """Return the sample covariance of two variables."""
        product = self.products[frozenset((one, two))]
        return (product - self.sums[one] * self.sums[two] / self.units) / (self.units - 1)


@dataclass(frozen=True, slots=True)
class Ratio:
    """A metric: the sum of some variables over the sum of others; per unit where there are none of these."""

    above: tuple[str, ...]
    below: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric of one arm. All is NaN that cannot be said."""

    value: float
    variance: float
    """Of the value, not of a unit."""
    units: int


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric of one arm, held against the first one's."""

    value: float
    difference: float
    low: float
    high: float
    """Ends of the confidence interval of the difference."""
    p_value: float


def estimate(ratio: Ratio, moments: Moments) -> Estimate:
    """Return a metric of an arm, with its variance by the delta method."""
    units = moments.units
    below = math.fsum(moments.mean(name) for name in ratio.below) if units and ratio.below else 1.0
    if not units or below <= 0:
        return Estimate(math.nan, math.nan, units)
    value = math.fsum(moments.mean(name) for name in ratio.above) / below
    if units == 1:
        return Estimate(value, math.nan, units)
    # The variance of sum(above) - value * sum(below), whose mean is nought.
    weights = [*((name, 1.0) for name in ratio.above), *((name, -value) for name in ratio.below)]
    terms = (a * b * moments.covariance(one, two) for one, a in weights for two, b in weights)
    return Estimate(value, max(math.fsum(terms), 0.0) / below**2 / units, units)


def against(control: Estimate, arm: Estimate) -> Measure:
    """Hold an arm's metric against the first arm's: Welch's test, which is the normal one where units are many."""
    difference = arm.value - control.value
    variance = control.variance + arm.variance
    if math.isnan(variance):
        return Measure(arm.value, difference, math.nan, math.nan, math.nan)
    if variance == 0:  # nothing varies, so either nothing differs or all does
        return Measure(arm.value, difference, difference, difference, float(difference == 0))
    # Only arms of two units and more have a variance.
    freedom = variance**2 / sum(each.variance**2 / (each.units - 1) for each in (control, arm))
    error = math.sqrt(variance)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    p_value = 2 * float(stats.t.sf(abs(difference) / error, freedom))
    return Measure(arm.value, difference, difference - reach, difference + reach, p_value)


def itself(control: Estimate) -> Measure:
    """Return the measure of the first arm, which differs from itself by nothing."""
    return Measure(control.value, 0.0, 0.0, 0.0, 1.0)


def sample_ratio(units: Sequence[int], weights: Sequence[int]) -> float:
    """Return how likely numbers of units are where arms have these weights: the p-value of Pearson's χ²."""
    total = sum(units)
    if not total:
        return 1.0
    expected = [total * weight / sum(weights) for weight in weights]
    return float(stats.chisquare(units, expected).pvalue)
