"""What reports need of the warehouse."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Protocol

import pyarrow
from sqlalchemy import Executable, Select, text

_LATEST = text("SETTINGS final = 1, do_not_merge_across_partitions_select_final = 1")


class Reader(Protocol):
    """Answers queries; stores/warehouse.py has the one on ClickHouse."""

    async def rows(self, query: Executable) -> Sequence[Sequence[Any]]:
        """Return the rows of a query. Raises Unavailable."""

    def arrow(self, query: Executable) -> AsyncGenerator[pyarrow.RecordBatch, None]:
        """Stream the rows of a query. Raises Unavailable."""


def latest(query: Select[Any]) -> Select[Any]:
    """Let a query see the latest row of each key alone, in every table that it reads.

    It looks for them in each partition by itself: no key of ours is in two.
    """
    return query.suffix_with(_LATEST)
