"""Which viewings are kept where there are too many: some, whole, and the same ones whoever is asked."""

from __future__ import annotations

import hashlib

_RANGE = 1 << 64


class Sampling:
    """Keeps a part of all viewings."""

    def __init__(self, part: float) -> None:
        """`part` lies between 0, for none, and 1, for all. Raises ValueError."""
        if not 0 <= part <= 1:
            raise ValueError(f"a part lies between 0 and 1, not at {part}")
        self._bound = int(part * _RANGE)
        self.weight = max(1, round(1 / part)) if part else 1
        """How many viewings one that is kept stands for. Exact where the part is one in so many."""

    def keeps(self, session: bytes) -> bool:
        """Say whether a viewing is kept, by the id of its session."""
        if self._bound == _RANGE:
            return True
        return int.from_bytes(hashlib.blake2b(session, digest_size=8).digest()) < self._bound
