"""Forgets one viewer, or all viewers of an organization.

What is erased are viewings that began before it was asked for. Their minutes are written down first, then their rows
go, then the minutes are counted anew: an erasure that is cut off goes on where it was. Events of them that arrive
later, as they may for a day, are erased by looking again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Insert, Table, delete, func, literal, select

from reelmesh.analytics.columns import DELIVERIES, EVENTS, EXPOSURES, LICENSES
from reelmesh.analytics.experiments import unit_of
from reelmesh.analytics.functions import final, fixed
from reelmesh.analytics.reading import Definer
from reelmesh.analytics.schema import ALERTS, DIRTY, ERASURES, FACETS, RECEIPTS, RETENTION, ROLLUPS, SESSIONS
from reelmesh.mesh.clock import Clock, IdSource
from reelmesh.mesh.errors import Unavailable

CHUNK = 1000
"""Viewings that one statement erases."""
LOOK_SECONDS = 600.0
"""How often it is looked for events that came late."""
LATE = timedelta(hours=25)
"""How long after the asking they may come."""
SETTLE_SECONDS = 5.0
"""How long an erasure waits for what is on its way, before it begins. What is later is found by looking again."""
SYNC: Mapping[str, Any] = {"lightweight_deletes_sync": 2, "mutations_sync": 2}
"""A statement that erases returns when it has, on every replica."""

VIEWINGS: Sequence[tuple[Table, str, str]] = (
    (DELIVERIES, "session", "request_time"),
    (LICENSES, "session_id", "time"),
    (EXPOSURES, "session", "time"),
    (SESSIONS, "session", "first_time"),
    (EVENTS, "session", "event_time"),
)
"""Tables with rows of single viewings, and the columns that say which and when. Events go last: they are what is looked
for."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom to forget, and what is known of it."""

    organization: str
    viewer: str
    """Pseudonym in hex; empty for everyone."""
    asked_ms: int
    """When it was asked for."""
    done: bool = False
    sessions: Sequence[str] = ()
    """Ids in hex; of a viewer only."""
    minutes: Sequence[int] = ()


class Erasure:
    """Erases."""

    def __init__(
        self,
        warehouse: Definer,
        clock: Clock,
        ids: IdSource,
        pseudonym: Callable[[str, str], bytes],
        settle: Callable[[datetime, float], Awaitable[object]],
        recount: Callable[[], Awaitable[object]],
        on_cluster: str = "",
    ) -> None:
        """`pseudonym` hashes a viewer of an organization, as the door of telemetry does.

        `settle` waits until what was received before a time is there, for so many seconds at most. `recount` counts
        what is marked. `on_cluster` is the clause for statements about tables.
        """
        self._warehouse = warehouse
        self._clock = clock
        self._ids = ids
        self._pseudonym = pseudonym
        self._settle = settle
        self._recount = recount
        self._on_cluster = on_cluster
        self._version = 0
        self._alone = asyncio.Lock()

    async def erase_viewer(self, organization: str, viewer: str) -> int:
        """Forget a viewer, such as "users/{user}", and return how many events that were.

        Raises Unavailable; then it goes on by itself if it had begun.
        """
        return await self._erase(organization, self._pseudonym(organization, viewer).hex())

    async def erase_organization(self, organization: str) -> int:
        """Forget all viewers of an organization. As erase_viewer."""
        return await self._erase(organization, "")

    async def run(self) -> None:
        """Go on with what was cut off, and look again for what came late, until cancelled."""
        while True:
            try:
                await self.look_again()
            except Unavailable as error:
                log.warning("erasures wait: %s", error)
            await asyncio.sleep(LOOK_SECONDS)  # what comes late has no event

    async def look_again(self) -> int:
        """Erase what was not yet, and return how many events that were. Raises Unavailable."""
        since = int((self._clock.now() - LATE).timestamp() * 1000)
        found = 0
        for asked in await self._asked(ERASURES.c.asked_ms >= since):
            found += await self._go_on(asked)
        return found

    async def _erase(self, organization: str, viewer: str) -> int:
        now = self._clock.now()
        await self._settle(now, SETTLE_SECONDS)
        known = await self._asked(ERASURES.c.organization == organization, ERASURES.c.viewer == viewer)
        before = next((asked for asked in known if not asked.done), None)
        asked = Asked(
            organization,
            viewer,
            int(now.timestamp() * 1000),
            sessions=before.sessions if before else (),
            minutes=before.minutes if before else (),
        )
        await self._remember(asked)
        return await self._go_on(asked)

    async def _go_on(self, asked: Asked) -> int:
        async with self._alone:
            sessions = {*asked.sessions, *await self._sessions(asked)} if asked.viewer else set()
            events, minutes = await self._affected(asked, sorted(sessions))
            if not events and asked.done:
                return 0
            asked = Asked(
                asked.organization,
                asked.viewer,
                asked.asked_ms,
                asked.done,
                sorted(sessions),
                sorted({*asked.minutes, *minutes}),
            )
            await self._remember(asked)
            for table, condition in self._rows(asked):
                await self._warehouse.run(delete(table).where(condition), SYNC)
            for name in sorted({table.name for table, _ in self._rows(asked)}):
                # Until then the rows are only hidden.
                await self._warehouse.define(f"ALTER TABLE {name}{self._on_cluster} APPLY DELETED MASK")
            if not asked.viewer:
                asked = Asked(asked.organization, "", asked.asked_ms, asked.done, (), await self._minutes_left(asked))
            if asked.minutes:
                await self._warehouse.run(marks(asked.organization, asked.minutes, UUID(self._ids.new())))
                await self._recount()
            await self._remember(Asked(asked.organization, asked.viewer, asked.asked_ms, done=True))
            return events

    async def _asked(self, *which: ColumnElement[bool]) -> list[Asked]:
        e = ERASURES.c
        query = select(e.organization, e.viewer, e.asked_ms, e.done, e.sessions, e.minutes).where(*which)
        rows = await self._warehouse.rows(final(query, ERASURES))
        return [Asked(row[0], row[1], row[2], bool(row[3]), list(row[4]), list(row[5])) for row in rows]

    async def _remember(self, asked: Asked) -> None:
        self._version = max(self._version + 1, int(self._clock.now().timestamp() * 1_000_000))
        values = select(
            literal(asked.organization),
            literal(asked.viewer),
            literal(list(asked.sessions), ERASURES.c.sessions.type),
            literal(list(asked.minutes), ERASURES.c.minutes.type),
            literal(asked.asked_ms),
            literal(int(asked.done)),
            literal(self._version),
        )
        columns = [column.name for column in ERASURES.columns]
        await self._warehouse.run(ERASURES.insert().from_select(columns, values))

    async def _sessions(self, asked: Asked) -> set[str]:
        """Return the viewings of a viewer that began before it was asked."""
        found: set[str] = set()
        for table, time, viewer in (
            (EVENTS, "event_time", func.unhex(asked.viewer)),
            (SESSIONS, "first_time", literal(asked.viewer)),
        ):
            query = (
                select(func.lower(func.hex(table.c.session)))
                .distinct()
                .where(
                    table.c.organization == asked.organization,
                    table.c.viewer == viewer,
                    table.c[time] <= _until(asked),
                )
            )
            found |= {row[0] for row in await self._warehouse.rows(query)}
        return found

    async def _affected(self, asked: Asked, sessions: Sequence[str]) -> tuple[int, set[int]]:
        """Return how many events there are to be erased, and when they happened."""
        events, minutes = 0, set[int]()
        for condition in _which(EVENTS, "session", "event_time", asked, sessions):
            query = select(func.toUnixTimestamp(EVENTS.c.minute), func.count()).where(condition)
            for minute, count in await self._warehouse.rows(final(query.group_by(EVENTS.c.minute), EVENTS)):
                minutes.add(minute)
                events += count
        return events, minutes

    async def _minutes_left(self, asked: Asked) -> list[int]:
        """Return the minutes of an organization that are to be counted after its roll-ups went."""
        query = (
            select(func.toUnixTimestamp(EVENTS.c.minute)).distinct().where(EVENTS.c.organization == asked.organization)
        )
        return [row[0] for row in await self._warehouse.rows(query)]

    def _rows(self, asked: Asked) -> Iterator[tuple[Table, ColumnElement[bool]]]:
        """Yield what is to be erased: tables, and conditions that their rows meet."""
        for table, column, time in VIEWINGS:
            for condition in _which(table, column, time, asked, asked.sessions):
                yield table, condition
        if asked.viewer:
            # Also of viewings that were to tell nothing of who watches.
            unit = unit_of(self._pseudonym, asked.organization, bytes.fromhex(asked.viewer))
            theirs = EXPOSURES.c.unit == fixed(unit.hex())
            before = EXPOSURES.c.time <= _until(asked)
            yield EXPOSURES, (EXPOSURES.c.organization == asked.organization) & theirs & before
        else:
            for table, time in (
                *((table, "bucket") for table in (*ROLLUPS.values(), *FACETS.values(), *RETENTION.values())),
                (RECEIPTS, "minute"),
                (ALERTS, "start_time"),
            ):
                yield table, (table.c.organization == asked.organization) & (table.c[time] <= _until(asked))


def _until(asked: Asked) -> ColumnElement[Any]:
    return func.fromUnixTimestamp64Milli(func.toInt64(asked.asked_ms))


def _which(
    table: Table, column: str, time: str, asked: Asked, sessions: Sequence[str]
) -> Iterator[ColumnElement[bool]]:
    """Yield conditions that together are met by the rows to erase."""
    of_organization: ColumnElement[bool] = table.c.organization == asked.organization
    if not asked.viewer:
        yield of_organization & (table.c[time] <= _until(asked))
        return
    for start in range(0, len(sessions), CHUNK):
        some = [fixed(session) for session in sessions[start : start + CHUNK]]
        yield of_organization & table.c[column].in_(some)


def marks(organization: str, minutes: Sequence[int], name: UUID) -> Insert:
    """Return the statement that marks minutes to be counted anew."""
    each = func.toDateTime(func.arrayJoin(literal(list(minutes), ERASURES.c.minutes.type)), "UTC")
    values = select(literal(organization), each, literal(str(name)), func.now64(3, "UTC"), literal(0))
    return DIRTY.insert().from_select([column.name for column in DIRTY.columns], values)
