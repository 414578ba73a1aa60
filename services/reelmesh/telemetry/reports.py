"""Takes posts of CMCD lines: one viewing at a time, and each line once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from reelmesh.mesh.clock import Clock
from reelmesh.mesh.lru import Lru
from reelmesh.telemetry.cmcd import Story, translate
from reelmesh.telemetry.door import Door
from reelmesh.telemetry.errors import BatchTooLarge
from reelmesh.telemetry.limits import MOST_BYTES, MOST_LINES
from reelmesh.telemetry.model import Outcome, Place, Sent, encoded
from reelmesh.telemetry.pairs import Unreadable
from reelmesh.telemetry.tokens import Tokens
from reelmesh.telemetry.v1.record_pb2 import TelemetryRecord
from reelmesh.telemetry.v1.telemetry_service_pb2 import Consent, ReportRequest
from reelmesh.telemetry.validation import Refused

REMEMBERED = 50_000
"""Viewings that one process remembers."""
RECENT = 512
"""Lines of a viewing that are known again when they are posted again."""


@dataclass(slots=True)
class _Viewing:
    story: Story = field(default_factory=Story)
    told: dict[bytes, None] = field(default_factory=dict)
    """Ids of events that are on the topic, oldest first."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Whose post is being taken: the next builds on it."""


class Reports:
    """Takes posts."""

    def __init__(self, door: Door, tokens: Tokens, clock: Clock) -> None:
        self._door = door
        self._tokens = tokens
        self._clock = clock
        self._viewings: Lru[bytes, _Viewing] = Lru(REMEMBERED, lambda _: 1)

    async def take(self, body: bytes, token: str, consent: Consent.ValueType, place: Place) -> Outcome:
        """Take a post of lines.

        Raises TokenInvalid, TokenExpired, BatchTooLarge, BrokerUnavailable; then no line counts as told.
        """
        session = self._tokens.read(token).id
        lines = _lines(body)
        known = self._viewings.get(session)
        if known is None:
            known = _Viewing()
            self._viewings.put(session, known)
        async with known.turn:
            story = replace(known.story, runs=dict(known.story.runs))
            request = ReportRequest(token=token, consent=consent)
            refused, positions, again = self._translate(lines, session, story, known.told, request)
            told = [event.event_id for event in request.events]
            sent = Sent(encoded(request), TelemetryRecord.SOURCE_CMCD, place, refused, positions)
            outcome = await self._door.report(sent)
            known.story = story
            for id_ in told:
                known.told[id_] = None
            while len(known.told) > RECENT:
                known.told.pop(next(iter(known.told)))
        return replace(outcome, accepted=outcome.accepted + again)

    def _translate(
        self, lines: Sequence[str], session: bytes, story: Story, told: dict[bytes, None], request: ReportRequest
    ) -> tuple[list[Refused], list[int], int]:
        """Put the events of lines into a request.

        Return what is refused, the line of each event, and how many lines come again.
        """
        now_ms = int(self._clock.now().timestamp() * 1000)
        refused: list[Refused] = []
        positions: list[int] = []
        mine: set[bytes] = set()
        again = 0
        for index, line in enumerate(lines):
            ahead = replace(story, runs=dict(story.runs))
            try:
                events = translate(line, session, ahead, now_ms)
            except Unreadable as error:
                refused.append(Refused(index, error.reason, error.key))
                continue
            id_ = events[-1].event_id
            if id_ in told or id_ in mine:
                again += 1
                continue
            mine.add(id_)
            for name in Story.__slots__:
                setattr(story, name, getattr(ahead, name))
            request.events.extend(events)
            positions += [index] * len(events)
        return refused, positions, again


def _lines(body: bytes) -> list[str]:
    """Return the lines of a post without empty ones at its end. Raises BatchTooLarge."""
    if len(body) > MOST_BYTES:
        raise BatchTooLarge("send fewer lines at once", most_bytes=MOST_BYTES)
    lines = body.decode(errors="replace").rstrip("\r\n").split("\n")
    if len(lines) > MOST_LINES:
        raise BatchTooLarge("send fewer lines at once", most_lines=MOST_LINES)
    return [line.rstrip("\r") for line in lines] if lines != [""] else []
