"""Viewings that are over before their time. Manifests ask, so the answer is remembered for a moment."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.lru import Lru
from reelmesh.mesh.names import SessionName
from reelmesh.playback.errors import SessionEnded, SessionOver, SessionShared, StreamTakenOver

REMEMBERED_SECONDS = 5.0
"""How long a manifest of a viewing that has ended may still open."""
HELD = 100_000
"""Answers held by one process."""

_ERRORS: dict[str, type[SessionOver]] = {each.reason: each for each in (SessionEnded, StreamTakenOver, SessionShared)}

log = logging.getLogger(__name__)


class EndingStore(Protocol):
    """Where it is kept that a session has ended; store.py is the one on Cassandra."""

    async def ending(self, name: SessionName) -> str:
        """Return why a session has ended; empty while it has not. Raises Unavailable."""


def refuse_ended(reason: str) -> None:
    """Raise SessionOver when there is a reason for which a session has ended."""
    if reason:
        raise _ERRORS[reason]("the viewing is over")


@dataclass(frozen=True, slots=True)
class _Answer:
    reason: str
    time: float


class Endings:
    """Knows which viewings are over."""

    def __init__(self, store: EndingStore, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._monotonic = monotonic
        self._answers: Lru[SessionName, _Answer] = Lru(HELD, lambda _: 1)

    async def refuse(self, name: SessionName) -> None:
        """Raise SessionOver where a session has ended."""
        answer = self._answers.get(name)
        if answer is None or self._monotonic() - answer.time >= REMEMBERED_SECONDS:
            try:
                answer = _Answer(await self._store.ending(name), self._monotonic())
            except Unavailable as error:
                # Its token is good: who watches goes on while the store is away.
                log.warning("%s is taken to go on: %s", name, error)
                return
            self._answers.put(name, answer)
        refuse_ended(answer.reason)
