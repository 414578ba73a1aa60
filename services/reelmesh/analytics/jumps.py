"""When the part of viewings that goes wrong has jumped: what is looked at, and how sure one has to be.

Failures are counted: each view fails or does not. Stalled time is not, but a viewing's share of it lies between 0 and
1, and of all that do, with the same mean, none varies more than one that is all or nothing (Bhatia and Davis, "A Better
Bound on the Variance", 2000). So a span of time may be taken for as many views, stalled throughout or not at all, as it
holds windows full of playing: no viewing can fill more than one, whatever lengths they have. That errs on the side of
silence, and then both metrics are proportions.

How sure: an organization is looked at nearly 3000 times a day, with windows that overlap; some 500 values of its
dimensions have views enough, for two metrics. That is in the order of a million looks a day that are worth one each,
and one false alert in some years is what an operator bears: 1 in 10⁹, six standard deviations. Far out there the normal
approximation is wrong by orders of magnitude for small counts, as failures are, so Fisher's exact test has to say the
same. No test knows that days differ; so the change must also be large enough to matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats

SURE = 6.0
"""Standard deviations that open an alert."""
UNSURE = 3.0
"""Below so many an alert goes on no longer: less than SURE, so that it does not flicker."""
APART = 5.0
"""A value stands out that differs so much from all others at the time: else what is wrong is wrong everywhere. While it
is, nothing but this keeps hundreds of values from an alert each."""
MORE = 1.5
"""A change matters from so many times what is usual…"""


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole, in views: so many went wrong of so many."""

    part: float
    whole: float

    @property
    def value(self) -> float:
        """Return what part it is; nothing of nothing is 0."""
        return self.part / self.whole if self.whole > 0 else 0.0

    def without(self, other: Share) -> Share:
        """Return the rest, when `other` is taken out."""
        return Share(max(self.part - other.part, 0.0), max(self.whole - other.whole, 0.0))


@dataclass(frozen=True, slots=True)
class Kind:
    """A metric that is watched."""

    views: float
    """Least of views in the window, and usually, that say anything."""
    least: float
    """…and from so much more than is usual."""


FAILURES = Kind(views=50, least=0.01)
REBUFFERING = Kind(views=20, least=0.005)


def surprise(now: Share, usual: Share) -> float:
    """Return how unlikely it is by chance that `now` is so much more than `usual`, in standard deviations.

    It is the lesser of the z score of two proportions (pooled) and what Fisher's exact test is worth.
    """
    if now.whole <= 0 or usual.whole <= 0 or now.value <= usual.value:
        return 0.0
    pooled = (now.part + usual.part) / (now.whole + usual.whole)
    error = math.sqrt(pooled * (1 - pooled) * (1 / now.whole + 1 / usual.whole))
    if not error:
        return 0.0
    # Rounded to whole views in favor of chance.
    part, whole = math.floor(now.part), math.ceil(now.whole)
    others, rest = math.ceil(usual.part), math.floor(usual.whole)
    chance = stats.hypergeom.logsf(part - 1, whole + max(rest, others), part + others, whole)
    # A chance too small for a float is worth more than any z score that matters.
    exact = float(stats.norm.isf(math.exp(chance))) if chance > -700 else math.inf
    return max(min((now.value - usual.value) / error, exact), 0.0)


def matters(kind: Kind, now: Share, usual: Share) -> bool:
    """Say whether a change is large enough for anybody to act on, sure or not."""
    return now.value >= usual.value + kind.least and now.value >= usual.value * MORE


def opens(kind: Kind, now: Share, usual: Share, others: Share | None) -> bool:
    """Say whether a window shows a jump; `others` is the rest of the organization at the time, None for all of it."""
    if min(now.whole, usual.whole) < kind.views or not matters(kind, now, usual):
        return False
    if others is not None and surprise(now, others) < APART:
        return False
    return surprise(now, usual) >= SURE


def fine(kind: Kind, now: Share, usual: Share) -> bool:
    """Say whether a window shows nothing that keeps an alert open; one with too few views shows nothing."""
    return now.whole < kind.views or not matters(kind, now, usual) or surprise(now, usual) < UNSURE
