"""Selling: prices, checkouts, and what payment events make of orders."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from reelmesh.billing.errors import (
    OrderNotRunning,
    OrderUnknown,
    PaymentsDisabled,
    PriceContradictory,
    PriceExists,
    PriceUnknown,
    VideoNeeded,
)
from reelmesh.billing.model import Grant, PriceName
from reelmesh.billing.orders import (
    Interval,
    Order,
    PaymentEvent,
    Price,
    PriceKind,
    Standing,
    State,
    grant_of,
    standing,
)
from reelmesh.mesh.clock import Clock, IdSource, derived_id
from reelmesh.mesh.names import VideoName

RUNNING = frozenset({State.TRIAL, State.PAID, State.GRACE})
"""Where a subscription goes on by itself."""


class PaymentProvider(Protocol):
    """Who takes the money."""

    async def checkout(self, order: Order) -> str:
        """Return where to pay for an order; the same for the same one. Raises Unavailable."""

    async def cancel(self, order: Order) -> tuple[bytes, str] | None:
        """Let a subscription end when what was paid for is over. Raises Unavailable, OrderNotRunning.

        Return the webhook that says so, body and signature, where the provider sends none itself.
        """

    def read(self, body: bytes, signature: str) -> PaymentEvent | None:
        """Return what a webhook tells; None where it is of no interest.

        Raises SignatureMissing, SignatureInvalid, SignatureOld, EventMalformed.
        """


class PaymentStore(Protocol):
    """What payments need of a database; payment_store.py is the one on Cassandra. May raise Unavailable."""

    async def add_price(self, price: Price) -> Price:
        """Keep a price unless there is one of that name; return the one that is there."""

    async def price(self, name: PriceName) -> Price | None:
        """Return a price; None when there is none."""

    async def prices(self, organization: str, after: str, size: int) -> Sequence[Price]:
        """Return up to `size` prices of an organization, by id, after the id `after`."""

    async def add_order(self, order: Order) -> None:
        """Keep an order; the same one again changes nothing."""

    async def order(self, user: str, id_: str) -> Order | None:
        """Return an order; None when there is none."""

    async def orders(self, user: str, before: str, size: int) -> Sequence[Order]:
        """Return up to `size` orders of a user, newest first, older than the id `before` when it is not empty."""

    async def add_event(self, event: PaymentEvent) -> None:
        """Keep an event; the same one again changes nothing."""

    async def events(self, user: str, order: str) -> Sequence[PaymentEvent]:
        """Return all that is known of an order."""

    async def put_grant(self, grant: Grant, revision: int) -> None:
        """Put a grant in place of an earlier revision of it; a later one stays, and so does a first play."""


class Payments:
    """Sells for all organizations."""

    def __init__(
        self, store: PaymentStore, provider: PaymentProvider | None, clock: Clock, ids: IdSource, grace: timedelta
    ) -> None:
        """`grace` is how long a subscription goes on that was not paid for again."""
        self._store = store
        self._provider = provider
        self._clock = clock
        self._ids = ids
        self._grace = grace

    async def add_price(self, price: Price) -> Price:
        """Say what may be bought. Raises PriceContradictory, PriceExists."""
        _check(price)
        known = await self._store.add_price(price)
        if known != price:
            raise PriceExists("there is another price of that name: a price never changes")
        return known

    async def prices(self, organization: str, size: int, after: str) -> tuple[Sequence[Price], str]:
        """Return a page of prices, by id, and what asks for the next one; it is empty on the last."""
        found = await self._store.prices(organization, after, size + 1)
        return found[:size], found[size - 1].name.id if len(found) > size else ""

    async def checkout(self, user: str, name: PriceName, video: VideoName | None, request_id: str) -> tuple[Order, str]:
        """Begin to buy; return the order and where to pay. Raises PriceUnknown, VideoNeeded, PaymentsDisabled."""
        provider = self._required()
        price = await self._store.price(name)
        if price is None:
            raise PriceUnknown("there is no such price")
        if (price.kind is PriceKind.SUBSCRIPTION) == (video is not None) or (
            video is not None and video.organization != name.organization
        ):
            raise VideoNeeded("a rental or a purchase is for a video of the organization, a subscription for none")
        id_ = derived_id(request_id, f"order of {user} for {name}") if request_id else self._ids.new()
        order = await self._store.order(user, id_) or Order(user, id_, price, video, self._clock.now())
        await self._store.add_order(order)
        return order, await provider.checkout(order)

    async def order(self, user: str, id_: str) -> tuple[Order, Standing]:
        """Return an order and where it stands. Raises OrderUnknown."""
        order = await self._store.order(user, id_)
        if order is None:
            raise OrderUnknown("there is no such order")
        return order, standing(order, await self._store.events(user, id_), self._grace)

    async def orders(self, user: str, size: int, before: str) -> tuple[Sequence[tuple[Order, Standing]], str]:
        """Return a page of a user's orders, newest first, and what asks for the next one; it is empty on the last."""
        found = await self._store.orders(user, before, size + 1)
        page = [await self.order(user, order.id) for order in found[:size]]
        return page, found[size - 1].id if len(found) > size else ""

    async def cancel(self, user: str, id_: str) -> tuple[Order, Standing]:
        """Let a subscription end when what was paid for is over. Raises OrderUnknown, OrderNotRunning."""
        order, stands = await self.order(user, id_)
        if stands.state is State.ENDING:
            return order, stands
        if order.price.kind is not PriceKind.SUBSCRIPTION or stands.state not in RUNNING:
            raise OrderNotRunning("there is no subscription that goes on")
        webhook = await self._required().cancel(order)
        if webhook is not None:
            await self.receive(*webhook)
        return await self.order(user, id_)

    async def receive(self, body: bytes, signature: str) -> None:
        """Take a webhook. Raises as PaymentProvider.read does, PaymentsDisabled."""
        event = self._required().read(body, signature)
        if event is not None:
            await self.apply(event)

    async def apply(self, event: PaymentEvent) -> None:
        """Keep an event, and make the grant what all that is known makes it.

        The set of events only grows, so its size says which of two that derive at once has seen more.
        """
        await self._store.add_event(event)
        order = await self._store.order(event.user, event.order)
        if order is None:
            return  # not one of ours: another installation may share the provider's account
        events = await self._store.events(event.user, event.order)
        grant = grant_of(order, standing(order, events, self._grace))
        if grant is not None:
            await self._store.put_grant(grant, len(events))

    def _required(self) -> PaymentProvider:
        if self._provider is None:
            raise PaymentsDisabled("nothing is sold here")
        return self._provider


def _check(price: Price) -> None:
    subscription = price.kind is PriceKind.SUBSCRIPTION
    problems = [
        ("price.plan", "a subscription is to a plan of the organization", subscription != bool(price.plan)),
        (
            "price.plan",
            "belongs to another organization",
            bool(price.plan) and not price.plan.startswith(f"organizations/{price.name.organization}/"),
        ),
        ("price.interval", "a subscription has one", subscription != (price.interval is not Interval.ONCE)),
        ("price.trial_days", "only a subscription has a trial", not subscription and price.trial_days > 0),
        (
            "price.rental_period",
            "a rental has one",
            (price.kind is PriceKind.RENTAL) != bool(price.rental_period),
        ),
    ]
    found = [(field, problem) for field, problem, wrong in problems if wrong]
    if found:
        raise PriceContradictory(f"{found[0][0]}: {found[0][1]}", violations=found)
