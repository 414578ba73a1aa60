"""Builds analytics from what is real."""

from __future__ import annotations

from reelmesh.analytics.export import Export
from reelmesh.analytics.history import History
from reelmesh.analytics.live import Concurrents
from reelmesh.analytics.reports import Reports
from reelmesh.analytics.retention import Retention
from reelmesh.analytics.service import AnalyticsService, Readers
from reelmesh.analytics.sessions import Sessions
from reelmesh.analytics.tail import Tail
from reelmesh.analytics.v1.analytics_service_pb2_grpc import add_AnalyticsServiceServicer_to_server
from reelmesh.analytics.v1.experiment_service_pb2_grpc import (
    ExperimentServiceServicer,
    add_ExperimentServiceServicer_to_server,
)
from reelmesh.mesh.config import Config
from reelmesh.mesh.server import Service, Target
from reelmesh.stores.bundle import Stores
from reelmesh.stores.events import (
    ALERTS,
    DECISIONS,
    DELIVERIES,
    EXPOSURES,
    POPULARITY,
    TELEMETRY,
    arriving,
    ensure_topics,
)
from reelmesh.stores.warehouse import Warehouse

TOPICS = (TELEMETRY, DELIVERIES, DECISIONS, EXPOSURES, ALERTS, POPULARITY)


async def build(config: Config, stores: Stores) -> Target:
    """Raises Unavailable while a store does not answer, and SettingError."""
    await ensure_topics(stores.kafka, dict.fromkeys(TOPICS, stores.kafka.partitions))
    warehouse = await Warehouse.open(config.analytics.dsn, config.analytics.path)
    reports = Reports(warehouse, stores.clock)
    readers = Readers(
        reports=reports,
        sessions=Sessions(warehouse),
        retention=Retention(warehouse),
        history=History(warehouse),
        export=Export(warehouse, reports),
        concurrents=Concurrents(warehouse, stores.clock),
        tail=Tail(lambda: arriving(stores.kafka, stores.process, TELEMETRY)),
    )
    service = AnalyticsService(readers, stores.clock)
    return Target(
        name="analytics",
        services=[
            Service(
                "reelmesh.analytics.v1.AnalyticsService",
                lambda server: add_AnalyticsServiceServicer_to_server(service, server),
            ),
            Service(
                "reelmesh.analytics.v1.ExperimentService",
                lambda server: add_ExperimentServiceServicer_to_server(ExperimentServiceServicer(), server),
            ),
        ],
        checks=[warehouse.ping],
        finish=[warehouse.close],
    )
