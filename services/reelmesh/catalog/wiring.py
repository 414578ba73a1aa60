"""Builds the catalog from what is real."""

from __future__ import annotations

from reelmesh.catalog.deletions import Deletions
from reelmesh.catalog.events import KafkaTitleEvents, handler
from reelmesh.catalog.library_service import LibraryService
from reelmesh.catalog.projection import Projection
from reelmesh.catalog.service import VideoService
from reelmesh.catalog.store import CassandraVideoStore
from reelmesh.catalog.title_announcing import AT_ONCE, Announcing
from reelmesh.catalog.title_service import TitleService
from reelmesh.catalog.title_store import CassandraTitleStore
from reelmesh.catalog.titles import Titles
from reelmesh.catalog.v1.library_service_pb2_grpc import add_LibraryServiceServicer_to_server
from reelmesh.catalog.v1.title_service_pb2_grpc import add_TitleServiceServicer_to_server
from reelmesh.catalog.v1.video_service_pb2_grpc import add_VideoServiceServicer_to_server
from reelmesh.catalog.videos import Videos
from reelmesh.mesh.config import Config
from reelmesh.mesh.names import VideoName
from reelmesh.mesh.server import Service, Target
from reelmesh.stores.bundle import Stores
from reelmesh.stores.events import MEDIA_EVENTS, TITLES, Subscription, ensure_topics
from reelmesh.stores.migrations import migrate
from reelmesh.stores.outbox import Outbox


async def build(config: Config, stores: Stores) -> Target:
    """Raises Unavailable while a store does not answer."""
    cassandra = await stores.cassandra()
    await migrate(cassandra, "catalog", config.cassandra.replication)
    await ensure_topics(stores.kafka, dict.fromkeys((MEDIA_EVENTS, TITLES), stores.kafka.partitions))
    publisher = stores.publisher()
    outbox = Outbox("catalog", cassandra, publisher, stores.clock)
    store = CassandraVideoStore(cassandra, outbox)
    videos = Videos(store, stores.clock, stores.ids)
    title_store = CassandraTitleStore(cassandra)
    announcing = Announcing(title_store, KafkaTitleEvents(stores.publisher(batch=AT_ONCE)), stores.clock, stores.ids)

    async def has_video(name: VideoName) -> bool:
        return await store.load(name) is not None

    titles = Titles(title_store, has_video, announcing, stores.clock, stores.ids)
    follow = handler(Projection(store, stores.clock), titles.lose)
    return Target(
        name="catalog",
        services=[
            Service(
                "reelmesh.catalog.v1.VideoService",
                lambda server: add_VideoServiceServicer_to_server(VideoService(videos), server),
            ),
            Service(
                "reelmesh.catalog.v1.TitleService",
                lambda server: add_TitleServiceServicer_to_server(TitleService(titles), server),
            ),
            Service(
                "reelmesh.catalog.v1.LibraryService",
                lambda server: add_LibraryServiceServicer_to_server(LibraryService(titles), server),
            ),
        ],
        background=[
            outbox,
            Subscription(stores.kafka, publisher, [MEDIA_EVENTS], "catalog", follow),
            Deletions(store, stores.clock),
            announcing,
        ],
        checks=[cassandra.ping],
    )
