"""Stripe: checkouts of its API, events of its webhooks."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import stripe

from reelmesh.billing.errors import (
    EventMalformed,
    OrderNotRunning,
    SignatureInvalid,
    SignatureMissing,
    SignatureOld,
)
from reelmesh.billing.orders import Happened, Interval, Order, PaymentEvent
from reelmesh.mesh.errors import Unavailable

TOLERANCE_SECONDS = 300
"""A webhook that was signed longer ago is refused, so that one that was caught cannot be played again."""


class StripeEvents:
    """Reads webhooks that are signed as Stripe signs them."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def read(self, body: bytes, signature: str) -> PaymentEvent | None:
        """Return what a webhook tells; None where it is of no interest.

        Raises SignatureMissing, SignatureInvalid, SignatureOld, EventMalformed.
        """
        if not signature:
            raise SignatureMissing("the header Stripe-Signature is missing")
        text = self._believed(body, signature)
        try:
            return event_of(json.loads(text))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise EventMalformed("not an event of Stripe") from error

    def _believed(self, body: bytes, signature: str) -> str:
        verify: Any = stripe.WebhookSignature.verify_header
        try:
            text = body.decode()
            verify(text, signature, self._secret)
        except (stripe.SignatureVerificationError, UnicodeDecodeError) as error:
            raise SignatureInvalid("the signature is not of this body and our secret") from error
        try:
            verify(text, signature, self._secret, TOLERANCE_SECONDS)
        except stripe.SignatureVerificationError as error:
            raise SignatureOld("the signature is too old") from error
        return text


class StripeGateway(StripeEvents):
    """A PaymentProvider on Stripe's API."""

    def __init__(self, client: stripe.StripeClient, secret: str, public_url: str) -> None:
        """`public_url` is where buyers come back to."""
        super().__init__(secret)
        self._client = client
        self._public_url = public_url.rstrip("/")

    async def checkout(self, order: Order) -> str:
        """Return where to pay for an order; the same for the same one. Raises Unavailable."""
        sessions = self._client.v1.checkout.sessions
        try:
            session = await sessions.create_async(
                checkout_parameters(order, self._public_url),  # type: ignore[arg-type] # a TypedDict, built as it goes
                {"idempotency_key": order.id},
            )
        except stripe.APIConnectionError as error:
            raise Unavailable("Stripe does not answer") from error
        return session.url or ""

    async def cancel(self, order: Order) -> None:
        """Let a subscription end when what was paid for is over; a webhook will tell.

        Raises Unavailable, OrderNotRunning.
        """
        subscriptions = self._client.v1.subscriptions
        try:
            found = await subscriptions.search_async({"query": f"metadata['reelmesh_order']:'{order.id}'"})
            running = [each.id for each in found.data if each.status in _RUNNING]
            for id_ in running:
                await subscriptions.update_async(id_, {"cancel_at_period_end": True})
        except stripe.APIConnectionError as error:
            raise Unavailable("Stripe does not answer") from error
        if not running:
            raise OrderNotRunning("Stripe knows of no subscription that goes on")


_RUNNING = frozenset({"trialing", "active", "past_due", "unpaid"})
"""States in which Stripe will go on to ask for money."""
_INVOICED = {"invoice_creation": {"enabled": True}}
"""A subscription has invoices anyway."""


def checkout_parameters(order: Order, public_url: str) -> dict[str, Any]:
    """Return what Stripe is asked to sell. Our names travel as metadata on all that its events are about."""
    price = order.price
    ours = {"reelmesh_order": order.id, "reelmesh_user": order.user}
    sold: dict[str, Any] = {
        "currency": price.currency,
        "unit_amount": price.amount,
        "product_data": {"name": price.display_name},
    }
    back = f"{public_url}/checkout/{order.id}"
    parameters: dict[str, Any] = {
        "line_items": [{"price_data": sold, "quantity": 1}],
        "metadata": ours,
        "client_reference_id": order.id,
        "allow_promotion_codes": True,  # coupons are made, limited and counted at Stripe
        "success_url": back,
        "cancel_url": back,
    }
    if price.interval is Interval.ONCE:
        return {**parameters, "mode": "payment", "payment_intent_data": {"metadata": ours}, **_INVOICED}
    sold["recurring"] = {"interval": price.interval.value}
    subscription: dict[str, Any] = {"metadata": ours}
    if price.trial_days:
        subscription["trial_period_days"] = price.trial_days
    return {**parameters, "mode": "subscription", "subscription_data": subscription}


def event_of(event: dict[str, Any]) -> PaymentEvent | None:
    """Read an event; None where it is of no interest. Raises LookupError, TypeError for what is none."""
    subject, kind = event["data"]["object"], event["type"]
    found = _happened(kind, subject)
    metadata = _metadata(kind, subject)
    if found is None or "reelmesh_order" not in metadata:
        return None
    happened, until, ending = found
    return PaymentEvent(
        id=event["id"],
        time=_time(event["created"]),
        user=metadata["reelmesh_user"],
        order=metadata["reelmesh_order"],
        happened=happened,
        until=None if until is None else _time(until),
        ending=ending,
    )


def _happened(kind: str, subject: dict[str, Any]) -> tuple[Happened, int | None, bool] | None:
    match kind:
        case "checkout.session.completed" | "checkout.session.async_payment_succeeded":
            once = subject["mode"] == "payment" and subject["payment_status"] == "paid"
            return (Happened.PAID_ONCE, None, False) if once else None
        case "customer.subscription.created" | "customer.subscription.updated":
            return Happened.CHANGED, subject.get("trial_end"), subject.get("cancel_at_period_end") is True
        case "customer.subscription.deleted":
            return Happened.CANCELED, None, False
        case "invoice.paid":
            return Happened.INVOICE_PAID, max(line["period"]["end"] for line in subject["lines"]["data"]), False
        case "invoice.payment_failed":
            return Happened.INVOICE_FAILED, None, False
        case "charge.refunded":
            # Part of the money back leaves what was bought.
            return (Happened.REFUNDED, None, False) if subject["refunded"] else None
    return None


def _metadata(kind: str, subject: dict[str, Any]) -> dict[str, str]:
    if not kind.startswith("invoice."):
        return subject.get("metadata") or {}
    # Since API version 2025-03-31 an invoice says so of its parent.
    parent = subject.get("parent") or subject
    return (parent.get("subscription_details") or {}).get("metadata") or {}


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
