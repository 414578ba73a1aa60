from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import stripe
from billing_fakes import ANN, NOW, VIDEO, CountingIds, ManualClock, MemoryPaymentStore

from reelmesh.billing.errors import (
    CardDeclined,
    CardUnknown,
    OrderNotRunning,
    OrderUnknown,
    PaymentsDisabled,
    VideoNeeded,
)
from reelmesh.billing.messages import price_from_proto, price_to_proto
from reelmesh.billing.model import GrantKind, GrantName, PriceName
from reelmesh.billing.orders import (
    BEGIN_WITHIN,
    Happened,
    Interval,
    Order,
    PaymentEvent,
    Price,
    PriceKind,
    Standing,
    State,
    standing,
)
from reelmesh.billing.payments import Payments
from reelmesh.billing.play_gateway import ACCEPTED, DECLINED, PlayGateway
from reelmesh.billing.stripe_gateway import StripeEvents, checkout_parameters, event_of
from reelmesh.mesh.clock import SystemClock, TimeOrderedIds
from reelmesh.mesh.errors import DomainError

DAY = timedelta(days=1)
GRACE = 3 * DAY
GOLD = Price(
    PriceName("acme", "gold"),
    "Gold",
    PriceKind.SUBSCRIPTION,
    "eur",
    999,
    "organizations/acme/plans/gold",
    Interval.MONTH,
    trial_days=7,
)
RENT = Price(PriceName("acme", "rent"), "Rent", PriceKind.RENTAL, "eur", 399, rental_period=2 * DAY)
BUY = Price(PriceName("acme", "buy"), "Buy", PriceKind.PURCHASE, "eur", 1299)
ID = "0198c0de-0000-7000-8000-0000000000aa"
SUBSCRIPTION = Order(ANN, ID, GOLD, None, NOW)
RENTAL, PURCHASE = Order(ANN, ID, RENT, VIDEO, NOW), Order(ANN, ID, BUY, VIDEO, NOW)


def told(happened: Happened, days: float = 0, until: float | None = None, *, ending: bool = False) -> PaymentEvent:
    end = None if until is None else NOW + until * DAY
    return PaymentEvent(f"evt_{happened.name}_{days}", NOW + days * DAY, ANN, ID, happened, end, ending)


TRIAL = told(Happened.CHANGED, 0, 7)
PAID = told(Happened.INVOICE_PAID, 7, 37)
FAILED = told(Happened.INVOICE_FAILED, 37)
PAID_LATE = told(Happened.INVOICE_PAID, 38, 67)
ENDING = told(Happened.CHANGED, 40, ending=True)
CANCELED = told(Happened.CANCELED, 67)


@pytest.mark.parametrize(
    ("order", "events", "expected"),
    [
        (SUBSCRIPTION, [], Standing(State.OPEN)),
        (SUBSCRIPTION, [FAILED], Standing(State.OPEN)),
        (SUBSCRIPTION, [TRIAL], Standing(State.TRIAL, NOW + 7 * DAY + GRACE)),
        (SUBSCRIPTION, [TRIAL, PAID], Standing(State.PAID, NOW + 37 * DAY + GRACE)),
        (SUBSCRIPTION, [TRIAL, PAID, FAILED], Standing(State.GRACE, NOW + 37 * DAY + GRACE)),
        (SUBSCRIPTION, [TRIAL, PAID, FAILED, PAID_LATE], Standing(State.PAID, NOW + 67 * DAY + GRACE)),
        (SUBSCRIPTION, [TRIAL, PAID, PAID_LATE, ENDING], Standing(State.ENDING, NOW + 67 * DAY)),
        (
            SUBSCRIPTION,
            [TRIAL, PAID, PAID_LATE, ENDING, told(Happened.CHANGED, 41)],
            Standing(State.PAID, NOW + 67 * DAY + GRACE),
        ),
        (SUBSCRIPTION, [TRIAL, PAID, told(Happened.CANCELED, 10)], Standing(State.ENDED, NOW + 10 * DAY)),
        (SUBSCRIPTION, [TRIAL, PAID, FAILED, told(Happened.CANCELED, 60)], Standing(State.ENDED, NOW + 40 * DAY)),
        (
            SUBSCRIPTION,
            [TRIAL, PAID, told(Happened.REFUNDED, 8)],
            Standing(State.REFUNDED, NOW + 8 * DAY, NOW + 8 * DAY),
        ),
        (PURCHASE, [], Standing(State.OPEN)),
        (PURCHASE, [told(Happened.PAID_ONCE)], Standing(State.PAID)),
        (
            PURCHASE,
            [told(Happened.PAID_ONCE), told(Happened.REFUNDED, 2)],
            Standing(State.REFUNDED, NOW + 2 * DAY, NOW + 2 * DAY),
        ),
        (RENTAL, [told(Happened.PAID_ONCE)], Standing(State.PAID, NOW + BEGIN_WITHIN)),
    ],
)
def test_where_an_order_stands(order: Order, events: list[PaymentEvent], expected: Standing) -> None:
    assert standing(order, events, GRACE) == expected


SIX = [TRIAL, PAID, FAILED, PAID_LATE, ENDING, CANCELED]


async def test_all_orders_of_six_events_end_in_the_same_state() -> None:
    chance = random.Random(7)  # noqa: S311 - the same deliveries in every run
    ends, tried = set(), 0
    for order in itertools.permutations(SIX):
        store = MemoryPaymentStore()
        await store.add_order(SUBSCRIPTION)
        payments = Payments(store, None, ManualClock(), CountingIds(), GRACE)
        # Each comes at least once, some again at once, some again much later.
        deliveries = [each for event in order for each in [event] * chance.choice((1, 1, 2))]
        deliveries += chance.sample(SIX, chance.randrange(4))
        for event in deliveries:
            await payments.apply(event)
        ends.add((store.grants[GrantName("acme", ANN, ID)][1], (await payments.order(ANN, ID))[1]))
        tried += 1
    assert tried == 720
    ((grant, stands),) = ends
    assert (grant.kind, grant.plan, grant.expire_time) == (GrantKind.SUBSCRIPTION, GOLD.plan, NOW + 67 * DAY)
    assert stands == Standing(State.ENDED, NOW + 67 * DAY)


async def test_who_has_seen_less_does_not_undo_what_one_who_has_seen_more_derived() -> None:
    class Slow(MemoryPaymentStore):
        """Answers the first reader late, with what it had read."""

        held: Any = None

        async def events(self, user: str, order: str) -> Any:
            found = await super().events(user, order)
            if self.held is None:
                self.held = True
                await payments.apply(told(Happened.REFUNDED, 2))
            return found

    store = Slow()
    payments = Payments(store, None, ManualClock(), CountingIds(), GRACE)
    await store.add_order(PURCHASE)
    await payments.apply(told(Happened.PAID_ONCE))
    assert store.grants[GrantName("acme", ANN, ID)][1].revoke_time == NOW + 2 * DAY


async def test_events_of_orders_that_are_not_ours_are_left() -> None:
    store = MemoryPaymentStore()
    await Payments(store, None, ManualClock(), CountingIds(), GRACE).apply(TRIAL)
    assert not store.grants


OURS = {"reelmesh_order": ID, "reelmesh_user": ANN}


def event(kind: str, **subject: Any) -> dict[str, Any]:
    return {"id": "evt_1", "type": kind, "created": int(NOW.timestamp()), "data": {"object": subject}}


LINES = {"data": [{"period": {"end": int((NOW + DAY).timestamp())}}]}


@pytest.mark.parametrize(
    ("given", "happened", "until", "ending"),
    [
        (event("checkout.session.completed", mode="payment", payment_status="paid", metadata=OURS), "PAID_ONCE", 0, 0),
        (event("checkout.session.completed", mode="payment", payment_status="unpaid", metadata=OURS), None, 0, 0),
        (event("checkout.session.completed", mode="subscription", payment_status="paid", metadata=OURS), None, 0, 0),
        (event("customer.subscription.updated", metadata=OURS, cancel_at_period_end=True), "CHANGED", 0, 1),
        (event("customer.subscription.deleted", metadata=OURS), "CANCELED", 0, 0),
        (event("invoice.paid", subscription_details={"metadata": OURS}, lines=LINES), "INVOICE_PAID", 1, 0),
        (
            event("invoice.paid", parent={"subscription_details": {"metadata": OURS}}, lines=LINES),
            "INVOICE_PAID",
            1,
            0,
        ),
        (event("invoice.payment_failed", subscription_details={"metadata": OURS}), "INVOICE_FAILED", 0, 0),
        (event("charge.refunded", metadata=OURS, refunded=True), "REFUNDED", 0, 0),
        (event("charge.refunded", metadata=OURS, refunded=False), None, 0, 0),
        (event("charge.refunded", metadata={}, refunded=True), None, 0, 0),
        (event("customer.created"), None, 0, 0),
    ],
)
def test_what_stripe_s_events_say(given: dict[str, Any], happened: str | None, until: int, ending: int) -> None:
    read = event_of(given)
    if happened is None:
        assert read is None
        return
    assert read == PaymentEvent("evt_1", NOW, ANN, ID, Happened[happened], NOW + DAY if until else None, bool(ending))


def signed(body: str, key: str = "s", age: float = 0) -> str:
    sign: Any = stripe.WebhookSignature.generate_signature_header
    return str(sign(body, key, int(time.time() - age)))


GOOD = json.dumps(event("customer.subscription.deleted", metadata=OURS))


@pytest.mark.parametrize(
    ("body", "sign", "reason"),
    [
        # Signed when the test runs: a signature is good for minutes only.
        (GOOD, lambda: signed(GOOD), ""),
        (GOOD, lambda: "", "SIGNATURE_MISSING"),
        (GOOD, lambda: "nonsense", "SIGNATURE_INVALID"),
        (GOOD, lambda: signed(GOOD, "other"), "SIGNATURE_INVALID"),
        (GOOD, lambda: signed(GOOD + " "), "SIGNATURE_INVALID"),
        (GOOD, lambda: signed(GOOD, age=3600), "SIGNATURE_OLD"),
        (GOOD, lambda: signed(GOOD, "other", age=3600), "SIGNATURE_INVALID"),
        ("[]", lambda: signed("[]"), "EVENT_MALFORMED"),
        ("{}", lambda: signed("{}"), "EVENT_MALFORMED"),
        ("{", lambda: signed("{"), "EVENT_MALFORMED"),
    ],
)
def test_webhooks_are_believed_when_they_are_signed(body: str, sign: Callable[[], str], reason: str) -> None:
    events = StripeEvents("s")
    if not reason:
        assert events.read(body.encode(), sign()) == event_of(json.loads(body))
        return
    with pytest.raises(DomainError) as caught:
        events.read(body.encode(), sign())
    assert caught.value.reason == reason


@pytest.mark.parametrize("price", [GOLD, RENT, BUY])
async def test_test_cards_take_the_way_of_real_ones(price: Price) -> None:
    store, clock = MemoryPaymentStore(), SystemClock()  # Stripe's library looks at the machine's clock
    play = PlayGateway(clock, "http://host/")
    payments = Payments(store, play, clock, CountingIds(), GRACE)
    await payments.add_price(price)
    video = None if price is GOLD else VIDEO
    order, uri = await payments.checkout(ANN, price.name, video, ID)
    assert uri == f"http://host/checkout/{order.id}"
    assert (await payments.checkout(ANN, price.name, video, ID))[0] == order
    assert (await payments.order(ANN, order.id))[1].state is State.OPEN
    with pytest.raises(CardDeclined):
        play.pay(order, DECLINED)
    with pytest.raises(CardUnknown):
        play.pay(order, "1" * 16)
    for _ in range(2):
        for body, signature in play.pay(order, ACCEPTED):
            await payments.receive(body, signature)
    ((_, grant),) = store.grants.values()
    assert (grant.kind.value, grant.plan, grant.video) == (price.kind.value, price.plan, video)
    assert (await payments.order(ANN, order.id))[1].state is (State.TRIAL if price is GOLD else State.PAID)


async def test_what_cannot_be_bought() -> None:
    store, clock = MemoryPaymentStore(), ManualClock()
    payments = Payments(store, PlayGateway(clock, ""), clock, CountingIds(), GRACE)
    for price, video in ((GOLD, VIDEO), (RENT, None)):
        await payments.add_price(price)
        with pytest.raises(VideoNeeded):
            await payments.checkout(ANN, price.name, video, "")
    with pytest.raises(PaymentsDisabled):
        await Payments(store, None, clock, CountingIds(), GRACE).checkout(ANN, GOLD.name, None, "")


@pytest.mark.parametrize(
    ("price", "mode", "extra"),
    [(GOLD, "subscription", "subscription_data"), (BUY, "payment", "payment_intent_data")],
)
def test_our_names_travel_on_everything_that_stripe_tells_of(price: Price, mode: str, extra: str) -> None:
    asked = checkout_parameters(Order(ANN, ID, price, None, NOW), "http://host")
    assert (asked["mode"], asked["metadata"], asked[extra]["metadata"]) == (mode, OURS, OURS)
    sold = asked["line_items"][0]["price_data"]
    assert (sold["currency"], sold["unit_amount"]) == (price.currency, price.amount)
    assert sold.get("recurring") == ({"interval": "month"} if price is GOLD else None)


@pytest.mark.parametrize("price", [GOLD, RENT, BUY])
def test_prices_cross_the_contract_unchanged(price: Price) -> None:
    assert price_from_proto(price_to_proto(price)) == price


async def test_a_subscription_is_let_end() -> None:
    store, clock = MemoryPaymentStore(), SystemClock()
    play = PlayGateway(clock, "http://host/")
    payments = Payments(store, play, clock, TimeOrderedIds(clock), GRACE)
    await payments.add_price(GOLD)
    await payments.add_price(BUY)
    subscription, _ = await payments.checkout(ANN, GOLD.name, None, "")
    bought, _ = await payments.checkout(ANN, BUY.name, VIDEO, "")
    with pytest.raises(OrderNotRunning):
        await payments.cancel(ANN, subscription.id)  # not paid yet
    for order in (subscription, bought):
        for webhook in play.pay(order, ACCEPTED):
            await payments.receive(*webhook)
    with pytest.raises(OrderNotRunning):
        await payments.cancel(ANN, bought.id)
    with pytest.raises(OrderUnknown):
        await payments.cancel("users/ben", subscription.id)
    for _ in range(2):
        _, stands = await payments.cancel(ANN, subscription.id)
        assert stands.state is State.ENDING
    grant = next(grant for _, grant in store.grants.values() if grant.plan)
    assert grant.expire_time == stands.expire_time, "what was paid for is kept until then"
    first, further = await payments.orders(ANN, 1, "")
    second, end = await payments.orders(ANN, 1, further)
    assert [order.id for order, _ in (*first, *second)] == sorted([subscription.id, bought.id], reverse=True)
    assert end == ""
    assert await payments.orders("users/ben", 10, "") == ([], "")
