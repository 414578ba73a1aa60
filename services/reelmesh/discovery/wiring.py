"""Builds discovery from what is real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

from reelmesh.discovery.folders import Folders
from reelmesh.discovery.index import SCHEMA_VERSION, Index
from reelmesh.discovery.index_service import IndexService
from reelmesh.discovery.peers import AnalyticsAudience
from reelmesh.discovery.pool import Pool
from reelmesh.discovery.popularity import Follow
from reelmesh.discovery.projection import Turn
from reelmesh.discovery.rebuild import Indexes, Kind
from reelmesh.discovery.semantic import installed_model
from reelmesh.discovery.service import DiscoveryService
from reelmesh.discovery.v1.discovery_service_pb2_grpc import add_DiscoveryServiceServicer_to_server
from reelmesh.discovery.v1.index_service_pb2_grpc import add_IndexServiceServicer_to_server
from reelmesh.mesh.config import Config
from reelmesh.mesh.server import Service, Target
from reelmesh.stores.bundle import Stores
from reelmesh.stores.events import TITLES, TOMBSTONES, ensure_topics
from reelmesh.stores.whole import PlaceLost, follow


async def build(config: Config, stores: Stores) -> Target:
    """Raises Unavailable while Kafka does not answer."""
    await ensure_topics(stores.kafka, {TITLES: stores.kafka.partitions})
    settings = config.discovery
    model = await asyncio.to_thread(installed_model)

    def open_index(folder: Path, version: int) -> Index:
        return Index.open(folder, stores.clock, model)

    def source(place: str) -> AsyncGenerator[Turn, None]:
        return follow(stores.kafka, stores.process, TITLES, place)

    # Half of what a tombstone lives: time enough to read the topic before those go that were missed.
    kind = Kind(SCHEMA_VERSION, {SCHEMA_VERSION}, open_index, PlaceLost, TOMBSTONES / 2)
    # A folder for each process: replicas on one machine never meet in one.
    folders = Folders(settings.path / stores.process)
    indexes = Indexes(folders, kind, source, stores.clock, stores.ids)
    audience = AnalyticsAudience(stores.channel("analytics"))
    pool = Pool(settings.threads, settings.waiting)
    discovery = DiscoveryService(indexes, pool, config.playback.country_header)
    upkeep = IndexService(indexes, stores.process)
    return Target(
        name="discovery",
        services=[
            Service(
                "reelmesh.discovery.v1.DiscoveryService",
                lambda server: add_DiscoveryServiceServicer_to_server(discovery, server),
            ),
            Service(
                "reelmesh.discovery.v1.IndexService",
                lambda server: add_IndexServiceServicer_to_server(upkeep, server),
            ),
        ],
        background=[indexes, Follow(audience, stores.clock, settings.popularity_seconds, indexes.popular)],
        checks=[indexes.check],
        finish=[pool.close],
    )
