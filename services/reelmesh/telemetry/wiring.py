"""Builds telemetry from what is real."""

from __future__ import annotations

from reelmesh.mesh.config import Config
from reelmesh.mesh.server import Service, Target
from reelmesh.stores.bundle import Stores
from reelmesh.stores.events import DELIVERIES, TELEMETRY, ensure_topics
from reelmesh.telemetry.v1.telemetry_service_pb2_grpc import (
    TelemetryServiceServicer,
    add_TelemetryServiceServicer_to_server,
)


async def build(config: Config, stores: Stores) -> Target:
    """Raises Unavailable while a store does not answer, and SettingError."""
    await ensure_topics(stores.kafka, dict.fromkeys([TELEMETRY, DELIVERIES], stores.kafka.partitions))
    return Target(
        name="telemetry",
        services=[
            Service(
                "reelmesh.telemetry.v1.TelemetryService",
                lambda server: add_TelemetryServiceServicer_to_server(TelemetryServiceServicer(), server),
            )
        ],
    )
