"""Writes what Kafka is given. Events are passed on as they are, never rebuilt one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.unknown_fields import UnknownFieldSet

from reelmesh.telemetry.clients import client_of
from reelmesh.telemetry.countries import Countries, network_of
from reelmesh.telemetry.model import Sent
from reelmesh.telemetry.tokens import Viewing
from reelmesh.telemetry.v1.record_pb2 import TelemetryRecord
from reelmesh.telemetry.v1.telemetry_service_pb2 import CONSENT_GRANTED, ReportRequest

_CONTEXT: Final = ("token", "session", "sent_time_ms", "consent", "client")
"""All fields of a ReportRequest but its events."""


class Records:
    """Writes TelemetryRecords."""

    def __init__(self, countries: Countries | None, weight: int) -> None:
        """`countries` looks up what playback does not know; `weight` is how many viewings one stands for."""
        self._countries = countries
        self._weight = weight

    def write(self, viewing: Viewing, sent: Sent, refused: Sequence[int], now_ms: int) -> bytes:
        """Return a batch without the events at `refused`, as a TelemetryRecord. The request is used up by it."""
        head = self._head(viewing, sent, now_ms).SerializeToString()
        request = sent.request
        for index in reversed(refused):
            del request.events[index]
        for field in _CONTEXT:
            request.ClearField(field)
        # Two encoded messages one after another are their sum, and events have the same number in both. What the
        # contract does not know is gone by now (`strip`): the record might know its number.
        return head + request.SerializeToString()

    def _head(self, viewing: Viewing, sent: Sent, now_ms: int) -> TelemetryRecord:
        request = sent.request
        client, known = request.client, client_of(sent.place.user_agent)
        network = network_of(sent.place.address)
        granted = request.consent == CONSENT_GRANTED
        return TelemetryRecord(
            received_time_ms=now_ms,
            sent_time_ms=request.sent_time_ms,
            organization=viewing.session.organization,
            video=viewing.video.id,
            session=viewing.id,
            viewer=viewing.viewer if granted else b"",
            network=network if granted else "",
            country=viewing.country or (self._countries.of(network) if self._countries else ""),
            device=client.device or known.device,
            operating_system=client.operating_system or known.operating_system,
            browser=client.browser or known.browser,
            player=client.player,
            player_version=client.player_version,
            experiments=viewing.experiments,
            weight=self._weight,
            source=sent.source,
        )


def strip(request: ReportRequest) -> ReportRequest:
    """Take from a request what the contract does not know, and return it.

    Events keep what a newer contract may say of them: a record gives it no other meaning.
    """
    if len(UnknownFieldSet(request)):
        request.DiscardUnknownFields()
    return request
