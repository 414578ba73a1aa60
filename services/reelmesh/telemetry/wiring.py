"""Builds telemetry from what is real."""

from __future__ import annotations

from reelmesh.mesh.config import Config, TelemetryConfig
from reelmesh.mesh.keys import PublicKeys
from reelmesh.mesh.pseudonyms import Pseudonyms
from reelmesh.mesh.server import Service, Target
from reelmesh.mesh.settings import SettingError
from reelmesh.stores.bundle import Stores
from reelmesh.stores.events import DELIVERIES, TELEMETRY, ensure_topics
from reelmesh.telemetry.broker import BATCH, SECONDS, WAITING_BYTES, KafkaBroker
from reelmesh.telemetry.clients import client_of
from reelmesh.telemetry.countries import Countries
from reelmesh.telemetry.deliveries import Deliveries
from reelmesh.telemetry.door import Door
from reelmesh.telemetry.records import Records
from reelmesh.telemetry.reports import Reports
from reelmesh.telemetry.sampling import Sampling
from reelmesh.telemetry.service import TelemetryService, add
from reelmesh.telemetry.tokens import Tokens

MESSAGE_BYTES = 13 << 20
"""Largest message that is read, a little more than the gateway passes on; beyond the contract's limit it is refused by
the contract's reason."""


async def build(config: Config, stores: Stores) -> Target:
    """Raises Unavailable while a store does not answer, and SettingError."""
    await ensure_topics(stores.kafka, dict.fromkeys([TELEMETRY, DELIVERIES], stores.kafka.partitions))
    publisher = stores.publisher(BATCH, seconds=SECONDS, waiting_bytes=WAITING_BYTES)
    broker = KafkaBroker(publisher)
    pseudonyms, sampling = _pseudonyms(config.telemetry), _sampling(config.telemetry)
    tokens = Tokens(PublicKeys(config.telemetry.token_jwks), pseudonyms.of, stores.clock)
    countries = Countries() if config.telemetry.geoip else None
    deliveries = Deliveries(broker, countries, stores.clock, DELIVERIES)
    door = Door(tokens, sampling, Records(countries, sampling.weight), broker, stores.clock, TELEMETRY)
    service = TelemetryService(door, Reports(door, tokens, stores.clock), deliveries)
    client_of(" ")  # the patterns that user agents are read by take a second to load: not while a viewer waits
    # Healthy also without Kafka: a batch is then refused in a way that says when to try again; the gateway could not.
    return Target(
        name="telemetry",
        services=[
            Service(
                "reelmesh.telemetry.v1.TelemetryService",
                lambda server: add(service, server),
            )
        ],
        message_bytes=MESSAGE_BYTES,
    )


def _pseudonyms(settings: TelemetryConfig) -> Pseudonyms:
    try:
        return Pseudonyms.load(settings.viewer_key)
    except (OSError, ValueError) as error:
        raise SettingError(f"telemetry.viewer_key: {error}") from error


def _sampling(settings: TelemetryConfig) -> Sampling:
    try:
        return Sampling(settings.sampling)
    except ValueError as error:
        raise SettingError(f"telemetry.sampling: {error}") from error
