"""Builds analytics from what is real."""

from __future__ import annotations

import time
from dataclasses import dataclass

from google.protobuf.message import Message

from reelmesh.analytics.alert_reading import AlertReader
from reelmesh.analytics.alerts import Alerts
from reelmesh.analytics.announce import Announcements
from reelmesh.analytics.audience import Audience
from reelmesh.analytics.audience_service import AudienceService
from reelmesh.analytics.audit import Audit
from reelmesh.analytics.columns import STREAMS, Stream
from reelmesh.analytics.departures import Departures
from reelmesh.analytics.erasure import Erasure
from reelmesh.analytics.experiment_results import ResultsReader
from reelmesh.analytics.experiment_service import ExperimentService
from reelmesh.analytics.experiment_store import CassandraExperimentStore, KafkaExposureLog
from reelmesh.analytics.experiments import Assignments, Experiments, Running
from reelmesh.analytics.export import Export
from reelmesh.analytics.history import History
from reelmesh.analytics.live import Concurrents
from reelmesh.analytics.migrations import Placement, migrate
from reelmesh.analytics.popularity import Popularity
from reelmesh.analytics.popularity_store import CassandraPopularityStore
from reelmesh.analytics.reports import Reports
from reelmesh.analytics.retention import Retention
from reelmesh.analytics.rollups import Rollups
from reelmesh.analytics.service import AnalyticsService, Readers, Upkeep
from reelmesh.analytics.sessions import Sessions
from reelmesh.analytics.sink import EVENT_BYTES, Sink
from reelmesh.analytics.store import WarehouseInserter, burying
from reelmesh.analytics.tail import Tail
from reelmesh.analytics.v1.analytics_service_pb2_grpc import add_AnalyticsServiceServicer_to_server
from reelmesh.analytics.v1.audience_service_pb2_grpc import add_AudienceServiceServicer_to_server
from reelmesh.analytics.v1.experiment_pb2 import ExposureRecord
from reelmesh.analytics.v1.experiment_service_pb2_grpc import add_ExperimentServiceServicer_to_server
from reelmesh.drm.v1.license_decision_pb2 import LicenseDecision
from reelmesh.mesh.clock import IdSource, SystemClock
from reelmesh.mesh.config import AnalyticsConfig, Config, KafkaConfig
from reelmesh.mesh.pseudonyms import Pseudonyms
from reelmesh.mesh.server import Service, Target
from reelmesh.mesh.settings import SettingError
from reelmesh.stores.batches import Batches
from reelmesh.stores.bundle import Stores
from reelmesh.stores.events import (
    ALERTS,
    DECISIONS,
    DELIVERIES,
    EXPOSURES,
    IDENTITY_EVENTS,
    POPULARITY,
    TELEMETRY,
    Publisher,
    Subscription,
    arriving,
    ensure_topics,
)
from reelmesh.stores.migrations import migrate as migrate_keyspace
from reelmesh.stores.warehouse import Warehouse
from reelmesh.telemetry.v1.record_pb2 import DeliveryRecord, TelemetryRecord

TOPICS = (TELEMETRY, DELIVERIES, DECISIONS, EXPOSURES, ALERTS, POPULARITY, IDENTITY_EVENTS)
SOURCES: dict[str, tuple[Stream, type[Message]]] = {
    TELEMETRY: (STREAMS["events"], TelemetryRecord),
    DELIVERIES: (STREAMS["deliveries"], DeliveryRecord),
    DECISIONS: (STREAMS["licenses"], LicenseDecision),
    EXPOSURES: (STREAMS["exposures"], ExposureRecord),
}
"""What the sink takes in, by topic."""
EXPOSURE_BATCH = 1000
"""Exposures that are sent together, at most."""
EXPOSURE_BYTES = 16 << 20
"""Exposures that may wait for Kafka, in bytes; what comes then is in no experiment."""


async def build(config: Config, stores: Stores) -> Target:
    """Raises Unavailable while a store does not answer, and SettingError."""
    await ensure_topics(stores.kafka, dict.fromkeys(TOPICS, stores.kafka.partitions))
    settings = config.analytics
    cassandra = await stores.cassandra()
    await migrate_keyspace(cassandra, "analytics", config.cassandra.replication)
    warehouse = await Warehouse.open(settings.dsn, settings.path, settings.memory_mb << 20)
    await migrate(warehouse, placement(settings))
    filled = filling(settings, stores.kafka, stores.publisher(), warehouse, stores.ids)
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
    rollups, pseudonym = filled.rollups, pseudonyms(config).of
    erasure = Erasure(
        warehouse,
        stores.clock,
        stores.ids,
        pseudonym,
        settle=rollups.wait_until_fresh,
        recount=rollups.round,
        on_cluster=placement(settings).on_cluster,
    )
    audit = Audit(warehouse, stores.clock, rollups.wait_until_fresh, settings.events_days)
    service = AnalyticsService(readers, Upkeep(audit, erasure, rollups.fresh_time), stores.clock)
    trials = CassandraExperimentStore(cassandra)
    log = KafkaExposureLog(stores.publisher(EXPOSURE_BATCH, waiting_bytes=EXPOSURE_BYTES))
    assignments = Assignments(Running(trials, time.monotonic), log, pseudonym)
    experiments = ExperimentService(Experiments(trials, stores.clock), assignments, ResultsReader(warehouse))
    audience = AudienceService(Audience(warehouse), stores.clock)
    announcements = Announcements(stores.publisher())
    popularity = Popularity(
        warehouse,
        CassandraPopularityStore(cassandra),
        announcements.passed,
        stores.clock,
        settings.popularity_thresholds,
        turned=rollups.turned,
        leads=filled.leads,
    )
    alerts = Alerts(
        warehouse,
        AlertReader(warehouse, weight_of(config)),
        announcements,
        stores.clock,
        fresh=rollups.fresh_time,
        leads=filled.leads,
        seconds=settings.alert_seconds,
        days=settings.baseline_days,
    )
    return Target(
        name="analytics",
        services=[
            Service(
                "reelmesh.analytics.v1.AnalyticsService",
                lambda server: add_AnalyticsServiceServicer_to_server(service, server),
            ),
            Service(
                "reelmesh.analytics.v1.ExperimentService",
                lambda server: add_ExperimentServiceServicer_to_server(experiments, server),
            ),
            Service(
                "reelmesh.analytics.v1.AudienceService",
                lambda server: add_AudienceServiceServicer_to_server(audience, server),
            ),
        ],
        background=[
            filled.batches,
            rollups,
            erasure,
            popularity,
            alerts,
            Subscription(
                stores.kafka,
                stores.publisher(),
                [IDENTITY_EVENTS],
                "analytics-departures",
                Departures(erasure).handle,
            ),
        ],
        checks=[warehouse.ping, cassandra.ping],
        finish=[assignments.finish, warehouse.close],
    )


@dataclass(frozen=True, slots=True)
class Filling:
    """What fills the warehouse."""

    batches: Batches
    rollups: Rollups

    def leads(self) -> bool:
        """Say whether this process does what one process does for all."""
        return self.batches.owns(TELEMETRY, 0)


def filling(
    settings: AnalyticsConfig, kafka: KafkaConfig, publisher: Publisher, warehouse: Warehouse, ids: IdSource
) -> Filling:
    """Build what takes records from Kafka and counts them."""
    sink = Sink(WarehouseInserter(warehouse), SOURCES, burying(publisher), ids)
    limit = settings.batch_events * EVENT_BYTES
    seconds = settings.batch_seconds
    batches = Batches(kafka, publisher.client, list(SOURCES), "analytics-sink", sink.take, limit=limit, seconds=seconds)
    rollups = Rollups(
        warehouse,
        SystemClock(),
        arrived_ms=lambda: batches.fresh_ms(TELEMETRY),
        leads=lambda: batches.owns(TELEMETRY, 0),
        seconds=settings.rollup_seconds,
        events_days=settings.events_days,
    )
    return Filling(batches, rollups)


def placement(settings: AnalyticsConfig) -> Placement:
    """Raises SettingError for a name that is none."""
    try:
        return Placement(settings.cluster, settings.storage_policy, settings.cold_days, settings.events_days)
    except ValueError as error:
        raise SettingError(f"analytics: {error}") from error


def pseudonyms(config: Config) -> Pseudonyms:
    """Return what names viewers here as at the door of telemetry. Raises SettingError."""
    try:
        return Pseudonyms.load(config.telemetry.viewer_key)
    except (OSError, ValueError) as error:
        raise SettingError(f"telemetry.viewer_key: {error}") from error


def weight_of(config: Config) -> int:
    """Return how many viewings one that was kept stands for."""
    part = config.telemetry.sampling
    return max(1, round(1 / part)) if part > 0 else 1
