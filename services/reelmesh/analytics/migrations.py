"""Brings the warehouse to what this code expects: forward only, without a stop, on a server or in the process.

Tables that are missing are made, columns that are missing are added, views are given their new query. What that cannot
say is a numbered step, applied once and recorded. All of it may be done by several processes at once, and again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clickhouse_connect.cc_sqlalchemy.dialect import ClickHouseDialect
from clickhouse_connect.cc_sqlalchemy.sql.ddlcompiler import column_specification
from sqlalchemy import MetaData, Select, Table, column, func, literal, select, table

from reelmesh.analytics import columns
from reelmesh.analytics.columns import Stream
from reelmesh.analytics.reading import Definer
from reelmesh.analytics.schema import MIGRATIONS, WAREHOUSE

WINDOW = 10_000
"""Inserts that a table remembers, so that a batch that comes again is not inserted again."""
WINDOW_SECONDS = 7 * 86_400
"""…and for how long, where copies of the table share that memory."""
LICENSE_DAYS = 400
"""Days for which decisions about licenses and exposures are kept."""

_DIALECT = ClickHouseDialect()


@dataclass(frozen=True, slots=True)
class Placement:
    """Where tables lie and for how long."""

    cluster: str = ""
    """Cluster that they are made on, with replicated engines; empty for one server."""
    storage_policy: str = ""
    """Storage policy of raw events, with a volume "cold"; empty for the server's own."""
    cold_days: int = 7
    """Days after which raw events move there."""
    events_days: int = 90
    """Days for which raw events are kept."""

    def __post_init__(self) -> None:
        """Names become part of statements. Raises ValueError for one that cannot be a name."""
        for name in (self.cluster, self.storage_policy):
            if not re.fullmatch(r"[A-Za-z0-9_.-]*", name):
                raise ValueError(f"{name!r} is no name of a cluster or storage policy")

    @property
    def on_cluster(self) -> str:
        """The clause that names the cluster."""
        return f" ON CLUSTER `{self.cluster}`" if self.cluster else ""


@dataclass(frozen=True, slots=True)
class Step:
    """A change that is applied once, before tables and columns are made."""

    version: int
    statements: Callable[[Placement], Sequence[str]]
    """Returns statements; each may be run again."""


COMPACT_BYTES = 128 << 20
"""Parts of raw events up to this size are one file. With one for each column, to make and unlink files would cost more
than to sort what is in them."""


def _compact(placement: Placement) -> Sequence[str]:
    events = f"{columns.EVENTS.name}{placement.on_cluster}"
    return (f"ALTER TABLE {events} MODIFY SETTING min_bytes_for_wide_part = {COMPACT_BYTES}",)


STEPS: tuple[Step, ...] = (Step(1, lambda _: ()), Step(2, _compact))
"""All changes that were ever needed, in order; the first is the beginning. What was released is never edited."""


async def migrate(
    warehouse: Definer,
    placement: Placement,
    streams: Mapping[str, Stream] = columns.STREAMS,
    steps: Sequence[Step] = STEPS,
) -> None:
    """Bring all tables and views to what `streams` and the schema say. Raises Unavailable."""
    await warehouse.define(create_table(MIGRATIONS, placement))
    await _apply(warehouse, placement, steps)
    for made in WAREHOUSE.sorted_tables:
        await _have(warehouse, made, placement)
    metadata = MetaData()
    for stream in streams.values():
        rows, arrivals = columns.row_table(stream, metadata), columns.arrivals_table(stream, metadata)
        # In this order nothing is ever missing that the next reads: an older process may be inserting meanwhile.
        await _have(warehouse, rows, placement, row_ttl(stream, placement), _row_settings(stream, placement))
        await _have(warehouse, arrivals, placement)
        await _have(warehouse, columns.trial_table(stream, metadata), placement)
        for view, target, query in views(stream, arrivals):
            await warehouse.define(create_view(view, target, query, placement))
            await warehouse.define(f"ALTER TABLE {view}{placement.on_cluster} MODIFY QUERY {_text(query)}")


async def _apply(warehouse: Definer, placement: Placement, steps: Sequence[Step]) -> None:
    applied = {row[0] for row in await warehouse.rows(select(MIGRATIONS.c.version))}
    for step in sorted(steps, key=lambda step: step.version):
        if step.version in applied:
            continue
        if applied:  # in a new warehouse there is nothing to change: what follows makes everything as it is to be
            for statement in step.statements(placement):
                await warehouse.define(statement)
        values = select(literal(step.version), func.now("UTC"))
        await warehouse.run(MIGRATIONS.insert().from_select(["version", "applied"], values))


async def _have(
    warehouse: Definer,
    wanted: Table,
    placement: Placement,
    ttl: str = "",
    settings: Mapping[str, object] | None = None,
) -> None:
    """Make a table, or add what it lacks."""
    await warehouse.define(create_table(wanted, placement, ttl, settings))
    known = table("columns", column("name"), column("type"), column("table"), column("database"), schema="system")
    query = select(known.c.name, known.c.type).where(
        known.c.database == func.currentDatabase(), known.c.table == wanted.name
    )
    there: dict[str, str] = {row[0]: row[1] for row in await warehouse.rows(query)}
    for each in wanted.columns:
        specification = column_specification(_DIALECT, each)
        if each.name not in there:
            change = f"ADD COLUMN IF NOT EXISTS {specification}"
        elif there[each.name].startswith("Enum") and _squeezed(there[each.name]) not in _squeezed(specification):
            change = f"MODIFY COLUMN {specification}"
        else:
            continue
        await warehouse.define(f"ALTER TABLE {wanted.name}{placement.on_cluster} {change}")


def _squeezed(text: str) -> str:
    return text.replace(" ", "")


def views(stream: Stream, arrivals: Table) -> Iterator[tuple[str, str, Select[Any]]]:
    """Yield the views of a stream: name, table that it writes to, and query."""
    yield stream.view, stream.table, columns.rows_query(stream, arrivals)
    if stream.table == columns.EVENTS.name:
        yield "sessions_view", "sessions", columns.sessions_query(stream, arrivals)
        yield "receipts_view", "receipts", columns.receipts_query(stream, arrivals)


def create_table(
    wanted: Table, placement: Placement, ttl: str = "", settings: Mapping[str, object] | None = None
) -> str:
    """Return the statement that makes a table, replicated where it lies on a cluster."""
    made = ", ".join(column_specification(_DIALECT, each) for each in wanted.columns)
    engine, _, own = wanted.dialect_options["clickhousedb"]["engine"].compile().partition(" SETTINGS ")
    options = [own] if own else []
    if wanted.name in REMEMBERING:
        options += _memory(placement)
    options += [f"{name} = {_value(value)}" for name, value in (settings or {}).items()]
    if placement.cluster:
        engine = re.sub(r"^Engine (\w*MergeTree)", r"Engine Replicated\1", engine)
    statement = f"CREATE TABLE IF NOT EXISTS {wanted.name}{placement.on_cluster} ({made}) {engine}"
    if ttl:
        statement += f" TTL {ttl}"
    return statement + (f" SETTINGS {', '.join(options)}" if options else "")


def create_view(name: str, target: str, query: Select[Any], placement: Placement) -> str:
    """Return the statement that makes a view which writes what `query` makes of inserts."""
    return f"CREATE MATERIALIZED VIEW IF NOT EXISTS {name}{placement.on_cluster} TO {target} AS {_text(query)}"


REMEMBERING = frozenset({"events", "deliveries", "licenses", "exposures", "sessions", "receipts"})
"""Tables that arrivals are written to."""


def _memory(placement: Placement) -> list[str]:
    if not placement.cluster:
        return [f"non_replicated_deduplication_window = {WINDOW}"]
    return [
        f"replicated_deduplication_window = {WINDOW}",
        f"replicated_deduplication_window_seconds = {WINDOW_SECONDS}",
    ]


def row_ttl(stream: Stream, placement: Placement) -> str:
    """Return how long rows of a stream are kept, and where."""
    time, days = _TIMES[stream.table]
    kept = f"toDateTime({time}) + INTERVAL {days or placement.events_days} DAY"
    if not placement.storage_policy or days:
        return kept
    return f"{kept}, toDateTime({time}) + INTERVAL {placement.cold_days} DAY TO VOLUME 'cold'"


_TIMES = {
    "events": ("event_time", 0),
    "deliveries": ("request_time", 0),
    "licenses": ("time", LICENSE_DAYS),
    "exposures": ("time", LICENSE_DAYS),
}


def _row_settings(stream: Stream, placement: Placement) -> dict[str, object]:
    # Whole days go at once; to look for single rows would write every part anew.
    settings: dict[str, object] = {"ttl_only_drop_parts": 1}
    if stream.table == columns.EVENTS.name:
        settings["min_bytes_for_wide_part"] = COMPACT_BYTES
    if placement.storage_policy and not _TIMES[stream.table][1]:
        settings["storage_policy"] = placement.storage_policy
    return settings


def _value(value: object) -> str:
    return str(value) if isinstance(value, int) else f"'{value}'"


def _text(query: Select[Any]) -> str:
    return str(query.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))
