"""Finds which bytes of a source hold a span of time, from the index of its packets."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from reelmesh.media.v1.media_pb2 import ByteRange
from reelmesh.transcode.chunks import LEAD
from reelmesh.worker.v1.task_pb2 import SourceIndex, StreamIndex

_GAP = 4096
"""Holes up to this many bytes are read along."""
_WASTE = 0.04
"""But no more of them than this share of the span: a file that interleaves its streams finely would be read twice."""
_MAX_RANGES = 16_384
"""Ranges of one task at most: they travel in its message, some 12 bytes each."""
_SPARE_PACKETS = 4
"""Packets behind those needed: a decoder with two threads holds some back."""


@dataclass(frozen=True)
class PacketSpans:
    """The packets of one picture stream, prepared for looking up."""

    stream: StreamIndex
    """The packets in decoding order."""
    key_times: list[float]
    """Times of key frames in seconds, ascending."""
    _keys: list[int]
    _soonest: list[int]
    _reordered: int

    @classmethod
    def of(cls, index: SourceIndex, number: int) -> PacketSpans | None:
        """Prepare stream `number`; None when the index lacks it."""
        stream = next((stream for stream in index.streams if stream.stream == number), None)
        if stream is None or not stream.times:
            return None
        times = stream.times
        keys = sorted(stream.keys, key=lambda place: times[place])
        soonest = list(accumulate(reversed(times), min))
        soonest.reverse()
        shown = sorted(range(len(times)), key=lambda place: times[place])
        rank = [0] * len(times)
        for position, place in enumerate(shown):
            rank[place] = position
        reordered = max(place - position for place, position in enumerate(rank))
        return cls(stream, [times[place] / 1e6 for place in keys], keys, soonest, max(0, reordered))

    def ranges(self, start: float, end: float, *, frame: float) -> list[ByteRange]:
        """Return the bytes that decoding the frames from `start` to `end` (source seconds) takes.

        From the last key frame at least LEAD before `start` to the last packet shown up to two frames of `frame`
        seconds behind `end`, which the frame rate filter waits for, and those that the decoder holds back.
        """
        place = bisect_right(self.key_times, start - LEAD)
        first = self._keys[place - 1] if place else 0
        behind = bisect_right(self._soonest, round((end + 2 * frame) * 1e6))
        behind = min(len(self.stream.times), behind + self._reordered + _SPARE_PACKETS)
        spans = sorted(zip(self.stream.positions[first:behind], self.stream.sizes[first:behind], strict=True))
        return _as_ranges(_bounded(spans, sum(size for _, size in spans)))


def sound_ranges(index: SourceIndex, number: int, *, until: float) -> list[ByteRange]:
    """Return the bytes of sound stream `number` up to source time `until` in seconds.

    A stream that the index lacks has none.
    """
    stream = next((stream for stream in index.streams if stream.stream == number), None)
    if stream is None:
        return []
    size = sum(sum(other.sizes) for other in index.streams)
    behind = bisect_left(stream.times, round((until + LEAD) * 1e6))
    return _as_ranges(_bounded(sorted(zip(stream.positions[:behind], stream.sizes[:behind], strict=True)), size))


def _affordable(holes: Sequence[int], budget: float) -> int:
    """Return the largest gap such that all of the ascending `holes` up to it add up to no more than `budget`."""
    count = bisect_right(list(accumulate(holes)), budget)
    if count == len(holes):
        return holes[-1] if holes else 0
    return holes[count] - 1


def _holes(spans: Sequence[tuple[int, int]]) -> Iterable[int]:
    ends = accumulate((offset + size for offset, size in spans), max)
    return (spans[place + 1][0] - end for place, end in enumerate(ends) if place + 1 < len(spans))


def _bounded(ordered: Sequence[tuple[int, int]], budget: int) -> list[tuple[int, int]]:
    """Join spans over the smallest holes, _WASTE of `budget` bytes in all; over more where there are too many spans."""
    holes = sorted(hole for hole in _holes(ordered) if hole <= _GAP)
    merged = _joined(ordered, _affordable(holes, budget * _WASTE))
    if len(merged) > _MAX_RANGES:
        holes = sorted(_holes(merged))
        merged = _joined(merged, holes[len(merged) - _MAX_RANGES])
    return merged


def _joined(ordered: Iterable[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for offset, size in ordered:
        if size <= 0:
            continue
        if merged and offset <= sum(merged[-1]) + gap:
            begin = merged[-1][0]
            merged[-1] = (begin, max(sum(merged[-1]), offset + size) - begin)
        else:
            merged.append((offset, size))
    return merged


def _as_ranges(spans: Iterable[tuple[int, int]]) -> list[ByteRange]:
    return [ByteRange(offset=offset, size=size) for offset, size in spans]
