"""The door to ClickHouse: a server by its DSN, or ClickHouse in this process (chDB) on a folder of its own.

Both are spoken to through one client, so what is written for one runs on the other. The client blocks; every call goes
to a thread. Statements are SQLAlchemy expressions: nobody here puts values into text.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import clickhouse_connect
import pyarrow
from clickhouse_connect.cc_sqlalchemy.dialect import ClickHouseDialect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from sqlalchemy import Executable
from sqlalchemy.sql.expression import ClauseElement

from reelmesh.mesh.errors import Unavailable

THREADS = 4
"""Statements that run at once; others wait."""

_DIALECT = ClickHouseDialect(paramstyle="pyformat")
_T = TypeVar("_T")


class Warehouse:
    """A connection to the warehouse."""

    def __init__(self, client: Client, dsn: str) -> None:
        self._client = client
        self.server = bool(dsn)
        """Whether it is a server, which others may use too."""
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="warehouse")

    @classmethod
    async def open(cls, dsn: str, path: Path) -> Warehouse:
        """Open the server at `dsn`, or chDB on the folder `path` where it is empty. Raises Unavailable."""

        def connect() -> Client:
            if dsn:
                return clickhouse_connect.get_client(dsn=dsn, autogenerate_session_id=False)
            path.mkdir(parents=True, exist_ok=True)
            return clickhouse_connect.get_client(interface="chdb", path=str(path))

        try:
            return cls(await asyncio.to_thread(connect), dsn)
        except ClickHouseError as error:
            raise Unavailable(f"the warehouse does not answer: {error}") from error

    async def ping(self) -> None:
        """Ask something small. Raises Unavailable."""
        await self._call(lambda: self._client.command("SELECT 1"))

    async def rows(self, query: Executable, settings: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        """Return the rows of a query. Raises Unavailable."""
        text, values = compiled(query)
        result = await self._call(lambda: self._client.query(text, values, settings=dict(settings or {})))
        found: Sequence[Sequence[Any]] = result.result_rows
        return found

    async def run(self, statement: ClauseElement, settings: Mapping[str, Any] | None = None) -> None:
        """Run a statement that returns nothing. Raises Unavailable."""
        text, values = compiled(statement)
        await self._call(lambda: self._client.command(text, values, settings=dict(settings or {})))

    async def insert(self, table: str, data: bytes, form: str, settings: Mapping[str, Any]) -> None:
        """Insert `data`, written in ClickHouse's format `form`. Raises Unavailable."""
        await self._call(lambda: self._client.raw_insert(table, insert_block=data, fmt=form, settings=dict(settings)))

    async def arrow(self, query: Executable) -> AsyncIterator[pyarrow.RecordBatch]:
        """Stream the rows of a query. Raises Unavailable."""
        raise NotImplementedError
        yield

    async def close(self) -> None:
        """Close; statements under way end first."""
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self._client.close)

    async def _call(self, action: Callable[[], _T]) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, action)
        except ClickHouseError as error:
            raise Unavailable(f"the warehouse does not answer: {error}") from error


def compiled(statement: Any) -> tuple[str, dict[str, Any]]:
    """Return a statement as ClickHouse takes it, and the values of its parameters."""
    made = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    return str(made), dict(made.params or {})
