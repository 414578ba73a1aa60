"""How many viewings a viewer has at once: a slot for each, kept by renewals, given up when they fail to come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from reelmesh.mesh.clock import Clock
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import SessionName
from reelmesh.playback.errors import StreamLimit

ATTEMPTS = 32
"""Times that a change is tried anew because another viewing of the same viewer was faster."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place that a viewing has."""

    session: str
    """Id of the session."""
    take_time: datetime
    keep_time: datetime
    """When it was kept last."""


@dataclass(frozen=True, slots=True)
class Slots:
    """Places that a viewer has in an organization."""

    revision: int
    """Grows by one with every change; 0 where nothing is kept."""
    held: tuple[Slot, ...]


class SlotStore(Protocol):
    """What slots need of a database; store.py is the one on Cassandra. Every method may raise Unavailable."""

    async def load(self, organization: str, user: str) -> Slots:
        """Return a viewer's slots."""

    async def replace(self, organization: str, user: str, old: Slots, held: Sequence[Slot]) -> bool:
        """Put `held` in place of `old`; False when what is there is no longer `old`."""


class Streams:
    """Slots of all viewers."""

    def __init__(self, store: SlotStore, clock: Clock, lapse: timedelta) -> None:
        """A slot that was not kept for `lapse` is free."""
        self._store = store
        self._clock = clock
        self._lapse = lapse

    async def hold(self, name: SessionName, user: str, limit: int, *, take_over: bool = False) -> Sequence[SessionName]:
        """Take a slot, or keep the one that the session has; `limit` is how many there are, 0 for any number.

        Where none is free and `take_over` is set, the oldest are taken: return whose they were. Raises StreamLimit.
        """
        if not user or not limit:
            return []
        for _ in range(ATTEMPTS):
            slots = await self._store.load(name.organization, user)
            now = self._clock.now()
            live = [slot for slot in slots.held if slot.keep_time + self._lapse > now]
            mine = next((slot for slot in live if slot.session == name.id), None)
            others = sorted(
                (slot for slot in live if slot is not mine), key=lambda slot: (slot.take_time, slot.session)
            )
            displaced: Sequence[Slot] = ()
            if mine is None and len(others) >= limit:
                if not take_over:
                    raise StreamLimit(f"{limit} viewings at once are all that there are", limit=limit)
                displaced, others = others[: len(others) - limit + 1], others[len(others) - limit + 1 :]
            mine = replace(mine, keep_time=now) if mine else Slot(name.id, now, now)
            if await self._store.replace(name.organization, user, slots, [*others, mine]):
                return [SessionName(name.organization, slot.session) for slot in displaced]
        raise Unavailable("too many viewings of the viewer begin at once")

    async def holds(self, name: SessionName, user: str, limit: int) -> bool:
        """Say whether a session has a slot, or needs none."""
        if not user or not limit:
            return True
        slots = await self._store.load(name.organization, user)
        now = self._clock.now()
        return any(slot.session == name.id and slot.keep_time + self._lapse > now for slot in slots.held)

    async def free(self, name: SessionName, user: str) -> None:
        """Give a session's slot up, if it has one."""
        if not user:
            return
        for _ in range(ATTEMPTS):
            slots = await self._store.load(name.organization, user)
            left = [slot for slot in slots.held if slot.session != name.id]
            if len(left) == len(slots.held) or await self._store.replace(name.organization, user, slots, left):
                return
        raise Unavailable("too many viewings of the viewer end at once")
