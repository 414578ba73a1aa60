"""Builds identity from what is real."""

from __future__ import annotations

from datetime import timedelta

from reelmesh.identity.accounts import Accounts
from reelmesh.identity.bootstrap import Bootstrap
from reelmesh.identity.mail import mailer
from reelmesh.identity.organization_store import CassandraOrganizationStore
from reelmesh.identity.organizations import Organizations
from reelmesh.identity.passwords import Passwords
from reelmesh.identity.service import AccountService, BootstrapService, OrganizationService
from reelmesh.identity.signing import SignIns
from reelmesh.identity.store import CassandraUserStore
from reelmesh.identity.throttle import Throttle
from reelmesh.identity.tokens import TokenMaker
from reelmesh.identity.totp import Totp
from reelmesh.identity.v1.account_service_pb2_grpc import add_AccountServiceServicer_to_server
from reelmesh.identity.v1.bootstrap_service_pb2_grpc import add_BootstrapServiceServicer_to_server
from reelmesh.identity.v1.organization_service_pb2_grpc import add_OrganizationServiceServicer_to_server
from reelmesh.mesh.config import Config
from reelmesh.mesh.keys import KeyRing
from reelmesh.mesh.server import Service, Target
from reelmesh.stores.bundle import Stores
from reelmesh.stores.events import IDENTITY_EVENTS, ensure_topics
from reelmesh.stores.migrations import migrate
from reelmesh.stores.outbox import Outbox


async def build(config: Config, stores: Stores) -> Target:
    """Raises Unavailable while a store does not answer."""
    settings = config.identity
    cassandra = await stores.cassandra()
    await migrate(cassandra, "identity", config.cassandra.replication)
    await ensure_topics(stores.kafka, {IDENTITY_EVENTS: stores.kafka.partitions})
    outbox = Outbox("identity", cassandra, stores.publisher(), stores.clock)
    store = CassandraUserStore(cassandra, outbox, stores.clock)
    passwords, throttle = Passwords(), Throttle(store, stores.clock)
    tokens = TokenMaker(KeyRing.load(settings.keys), stores.clock, timedelta(minutes=settings.access_token_minutes))
    totp = Totp(store, stores.clock, settings.seal_keys.read_text().split())
    sign_ins = SignIns(
        store, passwords, totp, throttle, tokens, stores.clock, stores.ids, timedelta(days=settings.device_days)
    )
    organizations = Organizations(CassandraOrganizationStore(cassandra), tokens, stores.clock, stores.ids)
    accounts = Accounts(
        store,
        organizations,
        sign_ins,
        passwords,
        throttle,
        mailer(settings.mail_url, settings.mail_sender),
        stores.clock,
        stores.ids,
        config.public_url,
    )
    return Target(
        name="identity",
        services=[
            Service(
                "reelmesh.identity.v1.AccountService",
                lambda server: add_AccountServiceServicer_to_server(
                    AccountService(accounts, sign_ins, totp, organizations, tokens), server
                ),
            ),
            Service(
                "reelmesh.identity.v1.OrganizationService",
                lambda server: add_OrganizationServiceServicer_to_server(
                    OrganizationService(organizations, accounts), server
                ),
            ),
            Service(
                "reelmesh.identity.v1.BootstrapService",
                lambda server: add_BootstrapServiceServicer_to_server(
                    BootstrapService(Bootstrap(accounts, organizations)), server
                ),
            ),
        ],
        background=[outbox],
        checks=[cassandra.ping],
    )
