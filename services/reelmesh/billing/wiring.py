"""Builds billing from what is real."""

from __future__ import annotations

from datetime import timedelta

import stripe

from reelmesh.billing.checkout_service import CheckoutService, WebhookService
from reelmesh.billing.entitlements import Entitlements
from reelmesh.billing.grants import Grants
from reelmesh.billing.model import Audience, Terms
from reelmesh.billing.payment_store import CassandraPaymentStore
from reelmesh.billing.payments import Payments
from reelmesh.billing.play_gateway import PlayGateway
from reelmesh.billing.policies import Policies
from reelmesh.billing.service import EntitlementService, PolicyService
from reelmesh.billing.store import CassandraDeviceStore, CassandraGrantStore, CassandraPolicyStore
from reelmesh.billing.stripe_gateway import StripeGateway
from reelmesh.billing.usage import Usage
from reelmesh.billing.usage_service import UsageService
from reelmesh.billing.usage_store import CassandraUsageStore
from reelmesh.billing.v1.checkout_service_pb2_grpc import add_CheckoutServiceServicer_to_server
from reelmesh.billing.v1.entitlement_service_pb2_grpc import add_EntitlementServiceServicer_to_server
from reelmesh.billing.v1.policy_service_pb2_grpc import add_PolicyServiceServicer_to_server
from reelmesh.billing.v1.usage_service_pb2_grpc import add_UsageServiceServicer_to_server
from reelmesh.billing.v1.webhook_service_pb2_grpc import add_WebhookServiceServicer_to_server
from reelmesh.mesh.clock import Clock
from reelmesh.mesh.config import Config
from reelmesh.mesh.server import Service, Target
from reelmesh.mesh.settings import SettingError
from reelmesh.stores.bundle import Stores
from reelmesh.stores.events import MEDIA_EVENTS, Handler, PoisonRecord, Record, Subscription, ensure_topics, media_event
from reelmesh.stores.migrations import migrate


async def build(config: Config, stores: Stores) -> Target:
    """Raises Unavailable while a store does not answer, and SettingError."""
    cassandra = await stores.cassandra()
    await migrate(cassandra, "billing", config.cassandra.replication)
    await ensure_topics(stores.kafka, {MEDIA_EVENTS: stores.kafka.partitions})
    usage = Usage(CassandraUsageStore(cassandra), stores.clock)
    policies = Policies(
        CassandraPolicyStore(cassandra), stores.clock, Terms(audience=_audience(config.billing.default_policy))
    )
    grant_store = CassandraGrantStore(cassandra)
    grants = Grants(grant_store, stores.clock, stores.ids)
    entitlements = Entitlements(policies, grant_store, CassandraDeviceStore(cassandra), stores.clock)
    provider = _provider(config, stores.clock)
    payments = Payments(
        CassandraPaymentStore(cassandra, grant_store),
        provider,
        stores.clock,
        stores.ids,
        timedelta(days=config.billing.grace_days),
    )
    checkout = CheckoutService(payments, provider if isinstance(provider, PlayGateway) else None)
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
            Service(
                "reelmesh.billing.v1.CheckoutService",
                lambda server: add_CheckoutServiceServicer_to_server(checkout, server),
            ),
            Service(
                "reelmesh.billing.v1.WebhookService",
                lambda server: add_WebhookServiceServicer_to_server(WebhookService(payments), server),
            ),
            Service(
                "reelmesh.billing.v1.UsageService",
                lambda server: add_UsageServiceServicer_to_server(UsageService(usage), server),
            ),
        ],
        background=[Subscription(stores.kafka, stores.publisher(), [MEDIA_EVENTS], "billing", _follow(usage))],
        checks=[cassandra.ping],
    )


def _follow(usage: Usage) -> Handler:
    async def handle(record: Record) -> None:
        try:
            await usage.apply(media_event(record))
        except ValueError as error:
            raise PoisonRecord("EVENT_MALFORMED", f"not an event of a video: {error}") from error

    return handle


def _audience(setting: str) -> Audience:
    try:
        return Audience[setting.upper()]
    except KeyError as error:
        known = ", ".join(audience.value.lower() for audience in Audience)
        raise SettingError(f"billing.default_policy: must be one of {known}, not {setting!r}") from error


def _provider(config: Config, clock: Clock) -> StripeGateway | PlayGateway | None:
    settings = config.billing
    match settings.provider:
        case "":
            return None
        case "test":
            return PlayGateway(clock, config.public_url)
        case "stripe":
            key, secret = (file.read_text().strip() for file in (settings.stripe_key, settings.stripe_webhook_secret))
            client = stripe.StripeClient(
                key,
                base_addresses={"api": settings.stripe_url},
                http_client=stripe.HTTPXClient(),
                max_network_retries=2,
            )
            return StripeGateway(client, secret, config.public_url)
    raise SettingError(f"billing.provider: must be stripe, test or empty, not {settings.provider!r}")
