"""What analytics keeps where: the warehouse as its domain sees it, and the dead letters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.sql.expression import ClauseElement

from reelmesh.analytics.sink import Bury, Unreadable
from reelmesh.stores.events import Publisher, Record, dead_letters
from reelmesh.stores.warehouse import Refused, Warehouse


class WarehouseInserter:
    """Inserts into the warehouse."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    async def insert(self, table: str, data: bytes, form: str, settings: Mapping[str, Any]) -> None:
        """Insert. Raises Unavailable, Unreadable."""
        try:
            await self._warehouse.insert(table, data, form, settings)
        except Refused as error:
            raise Unreadable(str(error)) from error

    async def run(self, statement: ClauseElement) -> None:
        """Run a statement. Raises Unavailable."""
        await self._warehouse.run(statement)


def burying(publisher: Publisher) -> Bury:
    """Return what sends records to the dead letters of their topic, with where they lay and why."""

    async def bury(topic: str, partition: int, offset: int, value: bytes, reason: str, message: str) -> None:
        position = f"{partition}/{offset}"
        why = {"reason": reason, "message": message, "position": position}
        await publisher.publish(Record(dead_letters(topic), position, value, why))

    return bury
