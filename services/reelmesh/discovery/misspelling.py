"""Whether a word may be another one, misspelt: the index's rule, for the few words of a page."""

from __future__ import annotations

import functools


@functools.lru_cache(maxsize=100_000)
def alike(typed: str, word: str, most: int, prefix: bool) -> bool:
    """Say whether what was typed is a word, or with `prefix` a beginning of it, but for `most` letters at most.

    A letter is changed, added, left out or exchanged with the next one (optimal string alignment distance).
    """
    if len(word) < len(typed) - most or (not prefix and len(word) > len(typed) + most):
        return False
    before: list[int] = []
    row = list(range(min(len(word), len(typed) + most) + 1))
    for at, letter in enumerate(typed, 1):
        before, last, row = row, before, [at]
        for to in range(1, len(before)):
            cost = min(before[to] + 1, row[to - 1] + 1, before[to - 1] + (letter != word[to - 1]))
            if at > 1 and to > 1 and letter == word[to - 2] and typed[at - 2] == word[to - 1]:
                cost = min(cost, last[to - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return False
    return (min(row) if prefix else row[-1]) <= most
