"""Orders: what was bought. Where one stands follows from the set of its payment events, whatever order they came in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from reelmesh.billing.model import Grant, GrantKind, GrantName, PriceName
from reelmesh.mesh.names import VideoName

BEGIN_WITHIN = timedelta(days=30)
"""A rental has to be begun within this long."""


class PriceKind(Enum):
    """What is sold."""

    SUBSCRIPTION = "SUBSCRIPTION"
    RENTAL = "RENTAL"
    PURCHASE = "PURCHASE"


class Interval(Enum):
    """How often a subscription is paid; the values are Stripe's."""

    ONCE = ""
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Price:
    """Something that may be bought."""

    name: PriceName
    display_name: str
    kind: PriceKind
    currency: str
    """ISO 4217, in lower case."""
    amount: int
    """In the currency's smallest unit."""
    plan: str = ""
    interval: Interval = Interval.ONCE
    trial_days: int = 0
    rental_period: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """Something that a user bought, or is about to."""

    user: str
    """"users/{user}"."""
    id: str
    price: Price
    video: VideoName | None
    create_time: datetime


class Happened(Enum):
    """What a payment event says, in the order in which events of one moment count."""

    PAID_ONCE = 0
    CHANGED = 1
    INVOICE_FAILED = 2
    INVOICE_PAID = 3
    CANCELED = 4
    REFUNDED = 5


@dataclass(frozen=True, slots=True)
class PaymentEvent:
    """One fact about an order, as its provider tells it."""

    id: str
    time: datetime
    """When it happened, as the provider has it: not when it came."""
    user: str
    order: str
    happened: Happened
    until: datetime | None = None
    """Of INVOICE_PAID: the end of what was paid for; of CHANGED: the end of the trial."""
    ending: bool = False
    """Of CHANGED: the subscription ends when what was paid for is over."""


class State(Enum):
    """Where an order stands; the contract says what each means."""

    OPEN = "OPEN"
    TRIAL = "TRIAL"
    PAID = "PAID"
    GRACE = "GRACE"
    ENDING = "ENDING"
    ENDED = "ENDED"
    REFUNDED = "REFUNDED"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an order stands."""

    state: State
    expire_time: datetime | None = None
    """When what it opens closes; None for never, or where it opens nothing."""
    refund_time: datetime | None = None


def standing(order: Order, events: Iterable[PaymentEvent], grace: timedelta) -> Standing:
    """Return where an order stands after a set of events; their order and repetitions make no difference.

    `grace` is how long a subscription goes on when it should have been paid for again.
    """
    known = sorted({event.id: event for event in events}.values(), key=lambda e: (e.time, e.happened.value, e.id))
    refund = next((event.time for event in known if event.happened is Happened.REFUNDED), None)
    if refund is not None:
        return Standing(State.REFUNDED, refund, refund)
    if order.price.kind is PriceKind.SUBSCRIPTION:
        return _subscription(known, grace)
    paid = next((event.time for event in known if event.happened is Happened.PAID_ONCE), None)
    if paid is None:
        return Standing(State.OPEN)
    return Standing(State.PAID, paid + BEGIN_WITHIN if order.price.kind is PriceKind.RENTAL else None)


def _subscription(known: list[PaymentEvent], grace: timedelta) -> Standing:
    paid = [event.until for event in known if event.happened is Happened.INVOICE_PAID and event.until]
    trials = [event.until for event in known if event.happened is Happened.CHANGED and event.until]
    if not paid and not trials:
        return Standing(State.OPEN)
    until = max(paid + trials)
    canceled = next((event.time for event in known if event.happened is Happened.CANCELED), None)
    if canceled is not None:
        # Stripe ends a subscription at once or at the end of what was paid for; its event tells when it did.
        return Standing(State.ENDED, min(canceled, until + grace))
    changed = next((event for event in reversed(known) if event.happened is Happened.CHANGED), None)
    if changed is not None and changed.ending:
        return Standing(State.ENDING, until)
    payments = [e for e in known if e.happened in {Happened.INVOICE_PAID, Happened.INVOICE_FAILED}]
    if payments and payments[-1].happened is Happened.INVOICE_FAILED:
        return Standing(State.GRACE, until + grace)
    return Standing(State.PAID if paid else State.TRIAL, until + grace)


def grant_of(order: Order, stands: Standing) -> Grant | None:
    """Return what an order gives; None while it gives nothing."""
    if stands.state is State.OPEN:
        return None
    return Grant(
        GrantName(order.price.name.organization, order.user, order.id),
        GrantKind[order.price.kind.value],
        order.create_time,
        plan=order.price.plan,
        video=order.video,
        expire_time=stands.expire_time,
        rental_period=order.price.rental_period,
        revoke_time=stands.refund_time,
    )
