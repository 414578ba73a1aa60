"""Payments that are none: a provider for a machine without a network. No money moves, and it says so."""

from __future__ import annotations

import json
import secrets
from datetime import datetime, timedelta
from typing import Any

import stripe

from reelmesh.billing.errors import CardDeclined, CardUnknown
from reelmesh.billing.orders import Interval, Order
from reelmesh.billing.stripe_gateway import StripeEvents, checkout_parameters
from reelmesh.mesh.clock import Clock

ACCEPTED = "4242424242424242"
DECLINED = "4000000000000002"

_LENGTHS = {Interval.MONTH: timedelta(days=30), Interval.YEAR: timedelta(days=365)}


class PlayGateway(StripeEvents):
    """A PaymentProvider whose events are shaped and signed like Stripe's, and take the same way in."""

    def __init__(self, clock: Clock, public_url: str) -> None:
        self._key = secrets.token_hex()
        super().__init__(self._key)
        self._clock = clock
        self._public_url = public_url.rstrip("/")

    async def checkout(self, order: Order) -> str:
        """Return the page on which test cards are taken."""
        return f"{self._public_url}/checkout/{order.id}"

    def pay(self, order: Order, card: str) -> list[tuple[bytes, str]]:
        """Return the webhooks, body and signature, of a payment; the same ones again for the same order.

        Raises CardDeclined, CardUnknown.
        """
        if card == DECLINED:
            raise CardDeclined("the card was declined")
        if card != ACCEPTED:
            raise CardUnknown(f"no test card has this number; {ACCEPTED} is accepted, {DECLINED} declined")
        return [self._signed(order, kind, subject, order.create_time) for kind, subject in _events(order)]

    async def cancel(self, order: Order) -> tuple[bytes, str]:
        """Return the webhook that says that a subscription ends."""
        subject = {"metadata": checkout_parameters(order, "")["metadata"], "cancel_at_period_end": True}
        return self._signed(order, "customer.subscription.updated", subject, self._clock.now())

    def _signed(self, order: Order, kind: str, subject: dict[str, Any], time: datetime) -> tuple[bytes, str]:
        event = {
            "id": f"evt_test_{order.id}_{kind}",
            "type": kind,
            "created": int(time.timestamp()),
            "data": {"object": subject},
        }
        body = json.dumps(event)
        now = int(self._clock.now().timestamp())
        sign: Any = stripe.WebhookSignature.generate_signature_header
        return body.encode(), sign(body, self._key, now)


def _events(order: Order) -> list[tuple[str, dict[str, Any]]]:
    asked = checkout_parameters(order, "")
    metadata = asked["metadata"]
    completed = {"mode": asked["mode"], "payment_status": "paid", "metadata": metadata}
    events: list[tuple[str, dict[str, Any]]] = [("checkout.session.completed", completed)]
    price, start = order.price, order.create_time
    if price.interval is Interval.ONCE:
        return events
    trial_end = int((start + timedelta(days=price.trial_days)).timestamp()) if price.trial_days else None
    events.append(("customer.subscription.created", {"metadata": metadata, "trial_end": trial_end}))
    if trial_end is None:
        end = int((start + _LENGTHS[price.interval]).timestamp())
        paid = {"subscription_details": {"metadata": metadata}, "lines": {"data": [{"period": {"end": end}}]}}
        events.append(("invoice.paid", paid))
    return events
