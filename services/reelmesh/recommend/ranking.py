"""Lists into one: fused by rank, without what was seen, and not all of a kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

_SMOOTH = 60
"""Source of the method and its constant: Cormack, Clarke, Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and
individual Rank Learning Methods" (2009)."""
SAME = 0.4
"""Part of a row that may be of one genre before others come first."""

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Ranked:
    """A title among those that may be shown."""

    row: int
    together: float
    """What it owes to who watched what together with what."""
    alike: float
    """What it owes to what it is."""

    @property
    def score(self) -> float:
        """What it is ordered by."""
        return self.together + self.alike


def fuse(together: Sequence[int], alike: Sequence[int], weight: float) -> list[Ranked]:
    """Fuse two lists of rows, each the best first, into one; `weight` is the second's, where the first has 1."""
    by_together = {row: 1 / (_SMOOTH + place) for place, row in enumerate(together)}
    by_alike = {row: weight / (_SMOOTH + place) for place, row in enumerate(alike)}
    rows = dict.fromkeys([*together, *alike])
    found = [Ranked(row, by_together.get(row, 0.0), by_alike.get(row, 0.0)) for row in rows]
    return sorted(found, key=lambda ranked: -ranked.score)


def interleave(usual: Sequence[_Item], rare: Iterable[_Item], every: int) -> Iterator[_Item]:
    """Yield the usual ones with a rare one in each `every`-th place, as long as there are rare ones."""
    rest = iter(rare)
    for place, item in enumerate(usual, 1):
        yield item
        if place % (every - 1) == 0:
            following = next(rest, None)
            if following is not None:
                yield following
    yield from rest


def varied(items: Iterable[_Item], genre: Callable[[_Item], str], size: int, same: float = SAME) -> list[_Item]:
    """Return up to `size` of `items`, in their order, of which no genre has more than its part.

    Where there are not enough of others, those that were passed over fill up the end.
    """
    most = max(1, round(size * same))
    taken: list[_Item] = []
    passed: list[_Item] = []
    counts: Counter[str] = Counter()
    for item in items:
        if len(taken) == size:
            return taken
        kind = genre(item)
        if kind and counts[kind] >= most:
            passed.append(item)
        else:
            counts[kind] += 1
            taken.append(item)
    return taken + passed[: size - len(taken)]
