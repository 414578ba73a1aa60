"""How long sessions have been watched: what an organization is billed for."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import SessionName
from reelmesh.playback.model import Session

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Watched:
    """How far a session has been watched."""

    time: datetime
    """When that was said last."""
    position: timedelta = timedelta()
    """Where it was then."""
    total: timedelta = timedelta()
    """How long it was watched by then."""

    def at(self, time: datetime, position: timedelta) -> Watched:
        """Return what follows when a session is at `position`: a seek forward is not watched, nor is a pause."""
        moved = max(timedelta(), min(position - self.position, time - self.time))
        return Watched(time, position, self.total + moved)


class DeliveryStore(Protocol):
    """What delivery needs of a database; store.py is the one on Cassandra. Every method may raise Unavailable."""

    async def watched(self, name: SessionName) -> Watched | None:
        """Return what was said of a session; None where nothing was."""

    async def put_watched(self, session: Session, watched: Watched) -> None:
        """Keep what is said of a session."""


class Meter(Protocol):
    """Who counts; peers.py has the one that tells billing."""

    async def record(self, session: SessionName, create_time: datetime, total: timedelta) -> None:
        """Count the total that a session was watched. Raises Unavailable."""


class Delivery:
    """Watches all sessions being watched."""

    def __init__(self, store: DeliveryStore, meter: Meter) -> None:
        self._store = store
        self._meter = meter

    async def note(self, session: Session, time: datetime, position: timedelta) -> None:
        """Take note of where a session is. What cannot be told now is told with the next total."""
        before = await self._store.watched(session.name) or Watched(session.create_time)
        now = before.at(time, position)
        await self._store.put_watched(session, now)
        try:
            await self._meter.record(session.name, session.create_time, now.total)
        except Unavailable as error:
            log.warning("%s: not counted yet: %s", session.name, error)
