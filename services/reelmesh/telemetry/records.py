"""Writes what Kafka is given. Events are passed on as they are, never rebuilt one by one."""

from __future__ import annotations

from reelmesh.telemetry.clients import client_of
from reelmesh.telemetry.countries import Countries, network_of
from reelmesh.telemetry.model import Sent
from reelmesh.telemetry.tokens import Viewing
from reelmesh.telemetry.v1.record_pb2 import TelemetryRecord
from reelmesh.telemetry.v1.telemetry_service_pb2 import CONSENT_GRANTED


class Records:
    """Writes TelemetryRecords."""

    def __init__(self, countries: Countries | None, weight: int) -> None:
        """`countries` looks up what playback does not know; `weight` is how many viewings one stands for."""
        self._countries = countries
        self._weight = weight

    def head(self, viewing: Viewing, sent: Sent, now_ms: int) -> bytes:
        """Return what is known of a batch: a TelemetryRecord but for its events.

        Two encoded messages one after another are their sum, so that the events are put behind it as they came.
        """
        request = sent.request
        client, known = request.client, client_of(sent.place.user_agent)
        network = network_of(sent.place.address)
        granted = request.consent == CONSENT_GRANTED
        head = TelemetryRecord(
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
        return head.SerializeToString()
