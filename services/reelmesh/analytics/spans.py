"""Spans of time: how a report's is rounded, and which roll-ups it is read from.

Times are whole seconds since 1970, as buckets are named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from reelmesh.analytics.errors import TimeRangeInvalid, TimeRangeTooLong
from reelmesh.analytics.schema import DAYS, HOURS, MINUTES

DAY = timedelta(days=1)
MOST_SPANS = 100_000
"""Spans that one report tells apart, at most."""
LENGTHS = {MINUTES: 60, HOURS: 3600, DAYS: 86_400}
"""Seconds of a bucket, by roll-up; each divides the next."""
_KEPT = {MINUTES: timedelta(days=29), HOURS: timedelta(days=399)}
"""How far back a roll-up is surely whole: a day less than it is kept."""
_LAST = (1 << 32) // LENGTHS[DAYS] * LENGTHS[DAYS]
"""Where ClickHouse's DateTime ends, in the year 2106, to the day."""


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` on, before `end`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Part:
    """A span that is read from one roll-up."""

    rollup: str
    span: Span


def resolve(start: float | None, end: float | None, now: datetime, length: timedelta = DAY) -> Span:
    """Return the span that a request means: up to now, and as long as `length`, where it does not say.

    It is rounded outwards to seconds. Raises TimeRangeInvalid.
    """
    end = now.timestamp() if end is None else end
    start = end - length.total_seconds() if start is None else start
    if end < start:
        raise TimeRangeInvalid("time_range ends before it starts")
    return Span(_clamped(math.floor(start)), _clamped(math.ceil(end)))


def rounded(span: Span, seconds: int) -> Span:
    """Round outwards to multiples of `seconds`."""
    return Span(span.start // seconds * seconds, -(-span.end // seconds) * seconds)


def of_buckets(span: Span, rollup: str) -> Sequence[Part]:
    """Say where to read a report from that tells the buckets of a roll-up apart. Raises TimeRangeTooLong."""
    whole = rounded(span, LENGTHS[rollup])
    if (whole.end - whole.start) // LENGTHS[rollup] > MOST_SPANS:
        raise TimeRangeTooLong(f"a report tells at most {MOST_SPANS} spans apart", spans=MOST_SPANS)
    return [Part(rollup, whole)]


def as_one(span: Span, now: datetime) -> Sequence[Part]:
    """Say where to read a report of the whole span from: days in its middle, hours and minutes at its edges.

    It is rounded outwards to the minute, or to what is still kept of that time.
    """
    today = int(now.timestamp())
    whole = Span(
        rounded(span, LENGTHS[_finest(span.start, today)]).start, rounded(span, LENGTHS[_finest(span.end, today)]).end
    )
    return [part for part in _split(whole, (DAYS, HOURS, MINUTES)) if part.span.start < part.span.end]


def _split(span: Span, rollups: Sequence[str]) -> Sequence[Part]:
    coarsest, *finer = rollups
    if not finer:
        return [Part(coarsest, span)]
    length = LENGTHS[coarsest]
    inner = Span(-(-span.start // length) * length, span.end // length * length)
    if inner.start >= inner.end:
        return _split(span, finer)
    before, after = Span(span.start, inner.start), Span(inner.end, span.end)
    return [*_split(before, finer), Part(coarsest, inner), *_split(after, finer)]


def _finest(time: int, today: int) -> str:
    for rollup, kept in _KEPT.items():
        if time >= today - kept.total_seconds():
            return rollup
    return DAYS


def _clamped(time: int) -> int:
    return min(max(time, 0), _LAST)
