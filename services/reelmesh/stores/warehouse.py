"""The door to ClickHouse: a server by its DSN, or ClickHouse in this process (chDB) on a folder of its own.

Both are spoken to through one client, so what is written for one runs on the other. A client does one thing at a time,
so each thread here has its own: queries and inserts do not wait for each other. Statements are SQLAlchemy expressions:
nobody here puts values into text.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import chdb
import clickhouse_connect
import pyarrow
from clickhouse_connect.cc_sqlalchemy.dialect import ClickHouseDialect
from clickhouse_connect.driver.binding import bind_query
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError
from sqlalchemy import Executable
from sqlalchemy.sql.expression import ClauseElement

from reelmesh.mesh.errors import Unavailable

QUERIES = 4
"""Queries that run at once; others wait."""
INSERTS = 2
"""Inserts that run at once."""
STREAMS = 2
"""Exports that run at once: each holds a thread for as long as its reader takes."""
MEMORY = 2 << 30
"""Memory that chDB may use, in bytes, where nothing else is said."""

PASSING = frozenset(
    {
        3,  # UNEXPECTED_END_OF_FILE
        159,  # TIMEOUT_EXCEEDED
        160,  # TOO_SLOW
        198,  # DNS_ERROR
        202,  # TOO_MANY_SIMULTANEOUS_QUERIES
        209,  # SOCKET_TIMEOUT
        210,  # NETWORK_ERROR
        225,  # NO_ZOOKEEPER
        236,  # ABORTED
        241,  # MEMORY_LIMIT_EXCEEDED
        242,  # TABLE_IS_READ_ONLY
        243,  # NOT_ENOUGH_SPACE
        252,  # TOO_MANY_PARTS
        279,  # ALL_CONNECTION_TRIES_FAILED
        285,  # TOO_FEW_LIVE_REPLICAS
        286,  # UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
        319,  # UNKNOWN_STATUS_OF_INSERT
        394,  # QUERY_WAS_CANCELLED
        425,  # SYSTEM_ERROR
        473,  # DEADLOCK_AVOIDED
        516,  # AUTHENTICATION_FAILED: whoever runs the server may mend it
        999,  # KEEPER_EXCEPTION
    }
)
"""Codes of ClickHouse's errors that pass without a change to what was asked."""

_DIALECT = ClickHouseDialect(paramstyle="pyformat")
_END = object()
_T = TypeVar("_T")


class WarehouseUnavailable(Unavailable):
    """ClickHouse does not answer, or cannot now."""

    reason = "WAREHOUSE_UNAVAILABLE"


class Refused(Exception):
    """ClickHouse will never do what it was asked: the statement is wrong, or data that it cannot read.

    `code` is ClickHouse's.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Warehouse:
    """A connection to the warehouse."""

    def __init__(self, connect: Callable[[], Client], embedded: str = "", schemas: Path | None = None) -> None:
        """`embedded` is how chDB connects, and `schemas` where it keeps schemas of formats; neither for a server."""
        self._connect = connect
        self._embedded = embedded
        self._schemas = schemas
        self.server = not embedded
        """Whether it is a server, which others may use too."""
        self._written: set[Path] = set()
        self._own = threading.local()
        self._clients: list[Client] = []
        self._queries = ThreadPoolExecutor(QUERIES, thread_name_prefix="warehouse-query")
        self._inserts = ThreadPoolExecutor(INSERTS, thread_name_prefix="warehouse-insert")
        self._streams = ThreadPoolExecutor(STREAMS, thread_name_prefix="warehouse-stream")

    @classmethod
    async def open(cls, dsn: str, path: Path, memory: int = MEMORY) -> Warehouse:
        """Open the server at `dsn`, or chDB on the folder `path` where it is empty. Raises Unavailable.

        A process opens one folder, and no other process the same. chDB uses about `memory` bytes at most.
        """
        embedded = "" if dsn else str(path.absolute())
        options = _embedded_options(memory)

        def connect() -> Client:
            if dsn:
                return clickhouse_connect.get_client(dsn=dsn, autogenerate_session_id=False)
            return clickhouse_connect.get_client(
                interface="chdb", path=embedded, chdb_options=options, settings=_embedded_settings(memory)
            )

        if embedded:
            await asyncio.to_thread((path / "schemas").mkdir, parents=True, exist_ok=True)
            warehouse = cls(connect, f"{path.resolve()}?{urlencode(options)}", path.resolve() / "schemas")
        else:
            warehouse = cls(connect)
        try:
            await warehouse.ping()
        except BaseException:
            await warehouse.close()
            raise
        return warehouse

    async def ping(self) -> None:
        """Ask something small. Raises Unavailable."""
        await self._call(self._queries, lambda client: client.command("SELECT 1"))

    async def rows(self, query: Executable, settings: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        """Return the rows of a query. Raises Unavailable, Refused."""
        text, values = compiled(query)
        result = await self._call(
            self._queries, lambda client: client.query(text, values, settings=dict(settings or {}))
        )
        found: Sequence[Sequence[Any]] = result.result_rows
        return found

    async def run(self, statement: ClauseElement, settings: Mapping[str, Any] | None = None) -> None:
        """Run a statement that returns nothing. Raises Unavailable, Refused."""
        text, values = compiled(statement)
        await self._call(self._queries, lambda client: client.command(text, values, settings=dict(settings or {})))

    async def define(self, statement: str) -> None:
        """Run a statement about tables, which is made of names and no values. Raises Unavailable, Refused."""
        await self._call(self._queries, lambda client: client.command(statement))

    async def insert(self, table: str, data: bytes, form: str, settings: Mapping[str, Any] | None = None) -> None:
        """Insert `data`, written in ClickHouse's format `form`. Raises Unavailable, Refused."""
        given = self._readable(settings or {})
        await self._call(
            self._inserts, lambda client: client.raw_insert(table, insert_block=data, fmt=form, settings=given)
        )

    async def arrow(self, query: Executable) -> AsyncGenerator[pyarrow.RecordBatch, None]:
        """Stream the rows of a query, some ten thousand at a time. Raises Unavailable, Refused.

        The query goes on as fast as its batches are taken; whoever stops early closes the iterator.
        """
        loop = asyncio.get_running_loop()
        text, values = compiled(query)
        batches = self._embedded_arrow(text, values) if self._embedded else self._server_arrow(text, values)
        try:
            while True:
                batch = await loop.run_in_executor(self._streams, next, batches, _END)
                if batch is _END:
                    return
                yield batch
        except (ClickHouseError, chdb.ChdbError, RuntimeError) as error:
            raise _translated(error) from error
        finally:
            await loop.run_in_executor(self._streams, batches.close)

    async def close(self) -> None:
        """Close; statements under way end first."""
        for threads in (self._streams, self._inserts, self._queries):
            await asyncio.to_thread(threads.shutdown)
        for client in self._clients:
            await asyncio.to_thread(client.close)

    def _readable(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Give chDB the schema of a format as a file; of a text it would leave a copy in whatever folder we are in."""
        given = dict(settings)
        if self._schemas is None or given.get("format_schema_source") != "string":
            return given
        text, message = given["format_schema"], given.pop("format_schema_message_name")
        file = self._schemas / f"{hashlib.sha256(text.encode()).hexdigest()}.proto"
        if file not in self._written:
            file.write_text(text)
            self._written.add(file)
        return {**given, "format_schema_source": "file", "format_schema": f"{file}:{message}"}

    def _server_arrow(self, text: str, values: dict[str, Any]) -> Generator[Any, None, None]:
        client = self._connect()
        try:
            with client.query_arrow_stream(text, values) as tables:
                for table in tables:
                    yield from table.to_batches() if isinstance(table, pyarrow.Table) else [table]
        finally:
            client.close()

    def _embedded_arrow(self, text: str, values: dict[str, Any]) -> Generator[Any, None, None]:
        # clickhouse-connect would hold the whole answer in memory; chDB itself gives it block by block, each an Arrow
        # stream of its own.
        with closing(chdb.connect(self._embedded)) as connection:
            bound, _ = bind_query(text, values)
            with connection.send_query(bound, "ArrowStream") as blocks:
                for block in blocks:
                    yield from pyarrow.ipc.open_stream(block.bytes())

    async def _call(self, threads: ThreadPoolExecutor, action: Callable[[Client], _T]) -> _T:
        def call() -> _T:
            if not hasattr(self._own, "client"):
                self._own.client = self._connect()
                self._clients.append(self._own.client)
            return action(self._own.client)

        try:
            running = asyncio.get_running_loop().run_in_executor(threads, call)
        except RuntimeError as error:
            raise WarehouseUnavailable("the warehouse is closed") from error
        try:
            return await running
        except ClickHouseError as error:
            raise _translated(error) from error


def compiled(statement: Any) -> tuple[str, dict[str, Any]]:
    """Return a statement as ClickHouse takes it, and the values of its parameters."""
    made = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    return str(made), dict(made.params or {})


def _translated(error: Exception) -> Exception:
    told = re.search(r"Code: (\d+)", str(error))
    code = int(told[1]) if told else None
    if isinstance(error, OperationalError) or code is None or code in PASSING:
        return WarehouseUnavailable(f"the warehouse does not answer: {error}")
    return Refused(str(error), code)


def _embedded_options(memory: int) -> dict[str, Any]:
    """Return chDB's settings of a server, which are made for a large machine where nothing is said."""
    cache = memory // 16
    return {
        "max_server_memory_usage": memory,
        "mark_cache_size": cache,
        "index_mark_cache_size": cache // 4,
        "primary_index_cache_size": cache,
        "background_pool_size": 2,
        "background_schedule_pool_size": 2,
    }


def _embedded_settings(memory: int) -> dict[str, Any]:
    """Return what a statement may use: half of all, and beyond a quarter it goes to disk."""
    return {
        "max_memory_usage": memory * 3 // 4,
        "max_bytes_before_external_group_by": memory // 4,
        "max_bytes_before_external_sort": memory // 4,
    }
