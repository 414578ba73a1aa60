"""What analytics needs of the warehouse; stores/warehouse.py has the one on ClickHouse."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Protocol

import pyarrow
from sqlalchemy import Executable, Select, text
from sqlalchemy.sql.expression import ClauseElement

LATEST: Mapping[str, int] = {"final": 1, "do_not_merge_across_partitions_select_final": 1}
"""Settings by which every table is read FINAL, also within a subquery, where the dialect forgets the word. No key is in
two partitions, so each can be looked at by itself."""
_LATEST = text("SETTINGS " + ", ".join(f"{name} = {value}" for name, value in LATEST.items()))
_LATEST_OF_FEW = text(f"{_LATEST}, max_threads = 1")


class Reader(Protocol):
    """Answers queries."""

    async def rows(self, query: Executable) -> Sequence[Sequence[Any]]:
        """Return the rows of a query. Raises Unavailable."""

    def arrow(self, query: Executable) -> AsyncGenerator[pyarrow.RecordBatch, None]:
        """Stream the rows of a query. Raises Unavailable."""


class Writer(Protocol):
    """Answers queries, and changes rows."""

    async def rows(self, query: Executable) -> Sequence[Sequence[Any]]:
        """Return the rows of a query. Raises Unavailable."""

    async def run(self, statement: ClauseElement, settings: Mapping[str, Any] | None = None) -> None:
        """Run a statement. Raises Unavailable."""


class Definer(Writer, Protocol):
    """Changes tables as well."""

    async def define(self, statement: str) -> None:
        """Run a statement about tables. Raises Unavailable."""


def latest(query: Select[Any]) -> Select[Any]:
    """Let a query see the latest row of each key alone, in every table that it reads."""
    return query.suffix_with(_LATEST)


def latest_of_few(query: Select[Any]) -> Select[Any]:
    """Do the same for a query that finds a few rows by their key: to share them out among threads costs more."""
    return query.suffix_with(_LATEST_OF_FEW)
