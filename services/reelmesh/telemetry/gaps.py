"""Sequences that did not arrive, as far as one process has seen.

They tell of loss on the way, and a client what it might send again. What is stored never depends on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reelmesh.mesh.lru import Lru

REMEMBERED = 100_000
"""Viewings that one process remembers. One that was forgotten begins anew: nothing before its next batch is missed."""
MOST_RANGES = 16
"""Ranges that are remembered of one viewing, and told; the oldest are given up."""

Range = tuple[int, int]
"""First and last sequence of those that are missing."""


@dataclass(frozen=True, slots=True)
class _Seen:
    following: int
    """The sequence after the largest that came."""
    missing: tuple[Range, ...]


class Gaps:
    """Watches the sequences of viewings."""

    def __init__(self) -> None:
        self._seen: Lru[bytes, _Seen] = Lru(REMEMBERED, lambda _: 1)

    def note(self, session: bytes, sequences: Sequence[int]) -> tuple[Range, ...]:
        """Take note of what came of a viewing, and return what is missing before and among it."""
        if not sequences:
            return ()
        first, last = sequences[0], sequences[-1]
        seen = self._seen.get(session)
        if seen is None:
            # What came before may have gone to another process.
            seen = _Seen(min(sequences), ())
        straight = last - first == len(sequences) - 1 and sequences == list(range(first, last + 1))
        if straight and first == seen.following and not seen.missing:
            now = replace(seen, following=last + 1)
        else:
            now = _after(seen, sorted(set(sequences)))
        self._seen.put(session, now)
        return now.missing


def _after(seen: _Seen, sequences: Sequence[int]) -> _Seen:
    missing = list(seen.missing)
    following = seen.following
    for sequence in sequences:
        if sequence >= following:
            if sequence > following:
                missing.append((following, sequence - 1))
            following = sequence + 1
        else:
            missing = [part for gap in missing for part in _without(gap, sequence)]
    return _Seen(following, tuple(missing[-MOST_RANGES:]))


def _without(gap: Range, sequence: int) -> list[Range]:
    first, last = gap
    if not first <= sequence <= last:
        return [gap]
    return [part for part in ((first, sequence - 1), (sequence + 1, last)) if part[0] <= part[1]]
