"""Billing's stores on a real Cassandra."""

from __future__ import annotations

import asyncio
import itertools
import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import pytest
import stripe

from reelmesh.billing.model import Audience, Grant, GrantKind, GrantName, Kind, PolicyName, PriceName, Terms
from reelmesh.billing.orders import Happened, Interval, Order, PaymentEvent, Price, PriceKind
from reelmesh.billing.payment_store import CassandraPaymentStore
from reelmesh.billing.payments import Payments
from reelmesh.billing.policies import Policies
from reelmesh.billing.store import CassandraDeviceStore, CassandraGrantStore, CassandraPolicyStore
from reelmesh.billing.stripe_gateway import StripeGateway
from reelmesh.billing.usage import Day, day_of
from reelmesh.billing.usage_store import CassandraUsageStore
from reelmesh.mesh.clock import SystemClock, TimeOrderedIds
from reelmesh.mesh.names import SessionName, VideoName
from reelmesh.stores.cassandra import Cassandra
from reelmesh.stores.migrations import migrate

pytestmark = pytest.mark.stack

CLOCK = SystemClock()
IDS = TimeOrderedIds(CLOCK)


@pytest.fixture
async def migrated(cassandra: Cassandra) -> Cassandra:
    await migrate(cassandra, "billing", {"class": "SimpleStrategy", "replication_factor": 1})
    return cassandra


@pytest.fixture
def organization() -> str:
    return f"test-{uuid.uuid4()}"


async def test_many_change_a_policy_and_every_change_is_a_version(migrated: Cassandra, organization: str) -> None:
    policies = Policies(CassandraPolicyStore(migrated), CLOCK, Terms())
    name = PolicyName(organization, "house")
    heights = [240, 480, 576, 720]
    made = await asyncio.gather(
        *(policies.set(name, Terms(Kind.FREE, Audience.ANYONE, max_height=height)) for height in heights)
    )
    assert sorted(policy.version for policy in made) == [1, 2, 3, 4]
    assert [await policies.get(name, policy.version) for policy in made] == made
    assert (await policies.get(name)).version == 4
    assert [policy.name for policy in (await policies.list(organization, 10, ""))[0]] == [name]
    video = VideoName(organization, IDS.new())
    assert str(await policies.of(video)) == "installation"
    await policies.assign(video, name)
    assert (await policies.of(video)).version == 4


async def test_a_grant_comes_back_as_it_was_and_what_happens_once_happens_once(
    migrated: Cassandra, organization: str
) -> None:
    store = CassandraGrantStore(migrated)
    user, now = f"users/{uuid.uuid4()}", CLOCK.now()
    video = VideoName(organization, IDS.new())
    grant = Grant(
        GrantName(organization, user, IDS.new()),
        GrantKind.RENTAL,
        now,
        video=video,
        expire_time=now + timedelta(days=30),
        rental_period=timedelta(days=2),
    )
    assert await store.load(grant.name) is None
    assert await store.add(grant) == grant
    assert await store.add(replace(grant, kind=GrantKind.GIFT)) == grant
    await asyncio.gather(*(store.begin(grant.name, now + timedelta(seconds=n)) for n in range(8)))
    begun = await store.load(grant.name)
    assert begun is not None
    assert begun.first_play_time is not None
    await store.begin(grant.name, now + timedelta(days=1))
    await store.revoke(grant.name, now)
    await store.revoke(grant.name, now + timedelta(days=1))
    assert await store.load(grant.name) == replace(begun, revoke_time=now)
    later = replace(grant, name=replace(grant.name, id=IDS.new()), kind=GrantKind.GIFT, video=None)
    await store.add(later)
    assert [each.name for each in await store.all(organization, user)] == [later.name, grant.name]


async def test_devices_are_remembered(migrated: Cassandra, organization: str) -> None:
    store = CassandraDeviceStore(migrated)
    for device in ("a", "b", "a"):
        await store.note(organization, "users/1", device)
    assert await store.used(organization, "users/1") == {"a", "b"}
    assert await store.used(organization, "users/2") == frozenset()


def _pairs(events: list[PaymentEvent]) -> list[list[PaymentEvent]]:
    return [events[first : first + 2] for first in range(0, len(events), 2)]


def price(organization: str) -> Price:
    plan = f"organizations/{organization}/plans/gold"
    return Price(PriceName(organization, "gold"), "Gold", PriceKind.SUBSCRIPTION, "eur", 999, plan, Interval.MONTH)


async def test_events_that_come_at_once_and_in_any_order_end_in_one_state(
    migrated: Cassandra, organization: str
) -> None:
    grants = CassandraGrantStore(migrated)
    payments = Payments(CassandraPaymentStore(migrated, grants), None, CLOCK, IDS, timedelta(days=3))
    store = CassandraPaymentStore(migrated, grants)
    user, day, start = f"users/{uuid.uuid4()}", timedelta(days=1), CLOCK.now()
    orders = [Order(user, IDS.new(), price(organization), None, start) for _ in range(12)]
    facts: list[tuple[Happened, int, int | None, bool]] = [
        (Happened.CHANGED, 0, 7, False),
        (Happened.INVOICE_PAID, 7, 37, False),
        (Happened.INVOICE_FAILED, 37, None, False),
        (Happened.INVOICE_PAID, 38, 67, False),
        (Happened.CHANGED, 40, None, True),
        (Happened.CANCELED, 67, None, False),
    ]
    permutations = list(itertools.permutations(facts))[:: 720 // len(orders)]

    async def deliver(order: Order, told: tuple[tuple[Happened, int, int | None, bool], ...]) -> None:
        await store.add_order(order)
        events = [
            PaymentEvent(
                f"evt_{happened.name}_{at}",
                start + at * day,
                user,
                order.id,
                happened,
                None if until is None else start + until * day,
                end,
            )
            for happened, at, until, end in told
        ]
        # In pairs at once, and each twice.
        for pair in (*_pairs(events), *_pairs(events[::-1])):
            await asyncio.gather(*map(payments.apply, pair))

    await asyncio.gather(*map(deliver, orders, permutations))
    ends = {(grant.expire_time, grant.revoke_time) for grant in await grants.all(organization, user)}
    assert ends == {(start + 67 * day, None)}
    assert len(await grants.all(organization, user)) == len(orders)
    assert {(await payments.order(user, order.id))[1].state.value for order in orders} == {"ENDED"}


async def test_prices_never_change(migrated: Cassandra, organization: str) -> None:
    store = CassandraPaymentStore(migrated, CassandraGrantStore(migrated))
    first = price(organization)
    assert await store.add_price(first) == first
    assert await store.add_price(replace(first, amount=1)) == first
    assert await store.price(first.name) == first
    assert list(await store.prices(organization, "", 10)) == [first]


@pytest.fixture
def api() -> Iterator[tuple[str, list[tuple[str, str, dict[str, Any]]]]]:
    """An API that answers as Stripe's does, and knows a subscription: its address, and what it was asked."""
    asked: list[tuple[str, str, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
            asked.append((self.path, self.headers["idempotency-key"], form))
            if self.path.startswith("/v1/subscriptions/"):
                self.answer({"id": "sub_1", "object": "subscription", "status": "active"})
            else:
                self.answer({"id": "cs_1", "object": "checkout.session", "url": "https://pay.example/cs_1"})

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            asked.append((path, "", parse_qs(query)))
            found = [{"id": "sub_1", "object": "subscription", "status": status} for status in ("active", "canceled")]
            self.answer({"object": "search_result", "data": found, "has_more": False})

        def answer(self, message: dict[str, Any]) -> None:
            body = json.dumps(message).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


# Stripe's library hands its body to httpx in a way that httpx would rather not see.
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
async def test_a_checkout_of_stripe(api: tuple[str, list[tuple[str, str, dict[str, Any]]]]) -> None:
    url, asked = api
    client = stripe.StripeClient("sk_test_1", base_addresses={"api": url}, http_client=stripe.HTTPXClient())
    gateway = StripeGateway(client, "s", "http://host")
    order = Order("users/1", IDS.new(), price("acme"), None, CLOCK.now())
    assert await gateway.checkout(order) == "https://pay.example/cs_1"
    ((path, key, form),) = asked
    assert (path, key) == ("/v1/checkout/sessions", order.id)
    assert form["subscription_data[metadata][reelmesh_order]"] == [order.id]
    assert form["line_items[0][price_data][recurring][interval]"] == ["month"]
    assert form["allow_promotion_codes"] == ["true"]


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
async def test_stripe_is_asked_to_end_a_subscription(api: tuple[str, list[tuple[str, str, dict[str, Any]]]]) -> None:
    url, asked = api
    client = stripe.StripeClient("sk_test_1", base_addresses={"api": url}, http_client=stripe.HTTPXClient())
    order = Order("users/1", IDS.new(), price("acme"), None, CLOCK.now())
    await StripeGateway(client, "s", "http://host").cancel(order)
    (search, update) = asked
    assert (search[0], search[2]) == (
        "/v1/subscriptions/search",
        {"query": [f"metadata['reelmesh_order']:'{order.id}'"]},
    )
    assert (update[0], update[2]) == ("/v1/subscriptions/sub_1", {"cancel_at_period_end": ["true"]})


async def test_orders_are_listed_newest_first(migrated: Cassandra, organization: str) -> None:
    store = CassandraPaymentStore(migrated, CassandraGrantStore(migrated))
    user = f"users/{IDS.new()}"
    ids = sorted(IDS.new() for _ in range(3))  # those of one millisecond have no order of their own
    orders = [Order(user, id_, price(organization), None, CLOCK.now()) for id_ in ids]
    for order in orders:
        await store.add_order(order)
    assert list(await store.orders(user, "", 2)) == [orders[2], orders[1]]
    assert list(await store.orders(user, orders[1].id, 2)) == [orders[0]]


async def test_usage_counts_each_fact_once(migrated: Cassandra, organization: str) -> None:
    store, day = CassandraUsageStore(migrated), day_of(CLOCK.now())
    video, hour, minute = VideoName(organization, IDS.new()), timedelta(hours=1), timedelta(minutes=1)
    job = f"organizations/{organization}/jobs/{IDS.new()}"
    await store.planned(video, job, hour)
    for _ in range(2):
        await store.encoded(video, job, day)
    session = SessionName(organization, IDS.new())
    for minutes in (1, 3, 2):
        await store.watched(session, day, minutes * minute)
    assert await store.days(organization, [day, day - timedelta(days=1)]) == {day: Day(day, hour, 3 * minute)}
    assert await store.stored(organization) == hour
    await store.gone(video)
    await store.encoded(video, job, day)
    assert await store.stored(organization) == timedelta()
