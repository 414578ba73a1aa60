"""Builds what chooses for viewers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from opentelemetry import metrics
from threadpoolctl import threadpool_limits

from reelmesh.mesh.config import Config
from reelmesh.mesh.pseudonyms import Pseudonyms
from reelmesh.mesh.server import Background, Service
from reelmesh.recommend.erasures import Erasures
from reelmesh.recommend.following import Following
from reelmesh.recommend.home import Home
from reelmesh.recommend.library import Library
from reelmesh.recommend.lists import Lists
from reelmesh.recommend.personalization import Personalization
from reelmesh.recommend.personalization_store import CassandraOptOutStore
from reelmesh.recommend.recommendation_service import RecommendationService
from reelmesh.recommend.serving import Models, Ready
from reelmesh.recommend.similar import Similar
from reelmesh.recommend.stockroom import Stockroom
from reelmesh.recommend.v1.recommendation_service_pb2_grpc import add_RecommendationServiceServicer_to_server
from reelmesh.recommend.viewer_peers import AnalyticsTrials, DiscoveryTitles, PlaybackHistories
from reelmesh.stores.bundle import Stores
from reelmesh.stores.cassandra import Cassandra
from reelmesh.stores.events import IDENTITY_EVENTS, TITLES, Subscription
from reelmesh.stores.whole import PlaceLost, follow


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known of titles and of viewers' choices."""

    library: Library
    news: asyncio.Event
    """Set when the library changes."""
    following: Following
    personalization: Personalization


@dataclass(frozen=True, slots=True)
class Choosing:
    """What chooses for viewers."""

    service: Service
    background: Sequence[Background]


def knowledge(stores: Stores, cassandra: Cassandra, pseudonyms: Pseudonyms) -> Knowledge:
    """Build what training and choosing both need."""
    library, news = Library(), asyncio.Event()
    following = Following(library, partial(follow, stores.kafka, stores.process, TITLES), news.set, PlaceLost)
    return Knowledge(library, news, following, Personalization(CassandraOptOutStore(cassandra), pseudonyms.of))


def choosing(config: Config, stores: Stores, known: Knowledge, models: Models) -> Choosing:
    """Build what chooses, by models that others made."""
    stockroom = Stockroom(known.library, known.news, Ready(models), time.monotonic)
    titles = DiscoveryTitles(stores.channel("discovery"))
    # A page's algebra is small: more threads would wait for each other, and turn while they do.
    threadpool_limits(limits=1, user_api="blas")
    away = metrics.get_meter("reelmesh.recommend").create_counter(
        "reelmesh.recommend.parts.away", description="Parts of home pages that did not answer in time"
    )
    home = Home(
        known.library,
        stockroom,
        PlaybackHistories(stores.channel("playback")),
        Lists(titles, time.monotonic),
        AnalyticsTrials(stores.channel("analytics"), stores.ids),
        known.personalization,
        stores.clock,
        lambda part: away.add(1, {"part": part}),
    )
    service = RecommendationService(
        home, Similar(known.library, stockroom, titles), known.personalization, config.playback.country_header
    )
    erasures = Erasures(known.personalization)
    return Choosing(
        service=Service(
            "reelmesh.recommend.v1.RecommendationService",
            lambda server: add_RecommendationServiceServicer_to_server(service, server),
        ),
        background=[
            stockroom,
            Subscription(stores.kafka, stores.publisher(), [IDENTITY_EVENTS], "recommend-erasures", erasures.handle),
        ],
    )
