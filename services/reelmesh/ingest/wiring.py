"""Builds ingest from what is real."""

from __future__ import annotations

from datetime import timedelta

from reelmesh.ingest.expiry import Expiry
from reelmesh.ingest.removal import Removal
from reelmesh.ingest.service import UploadService
from reelmesh.ingest.store import CassandraUploadStore, ManifestWriter
from reelmesh.ingest.uploads import Uploads
from reelmesh.ingest.v1.upload_service_pb2_grpc import add_UploadServiceServicer_to_server
from reelmesh.mesh.config import Config
from reelmesh.mesh.server import Service, Target
from reelmesh.stores.bundle import Stores
from reelmesh.stores.events import MEDIA_EVENTS, Subscription, ensure_topics
from reelmesh.stores.migrations import migrate
from reelmesh.stores.outbox import Outbox


async def build(config: Config, stores: Stores) -> Target:
    """Raises Unavailable while a store does not answer."""
    cassandra = await stores.cassandra()
    await migrate(cassandra, "ingest", config.cassandra.replication)
    await ensure_topics(config.kafka, {MEDIA_EVENTS: config.kafka.partitions})
    outbox = Outbox("ingest", cassandra, stores.publisher(), stores.clock)
    store = CassandraUploadStore(cassandra, outbox, stores.clock)
    raw = stores.raw()
    uploads = Uploads(
        store,
        raw,
        ManifestWriter(raw),
        stores.clock,
        stores.ids,
        max_bytes=config.ingest.max_bytes,
        idle=timedelta(days=config.ingest.idle_days),
        protected=config.ingest.protected,
    )
    every = timedelta(seconds=config.ingest.sweep_seconds)
    removal = Removal(uploads, store)
    deletions = Subscription(config.kafka, stores.publisher(), [MEDIA_EVENTS], "ingest", removal.handle)
    return Target(
        name="ingest",
        services=[
            Service(
                "reelmesh.ingest.v1.UploadService",
                lambda server: add_UploadServiceServicer_to_server(UploadService(uploads), server),
            )
        ],
        background=[outbox, Expiry(uploads, store, stores.clock, every), deletions],
        checks=[cassandra.ping],
    )
