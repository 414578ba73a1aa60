"""The door: takes a batch of one viewing, judges its events, and has those that it takes on Kafka before it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from reelmesh.mesh.clock import Clock
from reelmesh.telemetry.errors import BatchTooLarge, SessionForeign
from reelmesh.telemetry.gaps import Gaps
from reelmesh.telemetry.limits import MOST_BYTES, MOST_EVENTS
from reelmesh.telemetry.model import Outcome, Sent
from reelmesh.telemetry.records import Records
from reelmesh.telemetry.sampling import Sampling
from reelmesh.telemetry.tokens import Tokens
from reelmesh.telemetry.v1.telemetry_service_pb2 import CONSENT_DENIED
from reelmesh.telemetry.validation import Refused, judge
from reelmesh.telemetry.wire import Events


class Broker(Protocol):
    """What the door needs of Kafka; broker.py is the one."""

    async def confirm(self, topic: str, key: str, *values: bytes) -> None:
        """Return when all records are on the topic. Raises BrokerUnavailable."""


class Door:
    """Takes batches."""

    def __init__(
        self, tokens: Tokens, sampling: Sampling, records: Records, broker: Broker, clock: Clock, topic: str
    ) -> None:
        self._tokens = tokens
        self._sampling = sampling
        self._records = records
        self._broker = broker
        self._clock = clock
        self._topic = topic
        self._gaps = Gaps()

    async def report(self, sent: Sent) -> Outcome:
        """Take a batch.

        Raises TokenInvalid, TokenExpired, SessionForeign, BatchTooLarge, BrokerUnavailable.
        """
        request = sent.request
        if len(request.events) > MOST_EVENTS:
            raise _too_large()
        viewing = self._tokens.read(request.token)
        if request.session and request.session != str(viewing.session):
            raise SessionForeign("the token is of another viewing")
        now_ms = int(self._clock.now().timestamp() * 1000)
        sampled = self._sampling.keeps(viewing.id)
        count = len(request.events)
        if not sampled or request.consent == CONSENT_DENIED:
            return Outcome(count, sent.refused, (), now_ms, sampled)
        sent_ms, head = request.sent_time_ms, self._records.head(viewing, sent, now_ms)
        events = Events(request)
        if len(head) + len(events.data) > MOST_BYTES:
            raise _too_large()
        verdict = judge(events, now_ms, sent_ms)
        if verdict.sequences:
            taken = events.without(each.index for each in verdict.refused)
            await self._broker.confirm(self._topic, viewing.session.id, head + taken)
        refused = _merged(sent, verdict.refused)
        gaps = self._gaps.note(viewing.id, verdict.sequences)
        return Outcome(len(verdict.sequences), refused, gaps, now_ms, sampled)


def _too_large() -> BatchTooLarge:
    return BatchTooLarge("send fewer events at once", most_events=MOST_EVENTS, most_bytes=MOST_BYTES)


def _merged(sent: Sent, refused: Sequence[Refused]) -> Sequence[Refused]:
    """Return all that is refused of a batch by where it stood in what was sent."""
    if sent.positions is not None:
        refused = [replace(each, index=sent.positions[each.index]) for each in refused]
    return sorted((*sent.refused, *refused), key=lambda each: each.index) if sent.refused else refused
