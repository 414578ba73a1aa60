"""Events as they arrive: one reader of Kafka for all who follow, each with a buffer that has an end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from reelmesh.telemetry.v1.event_pb2 import TelemetryEvent
from reelmesh.telemetry.v1.record_pb2 import TelemetryRecord

BUFFER = 2000
"""Events that wait for one follower; of others that come it misses the oldest."""
BATCH = 500
"""Events that are told at once."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """An event, and the record that it came in."""

    record: TelemetryRecord
    event: TelemetryEvent


@dataclass(slots=True, eq=False)
class _Follower:
    organization: str
    session: str
    """Id; empty for all sessions."""
    waiting: deque[Arrived] = field(default_factory=deque)
    missed: int = 0
    awake: asyncio.Event = field(default_factory=asyncio.Event)

    def give(self, record: TelemetryRecord) -> None:
        """Take what has come."""
        self.waiting.extend(Arrived(record, event) for event in record.events)
        while len(self.waiting) > BUFFER:
            self.waiting.popleft()
            self.missed += 1
        self.awake.set()

    def take(self) -> tuple[Sequence[Arrived], int]:
        """Return what waits, and how many were missed since the last time."""
        taken = [self.waiting.popleft() for _ in range(min(BATCH, len(self.waiting)))]
        missed, self.missed = self.missed, 0
        if not self.waiting:
            self.awake.clear()
        return taken, missed


Source = Callable[[], AsyncGenerator[Sequence[tuple[str, bytes]], None]]
"""Gives the records that come from now on, as key and value: nothing at first, once it reads. Raises Unavailable."""


class Tail:
    """Tells events to who follows them, and reads only while somebody does."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._followers: set[_Follower] = set()
        self._reading: asyncio.Task[None] | None = None
        self._began: asyncio.Event = asyncio.Event()

    async def follow(self, organization: str, session: str = "") -> AsyncGenerator[tuple[Sequence[Arrived], int], None]:
        """Yield events as they arrive, and how many were left out; nothing at first, once it reads.

        Raises Unavailable.
        """
        follower = _Follower(organization, session)
        self._followers.add(follower)
        if self._reading is None:
            self._began = asyncio.Event()
            self._reading = asyncio.create_task(self._read(self._began))
        reading, began = self._reading, self._began
        try:
            await _first(reading, began)
            yield (), 0
            while True:
                await _first(reading, follower.awake)
                yield follower.take()
        finally:
            self._followers.discard(follower)
            if not self._followers and self._reading is reading:
                self._reading = None
                reading.cancel()

    async def _read(self, began: asyncio.Event) -> None:
        try:
            async with aclosing(self._source()) as batches:
                async for batch in batches:
                    began.set()
                    for key, value in batch:
                        self._tell(key, value)
        finally:
            if self._reading is asyncio.current_task():
                self._reading = None  # whoever follows next begins anew

    def _tell(self, key: str, value: bytes) -> None:
        if not any(follower.session in ("", key) for follower in self._followers):
            return  # not worth reading
        try:
            record = TelemetryRecord.FromString(value)
        except DecodeError:
            return  # a dead letter of the sink's
        for follower in self._followers:
            if follower.organization == record.organization and follower.session in ("", key):
                follower.give(record)


async def _first(reading: asyncio.Task[None], event: asyncio.Event) -> None:
    """Wait for an event. Raises what the reading ended by."""
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    if not event.is_set():
        await reading
