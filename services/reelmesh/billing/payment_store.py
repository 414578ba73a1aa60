"""Prices, orders and payment events on Cassandra. See schema.cql for the shape and why it is so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from reelmesh.billing.messages import price_from_proto, price_to_proto
from reelmesh.billing.model import Grant, PriceName
from reelmesh.billing.orders import Happened, Order, PaymentEvent, Price
from reelmesh.billing.store import CassandraGrantStore
from reelmesh.billing.v1 import price_pb2
from reelmesh.mesh.names import VideoName
from reelmesh.stores.cassandra import Cassandra, Row, Statement
from reelmesh.stores.migrations import keyspace_of

_KS = keyspace_of("billing")


class CassandraPaymentStore:
    """Payments in the keyspace of billing."""

    def __init__(self, cassandra: Cassandra, grants: CassandraGrantStore) -> None:
        self._cassandra = cassandra
        self._grants = grants

    async def add_price(self, price: Price) -> Price:
        """Keep a price unless there is one of that name; return the one that is there."""
        insert = Statement(
            f"INSERT INTO {_KS}.prices (organization, price, value) VALUES (?, ?, ?) IF NOT EXISTS",
            (price.name.organization, price.name.id, price_to_proto(price).SerializeToString()),
        )
        earlier = await self._cassandra.apply(insert)
        return price if earlier is None else _price(earlier.value)

    async def price(self, name: PriceName) -> Price | None:
        """Return a price; None when there is none."""
        rows = await self._cassandra.execute(
            f"SELECT value FROM {_KS}.prices WHERE organization = ? AND price = ?", name.organization, name.id
        )
        return _price(rows[0].value) if rows else None

    async def prices(self, organization: str, after: str, size: int) -> Sequence[Price]:
        """Return up to `size` prices of an organization, by id, after the id `after`."""
        rows = await self._cassandra.execute(
            f"SELECT value FROM {_KS}.prices WHERE organization = ? AND price > ? LIMIT ?", organization, after, size
        )
        return [_price(row.value) for row in rows]

    async def add_order(self, order: Order) -> None:
        """Keep an order; the same one again changes nothing."""
        await self._cassandra.execute(
            f"INSERT INTO {_KS}.orders (user, id, organization, price, video, create_time) VALUES (?, ?, ?, ?, ?, ?)",
            order.user,
            order.id,
            order.price.name.organization,
            price_to_proto(order.price).SerializeToString(),
            order.video.id if order.video else "",
            order.create_time,
        )

    async def order(self, user: str, id_: str) -> Order | None:
        """Return an order; None when there is none."""
        rows = await self._cassandra.execute(f"SELECT * FROM {_KS}.orders WHERE user = ? AND id = ?", user, id_)
        return _order(rows[0]) if rows else None

    async def orders(self, user: str, before: str, size: int) -> Sequence[Order]:
        """Return up to `size` orders of a user, newest first, older than the id `before` when it is not empty."""
        older, bound = (" AND id < ?", (before,)) if before else ("", ())
        rows = await self._cassandra.execute(
            f"SELECT * FROM {_KS}.orders WHERE user = ?{older} ORDER BY id DESC LIMIT ?", user, *bound, size
        )
        return [_order(row) for row in rows]

    async def add_event(self, event: PaymentEvent) -> None:
        """Keep an event; the same one again changes nothing."""
        await self._cassandra.execute(
            f"INSERT INTO {_KS}.payment_events (user, purchase, id, time, happened, until, ending) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            event.user,
            event.order,
            event.id,
            event.time,
            event.happened.name,
            event.until,
            event.ending,
        )

    async def events(self, user: str, order: str) -> Sequence[PaymentEvent]:
        """Return all that is known of an order."""
        rows = await self._cassandra.execute(
            f"SELECT * FROM {_KS}.payment_events WHERE user = ? AND purchase = ?", user, order
        )
        return [_event(row) for row in rows]

    async def put_grant(self, grant: Grant, revision: int) -> None:
        """Put a grant in place of an earlier revision of it; a later one stays, and so does a first play."""
        await self._grants.put(grant, revision)


def _price(value: bytes) -> Price:
    return price_from_proto(price_pb2.Price.FromString(value))


def _order(row: Row) -> Order:
    video = VideoName(row.organization, row.video) if row.video else None
    return Order(row.user, row.id, _price(row.price), video, row.create_time.replace(tzinfo=UTC))


def _event(row: Row) -> PaymentEvent:
    until: datetime | None = row.until
    return PaymentEvent(
        row.id,
        row.time.replace(tzinfo=UTC),
        row.user,
        row.purchase,
        Happened[row.happened],
        None if until is None else until.replace(tzinfo=UTC),
        row.ending,
    )
