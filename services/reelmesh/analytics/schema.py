"""The tables of the warehouse, once: their DDL and every query are made from these expressions.

Life of an event: an *arrival* (a Kafka record as it is) becomes a row of `events` and is folded into its session's row;
the minute that it happened in is counted anew into `minutes`, its hour from those, its day from the hours. A roll-up is
always counted, never added to, so an event that comes twice or late changes nothing but what it should.
"""

from __future__ import annotations

from typing import Any

from clickhouse_connect.cc_sqlalchemy.datatypes import sqltypes as types
from clickhouse_connect.cc_sqlalchemy.ddl import tableengine as engines
from sqlalchemy import Column, MetaData, Table

WAREHOUSE = MetaData()
"""All tables whose columns stand here; those of raw records follow their .proto (columns.py)."""

TEXT = types.LowCardinality(types.String)
ID = types.FixedString(16)
"""A UUID, or a viewer's pseudonym; zeros for none."""
TIME = types.DateTime64(3, "UTC")
MINUTES, HOURS, DAYS = "minutes", "hours", "days"
STARTUP = "quantilesBFloat16Weighted(0.5, 0.95)"
"""The aggregate that a roll-up's startup times are kept as, each with its sampling weight."""


def _dimensions() -> list[Column[object]]:
    return [
        Column("organization", TEXT),
        Column("bucket", types.DateTime("UTC")),
        Column("video", types.String),
        Column("rendition", TEXT),
        Column("cdn", TEXT),
        Column("country", TEXT),
        Column("device", TEXT),
        Column("player_version", TEXT),
        Column("experiments", types.Array(TEXT)),
    ]


MEASURES = (
    "events",
    "views",
    "starts",
    "failures",
    "exits",
    "startup_ms",
    "watch_ms",
    "stall_ms",
    "stalls",
    "switches",
    "upscaled_ms",
    "dropped_frames",
    "media_bytes",
    "bitrate_watch",  # kbit/s times ms: over watch_ms it is the average bitrate
)
"""What a roll-up sums. All but `events` count a viewing as often as its sampling weight says."""


def _measures() -> list[Column[object]]:
    return [
        *(Column(name, types.UInt64) for name in MEASURES),
        Column("startup", types.AggregateFunction(STARTUP, types.Int64, types.UInt32)),
        Column("viewers", types.AggregateFunction("uniqCombined64", ID)),
        Column("version", types.UInt64),  # when it was counted, ms: the latest row of a key is the one that holds
    ]


DIMENSIONS = [
    "organization",
    "bucket",
    "video",
    "rendition",
    "cdn",
    "country",
    "device",
    "player_version",
    "experiments",
]


def _rollup(name: str, partition: str, ttl: str | None) -> Table:
    # What was counted again is merged once it rests: FINAL over parts that overlap costs several times as much.
    engine = engines.ReplacingMergeTree(
        version="version",
        order_by=DIMENSIONS,
        partition_by=partition,
        ttl=ttl,
        settings={"min_age_to_force_merge_seconds": 600},
    )
    return Table(name, WAREHOUSE, *_dimensions(), *_measures(), engine)


ROLLUPS = {
    MINUTES: _rollup(MINUTES, "toYYYYMMDD(bucket)", "bucket + INTERVAL 30 DAY"),
    HOURS: _rollup(HOURS, "toYYYYMM(bucket)", "bucket + INTERVAL 400 DAY"),
    DAYS: _rollup(DAYS, "toYYYYMM(bucket)", None),
}
"""Roll-ups by the length of their buckets; a bucket is named by its start (UTC). Read them FINAL."""

FACET_KEYS = ["organization", "dimension", "bucket", "value"]
FACETS_OF = ("video", "rendition", "cdn", "country", "device", "player_version")
"""Dimensions that a facet is made of, as roll-ups call them; "experiment" is one more, and "" is the whole."""


def _facets(rollup: str, ttl: str | None) -> Table:
    return Table(
        f"facets_{rollup}",
        WAREHOUSE,
        Column("organization", TEXT),
        Column("dimension", TEXT),
        Column("bucket", types.DateTime("UTC")),
        Column("value", types.String),
        *_measures(),
        engines.ReplacingMergeTree(
            version="version",
            order_by=FACET_KEYS,
            partition_by="toYYYYMM(bucket)",
            ttl=ttl,
            settings={"min_age_to_force_merge_seconds": 600},
        ),
    )


FACETS = {HOURS: _facets(HOURS, "bucket + INTERVAL 400 DAY"), DAYS: _facets(DAYS, None)}
"""The same measures by one dimension at a time. Where viewings differ in everything, a roll-up has almost as many rows
as there are viewings; most reports look at one dimension, and find here a row for each value. Read them FINAL."""

RETENTION_KEYS = ["organization", "video", "bucket", "second"]


def _retention(name: str, partition: str, ttl: str | None) -> Table:
    """Return a table of edges: `plays` more play second `second` of the video than the second before it."""
    return Table(
        name,
        WAREHOUSE,
        Column("organization", TEXT),
        Column("video", types.String),
        Column("bucket", types.DateTime("UTC")),
        Column("second", types.UInt32),
        Column("plays", types.Int64),
        Column("version", types.UInt64),
        engines.ReplacingMergeTree(version="version", order_by=RETENTION_KEYS, partition_by=partition, ttl=ttl),
    )


RETENTION = {
    MINUTES: _retention("retention_minutes", "toYYYYMMDD(bucket)", "bucket + INTERVAL 3 DAY"),
    DAYS: _retention("retention_days", "toYYYYMM(bucket)", None),
}
"""Edges of the retention curve, by minute and by day of watching. Summed up to a second they give its plays."""


def _largest(name: str, kind: Any = types.Int64) -> Column[object]:
    return Column(name, types.SimpleAggregateFunction("max", kind))


def _latest(name: str) -> Column[object]:
    """Return a column with the value of the latest event that has one."""
    return Column(name, types.AggregateFunction("argMax", types.String, TIME))


SESSIONS = Table(
    "sessions",
    WAREHOUSE,
    Column("organization", TEXT),
    Column("session", ID),
    Column("video", types.SimpleAggregateFunction("any", types.String)),
    _largest("viewer", types.String),  # in hex; empty for who is not known
    Column("first_time", types.SimpleAggregateFunction("min", TIME)),
    _largest("last_time", TIME),
    Column("events", types.AggregateFunction("groupBitmap", types.UInt32)),  # the sequences that arrived
    _largest("requested", types.UInt8),
    _largest("started", types.UInt8),
    _largest("failed", types.UInt8),
    _largest("exited", types.UInt8),
    _largest("ended", types.UInt8),
    _largest("startup_ms"),
    _largest("watch_ms"),
    _largest("stall_ms"),
    _largest("stalls"),
    _largest("switches"),
    _largest("dropped_frames"),
    _largest("media_bytes"),
    _largest("upscaled_ms"),
    _largest("weight", types.UInt32),
    _latest("rendition"),
    _latest("cdn"),
    _latest("error_code"),
    Column("country", types.SimpleAggregateFunction("max", types.String)),
    Column("device", types.SimpleAggregateFunction("max", types.String)),
    Column("operating_system", types.SimpleAggregateFunction("max", types.String)),
    Column("browser", types.SimpleAggregateFunction("max", types.String)),
    Column("player_version", types.SimpleAggregateFunction("max", types.String)),
    Column("experiments", types.SimpleAggregateFunction("max", types.Array(types.String))),
    engines.AggregatingMergeTree(
        order_by=["organization", "session"],
        # In one partition: rows of a session come with times of their own, and its id tells none.
        ttl="toDateTime(last_time) + INTERVAL 400 DAY",
        # A session is looked up by its name, and each row that is read with it has states to be made anew.
        settings={"index_granularity": 512},
    ),
)
"""Viewings, folded from their events by aggregates that a repeat cannot change: counters are the largest total that the
player told. Read it grouped by session, or FINAL."""

RECEIPTS = Table(
    "receipts",
    WAREHOUSE,
    Column("partition", types.Int32),
    Column("first", types.Int64),
    Column("organization", TEXT),
    Column("minute", types.DateTime("UTC")),
    Column("events", types.UInt64),
    engines.MergeTree(
        order_by=["partition", "first", "organization", "minute"],
        partition_by="toYYYYMMDD(minute)",
        ttl="minute + INTERVAL 400 DAY",
        settings={"ttl_only_drop_parts": 1},
    ),
)
"""What each batch of arrivals had: events by the minute that they happened in, repeats included. A batch is named by
its partition on Kafka and the offset that it begins with. Exact after crashes: a batch is only ever inserted once."""

DIRTY = Table(
    "dirty",
    WAREHOUSE,
    Column("organization", TEXT),
    Column("minute", types.DateTime("UTC")),
    Column("mark", types.UUID),
    Column("marked", types.DateTime64(3, "UTC")),
    Column("done", types.UInt8),
    engines.ReplacingMergeTree(
        version="done",
        order_by=["organization", "minute", "mark"],
        partition_by="toYYYYMMDD(marked)",
        ttl="toDateTime(marked) + INTERVAL 2 DAY DELETE WHERE done = 1",
    ),
)
"""Minutes that are to be counted anew. Each mark is written after what it is for can be read, and is done with when a
count that began later has ended; a mark that comes meanwhile is another one. Read it FINAL."""

ERASURES = Table(
    "erasures",
    WAREHOUSE,
    Column("organization", TEXT),
    Column("viewer", types.String),  # the pseudonym in hex; empty for all of the organization
    Column("sessions", types.Array(types.String)),  # in hex
    Column("minutes", types.Array(types.UInt32)),  # seconds since 1970
    Column("asked_ms", types.Int64),
    Column("done", types.UInt8),
    Column("version", types.UInt64),
    engines.ReplacingMergeTree(
        version="version",
        order_by=["organization", "viewer"],
        ttl="toDateTime(fromUnixTimestamp64Milli(asked_ms)) + INTERVAL 7 DAY",
    ),
)
"""Whom to forget, and what is known of it until that is done: an erasure that was cut off goes on, and what arrives
late is erased too. Read it FINAL."""

MIGRATIONS = Table(
    "migrations",
    WAREHOUSE,
    Column("version", types.UInt32),
    Column("applied", types.DateTime("UTC")),
    engines.MergeTree(order_by=["version"]),
)
"""Versions of the schema that were applied."""

ALERTS = Table(
    "alerts",
    WAREHOUSE,
    Column("organization", TEXT),
    Column("alert", ID),
    Column("start_time", TIME),
    Column("end_time", TIME),  # 1970 while it goes on
    Column("body", types.String),  # the Alert, serialized
    Column("version", types.UInt64),
    engines.ReplacingMergeTree(version="version", order_by=["organization", "start_time", "alert"]),
)
"""Alerts; read it FINAL."""
