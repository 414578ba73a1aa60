"""Builds drm from what is real."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta

import httpx

from reelmesh.drm import wrapping
from reelmesh.drm.announce import Announcements
from reelmesh.drm.clearkey import ClearKey
from reelmesh.drm.decisions import BATCH, Audit, Decisions, Trail
from reelmesh.drm.deletions import Deletions
from reelmesh.drm.exchange import Exchange
from reelmesh.drm.fairplay import FairPlay
from reelmesh.drm.grants import Grants
from reelmesh.drm.keys import ContentKeys
from reelmesh.drm.licenses import Licenses
from reelmesh.drm.playready import PlayReady, Secrets
from reelmesh.drm.policy import Hdcp, Policy
from reelmesh.drm.service import CpixService, KeyService, LicenseDecisionService, LicenseService
from reelmesh.drm.store import CassandraDecisionStore, CassandraKeyStore
from reelmesh.drm.systems import KeySystem, System
from reelmesh.drm.upstream import HttpLicenseServer
from reelmesh.drm.v1.cpix_service_pb2_grpc import add_CpixServiceServicer_to_server
from reelmesh.drm.v1.key_service_pb2_grpc import add_KeyServiceServicer_to_server
from reelmesh.drm.v1.license_decision_service_pb2_grpc import add_LicenseDecisionServiceServicer_to_server
from reelmesh.drm.v1.license_service_pb2_grpc import add_LicenseServiceServicer_to_server
from reelmesh.drm.widevine import Provider, Widevine
from reelmesh.mesh.clock import Clock
from reelmesh.mesh.config import Config, DrmConfig
from reelmesh.mesh.keys import PublicKeys
from reelmesh.mesh.server import Service, Target
from reelmesh.stores.bundle import Stores
from reelmesh.stores.events import DECISIONS, MEDIA_EVENTS, Subscription, ensure_topics
from reelmesh.stores.migrations import migrate


async def build(config: Config, stores: Stores) -> Target:
    """Raises Unavailable while a store does not answer."""
    cassandra = await stores.cassandra()
    await migrate(cassandra, "drm", config.cassandra.replication)
    keys = ContentKeys(CassandraKeyStore(cassandra), _wrapper(config.drm), stores.clock, time.monotonic)
    grants = Grants(PublicKeys(config.drm.license_jwks), time.monotonic)
    await ensure_topics(stores.kafka, dict.fromkeys((DECISIONS, MEDIA_EVENTS), stores.kafka.partitions))
    decisions = CassandraDecisionStore(cassandra, timedelta(days=config.drm.decisions_days))
    announcements = Announcements(stores.publisher(BATCH))
    audit = Audit([Trail("Cassandra", decisions.add), Trail("Kafka", announcements.publish)])
    client = httpx.AsyncClient()
    systems = _systems(config.drm, client, stores.clock)
    licenses = Licenses(grants, keys, systems, audit, stores.clock, stores.ids)
    certificate = config.drm.fairplay.certificate.read_bytes() if config.drm.fairplay else b""
    return Target(
        name="drm",
        services=[
            Service(
                "reelmesh.drm.v1.KeyService",
                lambda server: add_KeyServiceServicer_to_server(KeyService(keys), server),
            ),
            Service(
                "reelmesh.drm.v1.LicenseService",
                lambda server: add_LicenseServiceServicer_to_server(LicenseService(licenses, certificate), server),
            ),
            Service(
                "reelmesh.drm.v1.CpixService",
                lambda server: add_CpixServiceServicer_to_server(CpixService(Exchange(keys)), server),
            ),
            Service(
                "reelmesh.drm.v1.LicenseDecisionService",
                lambda server: add_LicenseDecisionServiceServicer_to_server(
                    LicenseDecisionService(Decisions(decisions), stores.clock), server
                ),
            ),
        ],
        background=[
            audit,
            Subscription(stores.kafka, stores.publisher(), [MEDIA_EVENTS], "drm", Deletions(keys).handle),
        ],
        checks=[cassandra.ping],
        finish=[audit.finish, client.aclose],
    )


def _wrapper(config: DrmConfig) -> wrapping.LocalWrapper:
    name = config.wrapping_keys_variable
    return wrapping.LocalWrapper(wrapping.variable(name) if name else wrapping.folder(config.wrapping_keys))


def _systems(config: DrmConfig, client: httpx.AsyncClient, clock: Clock) -> Mapping[System, KeySystem]:
    """Return the key systems that are configured. Raises OSError, ValueError for a secret that is none."""
    policy = Policy({label: Hdcp(name) for label, name in config.hdcp.items()}, frozenset(config.hardware))
    systems: dict[System, KeySystem] = {}
    if config.clear_key:
        systems[System.CLEAR_KEY] = ClearKey()
    if (widevine := config.widevine) is not None:
        provider = Provider.load(widevine.provider, widevine.signing_key)
        systems[System.WIDEVINE] = Widevine(HttpLicenseServer(client, widevine.url), provider, policy)
    if (playready := config.playready) is not None:
        server = HttpLicenseServer(client, playready.url)
        secrets = Secrets.load(playready.secrets)
        systems[System.PLAYREADY] = PlayReady(server, playready.header, secrets, policy, clock)
    if (fairplay := config.fairplay) is not None:
        secret = fairplay.secret.read_text().strip()
        systems[System.FAIRPLAY] = FairPlay(HttpLicenseServer(client, fairplay.url), secret, policy)
    return systems
