"""Cuts a presentation into chunks, the spans of source that are encoded as one task."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

LEAD = 1.0
"""Seconds before a chunk's start by which decoding must have begun: frames are shown in another order than they are
stored in, and seeking to the very start lost some on half of the files tried."""
_MOST_SEGMENTS = 10
_UNEVENNESS = 1 / 32
"""What the square of a second's difference from the wished length costs, in seconds of source decoded twice: 4 s off
are nothing beside a key frame far away, 20 s off leave the other workers idle at the end."""


@dataclass(frozen=True)
class Chunk:
    """A span of the presentation."""

    first_frame: int
    """First frame, counted from the start of the presentation."""
    frames: int
    """Frames in it."""
    first_segment: int
    """Number of its first segment."""
    segment_frames: int
    """Frames in each of its segments but a shorter last one."""
    seek: float
    """Source time in seconds to seek to; not later than the origin where decoding begins at the start."""
    last: bool
    """True for the chunk that ends the presentation."""


def split(
    frames: int,
    rate: Fraction,
    *,
    gop: int,
    segment: int,
    origin: float,
    keys: Sequence[float],
    target: float,
    margin: float = 0.0,
) -> list[Chunk]:
    """Cut `frames` frames at `rate` frames per second into chunks of about `target` seconds.

    The first chunk is one GOP. The others begin on segment boundaries, chosen by dynamic programming so that the source
    decoded twice (from the key frame at least LEAD seconds before each chunk) plus the unevenness of the chunks costs
    least. `keys` are the source times of key frames in ascending order, `origin` the source time of frame 0. Seeking
    aims `margin` seconds too early, for containers in which it is not exact.
    """
    rest = frames - gop
    if rest <= segment // 4:  # a tail too small for a task of its own
        return [Chunk(0, frames, 0, gop, origin, last=True)]
    cuts = _best_cuts(rest, rate, gop=gop, segment=segment, origin=origin, keys=keys, target=target)
    chunks = [Chunk(0, gop, 0, gop, origin, last=False)]
    for begin, end in pairwise(cuts):
        first = gop + begin * segment
        after = min(frames, gop + end * segment)
        seek = _seek(origin + float(first / rate), origin, keys, margin)
        chunks.append(Chunk(first, after - first, 1 + begin, segment, seek, last=after == frames))
    return chunks


def _best_cuts(
    rest: int, rate: Fraction, *, gop: int, segment: int, origin: float, keys: Sequence[float], target: float
) -> list[int]:
    """Return the segment numbers, counted behind the first chunk, at which chunks begin, and the end."""
    count = -(-rest // segment)
    if count > 1 and rest - (count - 1) * segment <= segment // 4:
        limit, tail = count - 1, True  # a tiny last segment never makes a chunk of its own
    else:
        limit, tail = count, False
    seconds = float(segment / rate)
    most = max(1, min(_MOST_SEGMENTS, round(40 / seconds)), round(target / seconds))
    overlap = []
    for place in range(limit):
        start = origin + float((gop + place * segment) / rate)
        overlap.append(start - _key_before(start - LEAD, origin, keys))
    costs, previous = [0.0], [0]
    for end in range(1, limit + 1):
        cost, begin = min(
            (costs[begin] + overlap[begin] + _UNEVENNESS * ((end - begin) * seconds - target) ** 2, begin)
            for begin in range(max(0, end - most), end)
        )
        costs.append(cost)
        previous.append(begin)
    cuts = [limit]
    while cuts[-1] > 0:
        cuts.append(previous[cuts[-1]])
    cuts.reverse()
    if tail:
        cuts[-1] = count
    return cuts


def _key_before(time: float, origin: float, keys: Sequence[float]) -> float:
    place = bisect_right(keys, time)
    return max(origin, keys[place - 1]) if place else origin


def _seek(start: float, origin: float, keys: Sequence[float], margin: float) -> float:
    """Return a time that a demuxer finds the key frame at or before `start` - LEAD by.

    Not that key frame's own time, which rounding may miss, but one up to 50 ms behind it.
    """
    latest = start - LEAD
    key = _key_before(latest, origin, keys)
    return origin if key <= origin else max(origin, min(latest, key + 0.05) - margin)
