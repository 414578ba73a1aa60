"""Counts anew what has changed: minutes from events, hours from minutes, days from hours.

What changed is told by marks (schema.DIRTY). The sink writes one after the events of a batch can be read and before the
batch is committed, so a crash loses none. A round reads the marks, counts, and only then is done with those it read:
whatever is marked meanwhile has a mark of its own. To count once more than needed changes nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import Insert, func, literal, select, tuple_

from reelmesh.analytics import counting
from reelmesh.analytics.counting import Bucket
from reelmesh.analytics.functions import final
from reelmesh.analytics.reading import LATEST, Writer
from reelmesh.analytics.schema import DAYS, DIRTY, HOURS, MINUTES
from reelmesh.mesh.clock import Clock
from reelmesh.mesh.errors import Unavailable

SHARE = 7.0
"""After a round the counter rests this many times as long as it took: an eighth of the time is what it may use."""
LONGEST_REST = 20.0
"""…but never for more seconds: a long round may have been the last for a while, and reports wait for the next."""
CHUNK = 120
"""Minutes that are counted with one statement."""
NAMES = 2000
"""Marks that are done with in one statement."""
DAY = 86_400
MINUTES_DAYS = 28
"""Days for which all minutes of an hour are surely there; older hours are counted from the events."""
EDGES_DAYS = 1
"""The same for the edges by minute of a day."""

Plan = Sequence[tuple[Sequence[Bucket], Callable[[Sequence[Bucket], int], Insert]]]
"""Buckets, and what makes the statement that counts them in a version."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Round:
    """What a round did."""

    minutes: int
    """Minutes that were counted, once for each organization."""
    seconds: float
    """How long it took."""


class Rollups:
    """Counts in rounds."""

    def __init__(
        self,
        warehouse: Writer,
        clock: Clock,
        arrived_ms: Callable[[], int | None],
        leads: Callable[[], bool],
        seconds: float,
        events_days: int,
    ) -> None:
        """`arrived_ms` tells a time before which all that was received has been inserted and marked.

        `leads` says whether this process is the one that counts, `seconds` how long it rests between rounds at least,
        `events_days` for how long raw events are kept.
        """
        self._warehouse = warehouse
        self._clock = clock
        self._arrived_ms = arrived_ms
        self._leads = leads
        self._seconds = seconds
        self._events_days = events_days
        self._version = 0
        self._fresh_ms: int | None = None
        self._turn = asyncio.Event()
        self._counting = asyncio.Lock()

    def fresh_time(self) -> datetime | None:
        """Return a time before which all that was received is counted; None while that is not known."""
        return None if self._fresh_ms is None else datetime.fromtimestamp(self._fresh_ms / 1000, UTC)

    async def turned(self) -> None:
        """Wait for the end of a round."""
        await self._turn.wait()

    async def wait_until_fresh(self, wanted: datetime, seconds: float) -> bool:
        """Wait until what was received before `wanted` is counted. Return False when that takes longer than so."""
        try:
            async with asyncio.timeout(seconds):
                while (fresh := self.fresh_time()) is None or fresh < wanted:
                    await self._turn.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Count until cancelled."""
        while True:
            rest = self._seconds
            try:
                if self._leads():
                    rest = max(rest, min((await self.round()).seconds * SHARE, LONGEST_REST))
            except Unavailable as error:
                log.warning("roll-ups wait: %s", error)
            await asyncio.sleep(rest)  # a round after each batch would do the same work many times over

    async def round(self) -> Round:
        """Count what is marked now. Raises Unavailable; then it is counted the next time."""
        async with self._counting:
            began = time.monotonic()
            arrived = self._arrived_ms()
            marks = await self._marks()
            for _, of_day in itertools.groupby(marks.items(), key=lambda mark: mark[0][1] // DAY):
                await self._count(dict(of_day))
            self._fresh_ms = arrived
            self._turn.set()
            self._turn = asyncio.Event()
            return Round(len(marks), time.monotonic() - began)

    async def _marks(self) -> dict[Bucket, list[str]]:
        """Return the minutes that are marked, with the names of their marks."""
        minute = func.toUnixTimestamp(DIRTY.c.minute)
        query = (
            select(DIRTY.c.organization, minute, func.groupArray(func.toString(DIRTY.c.mark)))
            .where(DIRTY.c.done == 0)
            .group_by(DIRTY.c.organization, minute)
            .order_by(minute)
        )
        return {(row[0], row[1]): list(row[2]) for row in await self._warehouse.rows(final(query, DIRTY))}

    async def _count(self, marks: Mapping[Bucket, Sequence[str]]) -> None:
        """Count the minutes of one day, and the day once after them."""
        now = int(self._clock.now().timestamp())
        # A day less than they are kept: never count a minute that may have lost events.
        minutes = [bucket for bucket in marks if bucket[1] > now - (self._events_days - 1) * DAY]
        for some in _chunks(minutes):
            await self._run(self._minutes_and_hours(some, now))
        if minutes:
            await self._run(self._days(_wider(minutes, DAY), now))
        for some in _chunks(list(marks)):
            for statement in done({bucket: marks[bucket] for bucket in some}):
                await self._warehouse.run(statement)

    async def _run(self, plan: Plan) -> None:
        version = self._version = max(self._version + 1, int(self._clock.now().timestamp()) * 1000)
        for buckets, statement in plan:
            if buckets:
                await self._warehouse.run(statement(buckets, version), LATEST)

    @staticmethod
    def _minutes_and_hours(minutes: Sequence[Bucket], now: int) -> Plan:
        hours = _wider(minutes, 3600)
        whole = [bucket for bucket in hours if bucket[1] > now - MINUTES_DAYS * DAY]
        old = [bucket for bucket in hours if bucket not in whole]
        recent = [bucket for bucket in minutes if bucket[1] // DAY * DAY > now - (EDGES_DAYS + 1) * DAY]
        return [
            (minutes, partial(counting.of_events, MINUTES)),
            (minutes, partial(counting.vanished, MINUTES)),
            (whole, partial(counting.of_rollup, HOURS, MINUTES)),
            (old, partial(counting.of_events, HOURS)),
            (hours, partial(counting.vanished, HOURS)),
            (hours, partial(counting.facets_of_rollup, HOURS)),
            (hours, partial(counting.facets_vanished, HOURS)),
            (recent, partial(counting.retention_of_events, MINUTES)),
            (recent, partial(counting.retention_vanished, MINUTES)),
        ]

    @staticmethod
    def _days(days: Sequence[Bucket], now: int) -> Plan:
        edged = [bucket for bucket in days if bucket[1] > now - (EDGES_DAYS + 1) * DAY]
        unedged = [bucket for bucket in days if bucket not in edged]
        return [
            (days, partial(counting.of_rollup, DAYS, HOURS)),
            (days, partial(counting.vanished, DAYS)),
            (days, partial(counting.facets_of_facets, DAYS, HOURS)),
            (days, partial(counting.facets_vanished, DAYS)),
            (edged, counting.retention_of_minutes),
            (unedged, partial(counting.retention_of_events, DAYS)),
            (days, partial(counting.retention_vanished, DAYS)),
        ]


def done(marks: Mapping[Bucket, Sequence[str]]) -> Iterator[Insert]:
    """Yield the statements that are done with marks, and with no other that came meanwhile."""
    names = sorted({name for each in marks.values() for name in each})
    # A statement has at most 256 KiB, and a busy minute has as many marks as there were batches.
    for start in range(0, len(names), NAMES):
        yield _done(list(marks), names[start : start + NAMES])


def _done(buckets: Sequence[Bucket], names: Sequence[str]) -> Insert:
    read = select(DIRTY.c.organization, DIRTY.c.minute, DIRTY.c.mark, DIRTY.c.marked, literal(1)).where(
        func.toString(DIRTY.c.mark).in_(names),
        tuple_(DIRTY.c.organization, func.toUnixTimestamp(DIRTY.c.minute)).in_(list(buckets)),
        DIRTY.c.done == 0,
    )
    return DIRTY.insert().from_select([column.name for column in DIRTY.columns], final(read, DIRTY))


def _chunks(buckets: Sequence[Bucket]) -> Iterator[Sequence[Bucket]]:
    return (buckets[start : start + CHUNK] for start in range(0, len(buckets), CHUNK))


def _wider(buckets: Sequence[Bucket], seconds: int) -> list[Bucket]:
    return sorted({(organization, start // seconds * seconds) for organization, start in buckets})
