"""Alerts as they were written down."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import func, select, tuple_

from reelmesh.analytics.alert_rows import BODY, alert_of
from reelmesh.analytics.functions import fixed
from reelmesh.analytics.reading import Reader, latest
from reelmesh.analytics.schema import ALERTS
from reelmesh.analytics.v1.alert_pb2 import Alert
from reelmesh.mesh.errors import PageTokenInvalid

_C = ALERTS.c


class History:
    """Reads alerts."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def page(self, organization: str, after: str, size: int, *, only_open: bool) -> tuple[Sequence[Alert], str]:
        """Return up to `size` alerts, latest first, and the position after which the next come.

        Raises PageTokenInvalid, Unavailable.
        """
        start = func.toUnixTimestamp64Milli(_C.start_time)
        query = select(BODY, start, func.hex(_C.alert)).where(_C.organization == organization)
        if only_open:
            query = query.where(func.toUnixTimestamp64Milli(_C.end_time) == 0)
        if after:
            time, alert = _parsed(after)
            place = tuple_(func.fromUnixTimestamp64Milli(time, "UTC"), fixed(alert))
            query = query.where(tuple_(_C.start_time, _C.alert) < place)
        query = query.order_by(_C.start_time.desc(), _C.alert.desc()).limit(size + 1)
        found = await self._reader.rows(latest(query))
        alerts = [alert_of(body) for body, *_ in found[:size]]
        if len(found) <= size:
            return alerts, ""
        _, time, alert = found[size - 1]
        return alerts, f"{time}.{alert}"


def _parsed(after: str) -> tuple[int, str]:
    time, _, alert = after.partition(".")
    try:
        return int(time), uuid.UUID(hex=alert).hex
    except ValueError as error:
        raise PageTokenInvalid("page_token was not made by this list") from error
