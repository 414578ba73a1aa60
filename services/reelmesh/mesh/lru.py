"""A bounded map that forgets what was not asked for the longest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lru(Generic[K, V]):
    """Holds values whose weights together stay within `capacity`; `weigh` says what one weighs."""

    def __init__(self, capacity: int, weigh: Callable[[V], int]) -> None:
        self._capacity = capacity
        self._weigh = weigh
        self._values: OrderedDict[K, V] = OrderedDict()
        self._weight = 0

    def get(self, key: K) -> V | None:
        """Return a value, which now counts as just used; None when it is not held."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        """Hold a value, in place of one under the same key. One too heavy for the whole is not held."""
        self.drop(key)
        self._values[key] = value
        self._weight += self._weigh(value)
        while self._weight > self._capacity:
            self.drop(next(iter(self._values)))

    def drop(self, key: K) -> None:
        """Forget a value; one that is not held is no error."""
        value = self._values.pop(key, None)
        if value is not None:
            self._weight -= self._weigh(value)

    def __len__(self) -> int:
        return len(self._values)
