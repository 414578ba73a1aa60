"""Builds billing from what is real."""

from __future__ import annotations

from reelmesh.billing.entitlements import Entitlements
from reelmesh.billing.grants import Grants
from reelmesh.billing.model import Audience, Terms
from reelmesh.billing.policies import Policies
from reelmesh.billing.service import EntitlementService, PolicyService
from reelmesh.billing.store import CassandraDeviceStore, CassandraGrantStore, CassandraPolicyStore
from reelmesh.billing.v1.entitlement_service_pb2_grpc import add_EntitlementServiceServicer_to_server
from reelmesh.billing.v1.policy_service_pb2_grpc import add_PolicyServiceServicer_to_server
from reelmesh.mesh.config import Config
from reelmesh.mesh.server import Service, Target
from reelmesh.mesh.settings import SettingError
from reelmesh.stores.bundle import Stores
from reelmesh.stores.migrations import migrate


async def build(config: Config, stores: Stores) -> Target:
    """Raises Unavailable while a store does not answer, and SettingError."""
    cassandra = await stores.cassandra()
    await migrate(cassandra, "billing", config.cassandra.replication)
    policies = Policies(
        CassandraPolicyStore(cassandra), stores.clock, Terms(audience=_audience(config.billing.default_policy))
    )
    grant_store = CassandraGrantStore(cassandra)
    grants = Grants(grant_store, stores.clock, stores.ids)
    entitlements = Entitlements(policies, grant_store, CassandraDeviceStore(cassandra), stores.clock)
    return Target(
        name="billing",
        services=[
            Service(
                "reelmesh.billing.v1.PolicyService",
                lambda server: add_PolicyServiceServicer_to_server(PolicyService(policies), server),
            ),
            Service(
                "reelmesh.billing.v1.EntitlementService",
                lambda server: add_EntitlementServiceServicer_to_server(
                    EntitlementService(entitlements, grants), server
                ),
            ),
        ],
        checks=[cassandra.ping],
    )


def _audience(setting: str) -> Audience:
    try:
        return Audience[setting.upper()]
    except KeyError as error:
        known = ", ".join(audience.value.lower() for audience in Audience)
        raise SettingError(f"billing.default_policy: must be one of {known}, not {setting!r}") from error
