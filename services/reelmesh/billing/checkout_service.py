"""CheckoutService and WebhookService: proto in, one domain call, proto out."""

from __future__ import annotations

from typing import Any

import grpc

from reelmesh.billing.errors import TestPaymentsDisabled
from reelmesh.billing.messages import order_to_proto, price_from_proto, price_to_proto
from reelmesh.billing.model import PriceName
from reelmesh.billing.payments import Payments
from reelmesh.billing.play_gateway import PlayGateway
from reelmesh.billing.v1 import checkout_service_pb2 as pb
from reelmesh.billing.v1 import webhook_service_pb2 as webhook_pb
from reelmesh.billing.v1.checkout_service_pb2_grpc import CheckoutServiceServicer
from reelmesh.billing.v1.webhook_service_pb2_grpc import WebhookServiceServicer
from reelmesh.mesh.names import VideoName, decode_page_token, encode_page_token, organization_of

Context = grpc.aio.ServicerContext[Any, Any]
PAGE_SIZE = 50


class CheckoutService(CheckoutServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, payments: Payments, play: PlayGateway | None) -> None:
        """`play` takes test cards; None where money is real."""
        self._payments = payments
        self._play = play

    async def CreatePrice(self, request: pb.CreatePriceRequest, context: Context) -> pb.CreatePriceResponse:
        """Say what may be bought."""
        price = await self._payments.add_price(price_from_proto(request.price))
        return pb.CreatePriceResponse(price=price_to_proto(price))

    async def ListPrices(self, request: pb.ListPricesRequest, context: Context) -> pb.ListPricesResponse:
        """List what may be bought."""
        prices, further = await self._payments.prices(
            organization_of(request.parent), request.page_size or PAGE_SIZE, decode_page_token(request.page_token)
        )
        return pb.ListPricesResponse(prices=map(price_to_proto, prices), next_page_token=encode_page_token(further))

    async def CreateCheckout(self, request: pb.CreateCheckoutRequest, context: Context) -> pb.CreateCheckoutResponse:
        """Begin to buy."""
        video = VideoName.parse(request.video) if request.video else None
        order, uri = await self._payments.checkout(
            request.user, PriceName.parse(request.price), video, request.request_id
        )
        return pb.CreateCheckoutResponse(
            order=order_to_proto(*await self._payments.order(order.user, order.id)), uri=uri
        )

    async def GetOrder(self, request: pb.GetOrderRequest, context: Context) -> pb.GetOrderResponse:
        """Return what a user bought."""
        return pb.GetOrderResponse(order=order_to_proto(*await self._payments.order(request.user, request.order)))

    async def ListOrders(self, request: pb.ListOrdersRequest, context: Context) -> pb.ListOrdersResponse:
        """List what a user bought."""
        orders, further = await self._payments.orders(
            request.user, request.page_size or PAGE_SIZE, decode_page_token(request.page_token)
        )
        return pb.ListOrdersResponse(
            orders=[order_to_proto(*each) for each in orders], next_page_token=encode_page_token(further)
        )

    async def CancelOrder(self, request: pb.CancelOrderRequest, context: Context) -> pb.CancelOrderResponse:
        """Let a subscription end."""
        return pb.CancelOrderResponse(order=order_to_proto(*await self._payments.cancel(request.user, request.order)))

    async def ConfirmTestPayment(
        self, request: pb.ConfirmTestPaymentRequest, context: Context
    ) -> pb.ConfirmTestPaymentResponse:
        """Pay with a card that does not exist."""
        if self._play is None:
            raise TestPaymentsDisabled("test cards are not taken here")
        order, _ = await self._payments.order(request.user, request.order)
        for body, signature in self._play.pay(order, request.card):
            await self._payments.receive(body, signature)
        return pb.ConfirmTestPaymentResponse(
            order=order_to_proto(*await self._payments.order(request.user, request.order))
        )


class WebhookService(WebhookServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, payments: Payments) -> None:
        self._payments = payments

    async def ReceiveStripe(
        self, request: webhook_pb.ReceiveStripeRequest, context: Context
    ) -> webhook_pb.ReceiveStripeResponse:
        """Take an event."""
        metadata: Any = context.invocation_metadata() or ()
        signature = next((str(value) for key, value in metadata if key == "stripe-signature"), "")
        await self._payments.receive(request.body.data, signature)
        return webhook_pb.ReceiveStripeResponse()
