"""A bounded memory of what was found out a moment ago."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Holds up to `size` values, each for `seconds` from when it was put."""

    def __init__(self, size: int, seconds: float, monotonic: Callable[[], float]) -> None:
        self._size = size
        self._seconds = seconds
        self._monotonic = monotonic
        self._values: OrderedDict[K, tuple[float, V]] = OrderedDict()
        """In the order of their end."""

    def get(self, key: K) -> V | None:
        """Return a value; None when it is not held."""
        held = self._values.get(key)
        return None if held is None or held[0] <= self._monotonic() else held[1]

    def put(self, key: K, value: V) -> None:
        """Hold a value, in place of one under the same key."""
        now = self._monotonic()
        self.drop(key)
        self._values[key] = (now + self._seconds, value)
        oldest = next(iter(self._values.values()))
        while oldest[0] <= now or len(self._values) > self._size:
            self._values.popitem(last=False)
            oldest = next(iter(self._values.values()))

    def drop(self, key: K) -> None:
        """Forget a value; one that is not held is no error."""
        self._values.pop(key, None)
