"""Builds drm from what is real."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta

from reelmesh.drm import wrapping
from reelmesh.drm.announce import Announcements
from reelmesh.drm.clearkey import ClearKey
from reelmesh.drm.decisions import Audit, Decisions, Trail
from reelmesh.drm.grants import Grants
from reelmesh.drm.keys import ContentKeys
from reelmesh.drm.licenses import Licenses
from reelmesh.drm.service import KeyService, LicenseDecisionService, LicenseService
from reelmesh.drm.store import CassandraDecisionStore, CassandraKeyStore
from reelmesh.drm.systems import KeySystem, System
from reelmesh.drm.v1.key_service_pb2_grpc import add_KeyServiceServicer_to_server
from reelmesh.drm.v1.license_decision_service_pb2_grpc import add_LicenseDecisionServiceServicer_to_server
from reelmesh.drm.v1.license_service_pb2_grpc import add_LicenseServiceServicer_to_server
from reelmesh.mesh.config import Config, DrmConfig
from reelmesh.mesh.keys import PublicKeys
from reelmesh.mesh.server import Service, Target
from reelmesh.stores.bundle import Stores
from reelmesh.stores.events import DECISIONS, ensure_topics
from reelmesh.stores.migrations import migrate


async def build(config: Config, stores: Stores) -> Target:
    """Raises Unavailable while a store does not answer."""
    cassandra = await stores.cassandra()
    await migrate(cassandra, "drm", config.cassandra.replication)
    keys = ContentKeys(CassandraKeyStore(cassandra), _wrapper(config.drm), stores.clock, time.monotonic)
    grants = Grants(PublicKeys(config.drm.license_jwks), time.monotonic)
    await ensure_topics(stores.kafka, {DECISIONS: stores.kafka.partitions})
    decisions = CassandraDecisionStore(cassandra, timedelta(days=config.drm.decisions_days))
    announcements = Announcements(stores.publisher())
    audit = Audit([Trail("Cassandra", decisions.add), Trail("Kafka", announcements.publish)])
    licenses = Licenses(grants, keys, _systems(config.drm), audit, stores.clock, stores.ids)
    return Target(
        name="drm",
        services=[
            Service(
                "reelmesh.drm.v1.KeyService",
                lambda server: add_KeyServiceServicer_to_server(KeyService(keys), server),
            ),
            Service(
                "reelmesh.drm.v1.LicenseService",
                lambda server: add_LicenseServiceServicer_to_server(LicenseService(licenses), server),
            ),
            Service(
                "reelmesh.drm.v1.LicenseDecisionService",
                lambda server: add_LicenseDecisionServiceServicer_to_server(
                    LicenseDecisionService(Decisions(decisions), stores.clock), server
                ),
            ),
        ],
        background=[audit],
        checks=[cassandra.ping],
        finish=[audit.finish],
    )


def _wrapper(config: DrmConfig) -> wrapping.LocalWrapper:
    name = config.wrapping_keys_variable
    return wrapping.LocalWrapper(wrapping.variable(name) if name else wrapping.folder(config.wrapping_keys))


def _systems(config: DrmConfig) -> Mapping[System, KeySystem]:
    return {System.CLEAR_KEY: ClearKey()} if config.clear_key else {}
