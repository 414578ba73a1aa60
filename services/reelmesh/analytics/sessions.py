"""Viewings, as their events tell them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.sql.expression import ColumnElement

from reelmesh.analytics.columns import EVENTS, LICENSES
from reelmesh.analytics.errors import FilterInvalid, SessionUnknown
from reelmesh.analytics.functions import fixed, least_id
from reelmesh.analytics.metrics import filtered
from reelmesh.analytics.reading import Reader, latest, latest_of_few
from reelmesh.analytics.schema import SESSIONS
from reelmesh.analytics.spans import Span
from reelmesh.analytics.v1 import report_pb2 as pb
from reelmesh.mesh.errors import PageTokenInvalid
from reelmesh.mesh.names import SessionName

_MANY = frozenset({pb.DIMENSION_RENDITION, pb.DIMENSION_CDN})
"""Dimensions that change while a viewing goes on."""
TOLD_EVENTS = 1000
"""Events of one viewing that are told."""
Outcome = pb.SessionReport.Outcome


@dataclass(frozen=True, slots=True)
class Licenses:
    """Decisions about licenses of one viewing."""

    granted: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a viewing; `_ms` are those since the event before."""

    event_time: datetime
    received_time: datetime
    sequence: int
    type: str
    state: str
    position_ms: int
    watch_ms: int
    stall_ms: int
    rendition: str
    country: str
    device: str
    error_code: str


@dataclass(frozen=True, slots=True)
class Viewing:
    """One viewing; times and totals are those of its events."""

    session: str
    """Id of the playback session."""
    video: str
    viewer: str
    first_time: datetime
    last_time: datetime
    events: int
    last_sequence: int
    outcome: Outcome.ValueType
    started: bool
    startup_ms: int
    watch_ms: int
    stall_ms: int
    stalls: int
    switches: int
    dropped_frames: int
    media_bytes: int
    rendition: str
    cdn: str
    error_code: str
    country: str
    device: str
    operating_system: str
    browser: str
    player_version: str
    experiments: Sequence[str]
    licenses: Licenses

    @property
    def missing(self) -> int:
        """Events that did not arrive, by their sequence."""
        return self.last_sequence + 1 - self.events


def session_id(id_: str) -> ColumnElement[Any]:
    """Return a session's id as tables have it."""
    return fixed(uuid.UUID(id_).hex)


_C = SESSIONS.c
_OUTCOME = func.multiIf(
    _C.failed > 0,
    Outcome.OUTCOME_FAILED,
    _C.exited > 0,
    Outcome.OUTCOME_EXITED_BEFORE_START,
    _C.ended > 0,
    Outcome.OUTCOME_ENDED,
    Outcome.OUTCOME_OPEN,
)
_COLUMNS: Sequence[ColumnElement[Any]] = [
    _C.session,
    _C.video,
    _C.viewer,
    _C.first_time,
    _C.last_time,
    func.finalizeAggregation(_C.events),
    func.bitmapMax(_C.events),
    _OUTCOME,
    _C.started,
    _C.startup_ms,
    _C.watch_ms,
    _C.stall_ms,
    _C.stalls,
    _C.switches,
    _C.dropped_frames,
    _C.media_bytes,
    func.finalizeAggregation(_C.rendition),
    func.finalizeAggregation(_C.cdn),
    func.finalizeAggregation(_C.error_code),
    _C.country,
    _C.device,
    _C.operating_system,
    _C.browser,
    _C.player_version,
    _C.experiments,
]
"""Fields of Viewing, but for licenses. FINAL folds the rows of a session into one."""
_E = EVENTS.c
_EVENT_COLUMNS: Sequence[ColumnElement[Any]] = [
    _E.event_time,
    _E.received_time,
    _E.sequence,
    func.toString(_E.type),
    func.toString(_E.state),
    _E.position_ms,
    _E.watch_ms,
    _E.stall_ms,
    _E.rendition,
    _E.country,
    _E.device,
    _E.error_code,
]
"""Fields of Event."""


class Sessions:
    """Reads viewings."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def page(
        self,
        organization: str,
        span: Span,
        filters: Sequence[pb.Filter],
        outcome: Outcome.ValueType,
        after: str,
        size: int,
    ) -> tuple[Sequence[Viewing], str]:
        """Return up to `size` viewings that began in a span, latest first, and the id after which the next come.

        `after` is such an id; empty for the first page. Raises FilterInvalid, PageTokenInvalid, Unavailable.
        """
        if any(each.dimension in _MANY for each in filters):
            raise FilterInvalid("a viewing has many renditions and CDNs: filter metrics by them, not sessions")
        first, end = least_id(span.start * 1000), least_id(span.end * 1000)
        if after:
            end = _parsed(after)
        # First which ones, by a few narrow columns; then all of these alone.
        query = (
            select(_C.session)
            .where(_C.organization == organization, _C.session >= first, _C.session < end)
            .where(*(filtered(each, organization) for each in filters))
            .order_by(_C.session.desc())
            .limit(size + 1)
        )
        if outcome:
            query = query.where(_OUTCOME.in_([outcome]))
        ids = [_text(each[0]) for each in await self._reader.rows(latest(query))]
        if not ids:
            return [], ""
        found = await self._read(organization, ids[:size])
        return found, ids[size - 1] if len(ids) > size else ""

    async def get(self, name: SessionName) -> Viewing:
        """Return one viewing. Raises SessionUnknown, Unavailable."""
        found = await self._read(name.organization, [name.id])
        if not found:
            raise SessionUnknown(f"no event of {name} has arrived")
        return found[0]

    async def events(self, organization: str, viewing: Viewing) -> Sequence[Event]:
        """Return the events of a viewing in the order of their sequence, the first TOLD_EVENTS. Raises Unavailable."""
        first, last = (
            func.toDateTime(int(time.timestamp()), "UTC") for time in (viewing.first_time, viewing.last_time)
        )
        query: Select[Any] = (
            select(*_EVENT_COLUMNS)
            .where(
                _E.organization == organization,
                _E.minute >= func.toStartOfMinute(first),
                _E.minute <= last,
                _E.session == session_id(viewing.session),
            )
            .order_by(_E.sequence, _E.event_time)
            .limit(TOLD_EVENTS)
        )
        found = await self._reader.rows(latest_of_few(query))
        return [Event(_utc(time), _utc(received), *rest) for time, received, *rest in found]

    async def _read(self, organization: str, ids: Sequence[str]) -> Sequence[Viewing]:
        wanted: Select[Any] = (
            select(*_COLUMNS)
            .where(_C.organization == organization, _C.session.in_([session_id(each) for each in ids]))
            .order_by(_C.session.desc())
        )
        licenses = await self._licenses(organization, ids)
        return [_viewing(each, licenses) for each in await self._reader.rows(latest_of_few(wanted))]

    async def _licenses(self, organization: str, ids: Sequence[str]) -> Mapping[str, Licenses]:
        """Count the decisions about licenses of sessions."""
        decisions = LICENSES.c
        query = (
            select(decisions.session_id, func.countIf(decisions.granted), func.countIf(func.not_(decisions.granted)))
            .where(decisions.organization == organization, decisions.session_id.in_([session_id(each) for each in ids]))
            .group_by(decisions.session_id)
        )
        found = await self._reader.rows(latest_of_few(query))
        return {_text(session): Licenses(granted, refused) for session, granted, refused in found}


def _viewing(row: Sequence[Any], licenses: Mapping[str, Licenses]) -> Viewing:
    session, video, viewer, first, last, events, sequence, outcome, started, *rest = row
    id_ = _text(session)
    head = (id_, video, viewer, _utc(first), _utc(last), int(events), int(sequence), outcome, bool(started))
    make: Callable[..., Viewing] = Viewing  # as many as _COLUMNS are, which mypy cannot count
    return make(*head, *rest, licenses.get(id_, Licenses()))


def _parsed(after: str) -> ColumnElement[Any]:
    try:
        return session_id(after)
    except ValueError as error:
        raise PageTokenInvalid("page_token was not made by this list") from error


def _text(id_: bytes) -> str:
    return str(uuid.UUID(bytes=id_))


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
