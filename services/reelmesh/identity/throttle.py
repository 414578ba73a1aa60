"""Makes who guesses wait: failures are counted by account, by network address, and by both together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from reelmesh.identity.errors import CredentialsWrong, TooManyAttempts, TotpWrong
from reelmesh.mesh.clock import Clock

LONGEST = timedelta(minutes=15)
"""Nobody waits longer for the next try."""
RACES = 8
"""Times that a count is tried anew because others count at the same time; then it is they who guess."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """What failed lately under one key."""

    failures: int
    until: datetime
    """No try is heard before."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A key, and how many failures under it are free."""

    key: str
    free: int


class AttemptStore(Protocol):
    """What throttling needs of a database."""

    async def attempts(self, key: str) -> Attempts | None:
        """Return what failed under `key`; None when nothing did lately."""

    async def replace_attempts(self, key: str, old: Attempts | None, new: Attempts | None) -> bool:
        """Put `new` in place of `old`; False when what is there is no longer `old`."""


class Throttle:
    """Counts before it is known whether a try is good, so that many at once do not slip through together."""

    def __init__(self, store: AttemptStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @asynccontextmanager
    async def attempt(self, limits: Sequence[Limit]) -> AsyncIterator[None]:
        """Let a try be made within; what is wrong in it counts, everything else does not. Raises TooManyAttempts."""
        counted: list[Limit] = []
        try:
            for limit in limits:
                await self._count(limit)
                counted.append(limit)
            yield
        except (CredentialsWrong, TotpWrong):
            raise
        except Exception:
            await self._give_back(counted)
            raise
        await self._give_back(counted)

    async def spend(self, limit: Limit) -> None:
        """Count something that is limited whether it succeeds or not. Raises TooManyAttempts."""
        await self._count(limit)

    async def _count(self, limit: Limit) -> None:
        for _ in range(RACES):
            now = self._clock.now()
            found = await self._store.attempts(limit.key)
            if found is not None and found.until > now:
                raise TooManyAttempts("too many tries failed; wait", retry_after=found.until - now)
            failures = (found.failures if found else 0) + 1
            new = Attempts(failures, now + wait(failures - limit.free))
            if await self._store.replace_attempts(limit.key, found, new):
                return
        raise TooManyAttempts("too many tries at once", retry_after=timedelta(seconds=1))

    async def _give_back(self, limits: Sequence[Limit]) -> None:
        for limit in limits:
            found = await self._store.attempts(limit.key)
            if found is None:
                continue
            fewer = Attempts(found.failures - 1, self._clock.now()) if found.failures > 1 else None
            # Should another count at this moment, one failure too many stands for an hour.
            await self._store.replace_attempts(limit.key, found, fewer)


def wait(beyond: int) -> timedelta:
    """Return how long to wait after so many failures beyond the free ones: twice as long each time."""
    return min(timedelta(seconds=2 ** min(beyond, 20)), LONGEST) if beyond >= 0 else timedelta()
