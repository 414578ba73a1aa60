"""The same figures from each table, so that they can be held against each other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, func, select

from reelmesh.analytics.columns import EVENTS
from reelmesh.analytics.errors import RollupBehind
from reelmesh.analytics.functions import during, final
from reelmesh.analytics.reading import Reader
from reelmesh.analytics.schema import DAYS, FACETS, HOURS, MINUTES, RECEIPTS, ROLLUPS, SESSIONS
from reelmesh.analytics.spans import LENGTHS, Span, rounded
from reelmesh.mesh.clock import Clock

WAIT_SECONDS = 5.0
"""How long an audit waits until what has arrived is counted."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one table holds."""

    table: str
    """ "raw", "sessions", or a roll-up."""
    events_sent: int
    """Events as they arrived, repeats included; where that is not kept, the same as the next."""
    distinct_events: int
    views: int
    watch_seconds: float
    stall_seconds: float


class Audit:
    """Counts."""

    def __init__(
        self, reader: Reader, clock: Clock, fresh: Callable[[datetime, float], Awaitable[bool]], events_days: int
    ) -> None:
        """`fresh` waits until what was received before a time is counted, and tells whether it came to that."""
        self._reader = reader
        self._clock = clock
        self._fresh = fresh
        self._events_days = events_days

    async def figures(self, organization: str, span: Span | None = None) -> Sequence[Figures]:
        """Return the figures of each table over whole days, "raw" first. Raises RollupBehind, Unavailable.

        Without a span these are the days of which raw events are kept.
        """
        now = self._clock.now()
        if not await self._fresh(now, WAIT_SECONDS):
            raise RollupBehind("what has arrived is not counted yet", retry_after=timedelta(seconds=1))
        kept = int((now - timedelta(days=self._events_days - 1)).timestamp())
        days = rounded(span or Span(kept, int(now.timestamp()) + LENGTHS[DAYS]), LENGTHS[DAYS])
        queries = {rollup: _of_table(ROLLUPS[rollup], organization, days) for rollup in (MINUTES, HOURS, DAYS)}
        for table in FACETS.values():
            queries[table.name] = _of_table(table, organization, days, table.c.dimension == "")
        queries["sessions"] = _of_sessions(organization, days)
        raw = await self._raw(organization, days)
        return [raw, *[await self._one(table, query) for table, query in queries.items()]]

    async def _raw(self, organization: str, days: Span) -> Figures:
        e, receipts = EVENTS.c, RECEIPTS.c
        query = select(
            func.count(),
            func.sumIf(e.weight, e.type == "REQUESTED"),
            func.sum(e.weight * e.watch_ms),
            func.sum(e.weight * e.stall_ms),
        ).where(e.organization == organization, *during(e.minute, days))
        raw = await self._one("raw", final(query, EVENTS))
        received = select(func.sum(receipts.events)).where(
            receipts.organization == organization, *during(receipts.minute, days)
        )
        sent = (await self._reader.rows(received))[0][0]
        return Figures("raw", sent, raw.distinct_events, raw.views, raw.watch_seconds, raw.stall_seconds)

    async def _one(self, table: str, query: Select[Any]) -> Figures:
        events, views, watch_ms, stall_ms = (await self._reader.rows(query))[0]
        return Figures(table, events, events, views, watch_ms / 1000, stall_ms / 1000)


def _of_table(table: Table, organization: str, days: Span, *conditions: ColumnElement[bool]) -> Select[Any]:
    c = table.c
    query = select(func.sum(c.events), func.sum(c.views), func.sum(c.watch_ms), func.sum(c.stall_ms)).where(
        c.organization == organization, *during(c.bucket, days), *conditions
    )
    return final(query, table)


def _of_sessions(organization: str, days: Span) -> Select[Any]:
    """Count viewings by when they began."""
    s = SESSIONS.c
    viewing = (
        select(
            func.min(s.first_time).label("began"),
            func.groupBitmapMerge(s.events).label("arrived"),
            func.max(s.requested).label("asked"),
            func.max(s.watch_ms).label("watched"),
            func.max(s.stall_ms).label("stalled"),
            func.max(s.weight).label("times"),
        )
        .where(s.organization == organization)
        .group_by(s.session)
        .subquery("viewing")
    )
    v = viewing.c
    return select(
        func.sum(v.arrived), func.sum(v.times * v.asked), func.sum(v.times * v.watched), func.sum(v.times * v.stalled)
    ).where(*during(v.began, days))
