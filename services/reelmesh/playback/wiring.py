"""Builds playback from what is real."""

from __future__ import annotations

import time
from datetime import timedelta

from reelmesh.mesh.config import Config, PlaybackConfig
from reelmesh.mesh.keys import KeyRing
from reelmesh.mesh.server import Service, Target
from reelmesh.mesh.settings import SettingError
from reelmesh.playback.cdn import CloudFront, CommonAccessTokens, GatewayTokens, MediaSigner
from reelmesh.playback.deletions import Deletions
from reelmesh.playback.delivery import Delivery
from reelmesh.playback.endings import Endings
from reelmesh.playback.erasures import Erasures
from reelmesh.playback.index import Presentations
from reelmesh.playback.manifests import Manifests
from reelmesh.playback.model import Times
from reelmesh.playback.peers import (
    AnalyticsExperiments,
    BillingEntitlements,
    BillingMeter,
    CatalogVideos,
    TranscodeIndex,
)
from reelmesh.playback.progress import Watching
from reelmesh.playback.service import LICENSE_PATHS, ManifestService, PlaybackService, Told
from reelmesh.playback.sessions import Sessions
from reelmesh.playback.store import CassandraProgressStore, CassandraSessionStore, CassandraSlotStore
from reelmesh.playback.streams import Streams
from reelmesh.playback.tokens import Tokens
from reelmesh.playback.v1.manifest_service_pb2_grpc import add_ManifestServiceServicer_to_server
from reelmesh.playback.v1.playback_service_pb2_grpc import add_PlaybackServiceServicer_to_server
from reelmesh.stores.bundle import Stores
from reelmesh.stores.events import IDENTITY_EVENTS, MEDIA_EVENTS, Subscription, ensure_topics
from reelmesh.stores.migrations import migrate


async def build(config: Config, stores: Stores) -> Target:
    """Raises Unavailable while a store does not answer, and SettingError."""
    cassandra = await stores.cassandra()
    await migrate(cassandra, "playback", config.cassandra.replication)
    await ensure_topics(stores.kafka, dict.fromkeys([MEDIA_EVENTS, IDENTITY_EVENTS], stores.kafka.partitions))
    presentations = Presentations(TranscodeIndex(stores.channel("transcode")), time.monotonic)
    life = timedelta(minutes=config.playback.media_token_minutes)
    keys = KeyRing.load(config.playback.media_keys)
    tokens = Tokens(keys, _signer(config.playback, keys), stores.clock, life)
    session_store = CassandraSessionStore(cassandra)
    endings = Endings(session_store, time.monotonic)
    manifests = Manifests(presentations, tokens, endings, stores.clock, config.playback.media_url)
    watching = Watching(CassandraProgressStore(cassandra))
    deletions, erasures = Deletions(watching, presentations), Erasures(watching)
    times = _times(config.playback)
    lapse = times.keep + times.grace
    billing = stores.channel("billing")
    sessions = Sessions(
        session_store,
        watching,
        CatalogVideos(stores.channel("catalog")),
        BillingEntitlements(billing),
        AnalyticsExperiments(stores.channel("analytics")),
        Streams(CassandraSlotStore(cassandra, lapse), stores.clock, lapse),
        Delivery(session_store, BillingMeter(billing)),
        presentations,
        tokens,
        stores.clock,
        stores.ids,
        times,
        config.playback.places,
    )
    told = _told(config)
    return Target(
        name="playback",
        services=[
            Service(
                "reelmesh.playback.v1.PlaybackService",
                lambda server: add_PlaybackServiceServicer_to_server(PlaybackService(sessions, told), server),
            ),
            Service(
                "reelmesh.playback.v1.ManifestService",
                lambda server: add_ManifestServiceServicer_to_server(ManifestService(manifests), server),
            ),
        ],
        background=[
            Subscription(stores.kafka, stores.publisher(), [MEDIA_EVENTS], "playback", deletions.handle),
            Subscription(stores.kafka, stores.publisher(), [IDENTITY_EVENTS], "playback-erasures", erasures.handle),
        ],
        checks=[cassandra.ping],
    )


def _times(settings: PlaybackConfig) -> Times:
    return Times(
        session=timedelta(hours=settings.session_hours),
        keep=timedelta(seconds=settings.keep_seconds),
        grace=timedelta(seconds=settings.grace_seconds),
        license=timedelta(hours=settings.license_hours),
    )


def _told(config: Config) -> Told:
    settings = config.playback
    unknown = [system for system in settings.key_systems if system not in LICENSE_PATHS]
    if unknown:
        known = ", ".join(LICENSE_PATHS)
        raise SettingError(f"playback.key_systems: {unknown[0]!r} is not known; known are {known}")
    keep = timedelta(seconds=settings.keep_seconds)
    return Told(config.public_url, keep, settings.key_systems, settings.country_header)


def _signer(settings: PlaybackConfig, keys: KeyRing) -> MediaSigner:
    file, key_id, url = settings.media_signer_key, settings.media_signer_key_id, settings.media_url
    match settings.media_signer:
        case "gateway":
            return GatewayTokens(keys, url)
        case "cloudfront":
            return CloudFront.load(key_id, file, url)
        case "cat":
            return CommonAccessTokens.load(key_id, file, url)
    raise SettingError(f"playback.media_signer: {settings.media_signer!r} is none of gateway, cloudfront, cat")
