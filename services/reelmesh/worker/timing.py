"""Chooses the frame rate that a picture stream is encoded at."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

STANDARD_RATES = (
    Fraction(24000, 1001),
    Fraction(24),
    Fraction(25),
    Fraction(30000, 1001),
    Fraction(30),
    Fraction(48),
    Fraction(50),
    Fraction(60000, 1001),
    Fraction(60),
)
"""Frame rates of broadcast and cinema, frames per second."""
MAX_RATE = Fraction(60)
_ENOUGH = Fraction(98, 100)
_PLENTY = Fraction(135, 100)
"""Bounds of a rate against the average: fewer frames would lose some, many more would only repeat them."""
_JITTER = Fraction(2, 5)
"""How far from its place, in frames, a frame may be for the stream to count as evenly spaced: below one half, so that
rounding to the nearest place gives every frame a place of its own."""


def choose_rate(ticks: Sequence[int], time_base: Fraction, nominal: Fraction | None) -> tuple[Fraction, bool]:
    """Return frames per second to encode at, and whether the source's frames are not evenly spaced.

    `ticks` are the presentation times of all frames in ascending order in units of `time_base` seconds; `nominal` is
    the rate that the container states. For an evenly spaced stream the rate is the one that fits: exactly, if one does
    (the nominal first), else a standard one before an odd one; divided by a whole number until at most 60. For others
    it is a rate near the average that gives every frame a place of its own (a camera dropped a few), or else the lowest
    standard rate that is not below the average.
    """
    span = ticks[-1] - ticks[0] if ticks else 0
    if span <= 0:  # a single picture: any rate is right
        return _capped(nominal or Fraction(25)), False
    average = Fraction(len(ticks) - 1, 1) / (span * time_base)
    near = sorted(STANDARD_RATES, key=lambda rate: abs(1 - rate / average))[:4]
    odd = [rate for rate in (average.limit_denominator(1), average.limit_denominator(1001)) if rate > 0]
    stated = [nominal] if nominal and nominal.numerator < 1_000_000 else []
    misfits = {rate: _misfit(ticks, time_base, rate) for rate in (*stated, *near, *odd)}
    for candidates, allowed in (((*stated, *near, *odd), Fraction(0)), ((*near, *stated, *odd), _JITTER)):
        for rate in candidates:
            if misfits[rate] <= allowed:
                return _capped(rate), False
    enough = [rate for rate in (*stated, *STANDARD_RATES) if _ENOUGH <= rate / average <= _PLENTY and rate <= MAX_RATE]
    for rate in enough:
        if _distinct(ticks, time_base, rate):
            return rate, True
    return next((rate for rate in STANDARD_RATES if rate >= _ENOUGH * average), MAX_RATE), True


def _distinct(ticks: Sequence[int], time_base: Fraction, rate: Fraction) -> bool:
    """Tell whether every frame has a place of its own at `rate`, and lies near it."""
    frame = 1 / (rate * time_base)
    up, down, first = frame.numerator, frame.denominator, ticks[0]
    previous = -1
    for tick in ticks:
        place = ((tick - first) * down * 2 + up) // (2 * up)
        if place == previous or abs((tick - first) * down - place * up) > up * _JITTER:
            return False
        previous = place
    return True


def _misfit(ticks: Sequence[int], time_base: Fraction, rate: Fraction) -> Fraction:
    """Return how far the worst frame is from its place, in frames; 0 where rounding to ticks explains it."""
    frame = 1 / (rate * time_base)  # ticks
    up, down, first = frame.numerator, frame.denominator, ticks[0]
    worst = max(abs((tick - first) * down - place * up) for place, tick in enumerate(ticks))
    return max(Fraction(0), Fraction(worst - down, up))


def _capped(rate: Fraction) -> Fraction:
    parts = -(-rate // MAX_RATE)  # a whole number, so that every frame kept is a frame of the source
    return rate / max(1, parts)
