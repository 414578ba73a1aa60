"""Builds the catalog from what is real."""

from __future__ import annotations

from reelmesh.catalog.deletions import Deletions
from reelmesh.catalog.events import handler
from reelmesh.catalog.projection import Projection
from reelmesh.catalog.service import VideoService
from reelmesh.catalog.store import CassandraVideoStore
from reelmesh.catalog.v1.video_service_pb2_grpc import add_VideoServiceServicer_to_server
from reelmesh.catalog.videos import Videos
from reelmesh.mesh.config import Config
from reelmesh.mesh.server import Service, Target
from reelmesh.stores.bundle import Stores
from reelmesh.stores.events import MEDIA_EVENTS, Subscription, ensure_topics
from reelmesh.stores.migrations import migrate
from reelmesh.stores.outbox import Outbox


async def build(config: Config, stores: Stores) -> Target:
    """Raises Unavailable while a store does not answer."""
    cassandra = await stores.cassandra()
    await migrate(cassandra, "catalog", config.cassandra.replication)
    await ensure_topics(stores.kafka, {MEDIA_EVENTS: stores.kafka.partitions})
    publisher = stores.publisher()
    outbox = Outbox("catalog", cassandra, publisher, stores.clock)
    store = CassandraVideoStore(cassandra, outbox)
    videos = Videos(store, stores.clock, stores.ids)
    follow = handler(Projection(store, stores.clock))
    return Target(
        name="catalog",
        services=[
            Service(
                "reelmesh.catalog.v1.VideoService",
                lambda server: add_VideoServiceServicer_to_server(VideoService(videos), server),
            )
        ],
        background=[
            outbox,
            Subscription(stores.kafka, publisher, [MEDIA_EVENTS], "catalog", follow),
            Deletions(store, stores.clock),
        ],
        checks=[cassandra.ping],
    )
