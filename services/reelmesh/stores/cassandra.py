"""The door to Cassandra: asyncio over the driver's callbacks, prepared statements, and errors that say *later*."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from cassandra import ConsistencyLevel, DriverException, OperationTimedOut, RequestExecutionException
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    NoHostAvailable,
    ResponseFuture,
    Session,
)
from cassandra.connection import ConnectionException
from cassandra.policies import ConstantReconnectionPolicy, DCAwareRoundRobinPolicy, TokenAwarePolicy
from cassandra.query import BatchStatement, BatchType, BoundStatement, PreparedStatement

from reelmesh.mesh.config import CassandraConfig
from reelmesh.mesh.errors import Unavailable

Row = Any
"""A named tuple with one field per column."""

REQUEST_SECONDS = 8.0
"""The driver gives up on one request after this long."""
CONNECT_SECONDS = 3.0
"""The driver gives up on one connection after this long. A process that stops waits for a try that is under way."""

_PASSING = (NoHostAvailable, OperationTimedOut, RequestExecutionException, ConnectionException)
"""What the driver raises of a cluster that does not answer now; a wrong statement is not among them."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with ``?`` for each parameter."""

    cql: str
    parameters: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A page of rows."""

    rows: Sequence[Row]
    next: bytes | None
    """Where the next page begins; None on the last."""


class Cassandra:
    """A session on a cluster. Every failure that may pass by itself is raised as `Unavailable`."""

    def __init__(self, cluster: Cluster, session: Session) -> None:
        self._cluster = cluster
        self._session = session
        self._prepared: dict[str, PreparedStatement] = {}

    @classmethod
    async def connect(cls, config: CassandraConfig) -> Self:
        """Connect to the cluster. Raises Unavailable."""
        profile = ExecutionProfile(
            load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy()),
            consistency_level=ConsistencyLevel.LOCAL_QUORUM,
            serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL,
            request_timeout=REQUEST_SECONDS,
        )
        cluster = Cluster(
            list(config.contact_points),
            port=config.port,
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            # A node that comes back is used within a second; the default backs off for minutes.
            reconnection_policy=ConstantReconnectionPolicy(1.0, max_attempts=None),
            connect_timeout=CONNECT_SECONDS,
            protocol_version=5,
        )
        try:
            session = await asyncio.to_thread(cluster.connect)
        except (NoHostAvailable, DriverException, OSError) as error:
            await asyncio.to_thread(cluster.shutdown)
            raise Unavailable("Cassandra does not answer") from error
        return cls(cluster, session)

    async def close(self) -> None:
        """Close the session and its threads."""
        await asyncio.to_thread(self._cluster.shutdown)

    async def execute(self, cql: str, *parameters: Any) -> list[Row]:
        """Run one statement and return all its rows. Raises Unavailable."""
        statement = await self._bind(Statement(cql, parameters))
        future = await self._run(lambda: self._session.execute_async(statement))
        rows: list[Row] = list(future[0])
        while future[1].has_more_pages:
            previous = future[1]
            future = await self._run(lambda: _next_page(previous))  # noqa: B023 - called before the loop goes on
            rows.extend(future[0])
        return rows

    async def page(self, statement: Statement, size: int, state: bytes | None = None) -> Page:
        """Run one statement and return the page of `size` rows at `state`. Raises Unavailable."""
        bound = await self._bind(statement)
        bound.fetch_size = size
        rows, future = await self._run(lambda: self._session.execute_async(bound, paging_state=state))
        return Page(rows, future._paging_state)  # noqa: SLF001 - the driver shows it on ResultSet only

    async def batch(self, statements: Sequence[Statement]) -> list[Row]:
        """Run a logged batch: all or nothing, across partitions. Raises Unavailable."""
        batch = BatchStatement(BatchType.LOGGED)
        for statement in statements:
            batch.add(await self._bind(statement))
        rows, _ = await self._run(lambda: self._session.execute_async(batch))
        return list(rows)

    async def apply(self, *statements: Statement) -> Row | None:
        """Run conditional statements of one partition.

        Return None when they were applied, otherwise the row that stood against them. Raises Unavailable, and then
        nobody knows whether they were: read again.
        """
        if len(statements) == 1:
            rows = await self.execute(statements[0].cql, *statements[0].parameters)
        else:
            rows = await self.batch(statements)
        return None if rows[0].applied else rows[0]

    async def ping(self) -> None:
        """Ask the cluster something small. Raises Unavailable."""
        await self.execute("SELECT key FROM system.local")

    async def _bind(self, statement: Statement) -> BoundStatement:
        prepared: Any = self._prepared.get(statement.cql)
        if prepared is None:  # not yet asked for by this process
            try:
                prepared = await asyncio.to_thread(self._session.prepare, statement.cql)
            except _PASSING as error:
                raise Unavailable("Cassandra does not answer") from error
            self._prepared[statement.cql] = prepared
        return prepared.bind(statement.parameters)

    async def _run(self, start: Callable[[], ResponseFuture]) -> tuple[Sequence[Row], ResponseFuture]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[Row]] = loop.create_future()

        def settle(rows: Sequence[Row] | None, error: BaseException | None) -> None:
            if answer.done():  # the caller was cancelled meanwhile
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(rows or [])

        try:
            future = start()
            future.add_callbacks(
                lambda rows: loop.call_soon_threadsafe(settle, rows, None),
                lambda error: loop.call_soon_threadsafe(settle, None, error),
            )
            return await answer, future
        except _PASSING as error:
            raise Unavailable("Cassandra does not answer") from error


def _next_page(future: ResponseFuture) -> ResponseFuture:
    future.clear_callbacks()
    future.start_fetching_next_page()
    return future
