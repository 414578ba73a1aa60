"""The statements that count roll-ups anew.

A bucket is counted from what lies below it and never added to: rows of its keys replace those of earlier counts, and a
key that has vanished gets a row of zeros. Buckets are named by organization and start, in seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Insert, Select, Table, func, literal, literal_column, select, tuple_

from reelmesh.analytics.columns import EVENTS, player_name
from reelmesh.analytics.schema import (
    DAYS,
    DIMENSIONS,
    HOURS,
    MEASURES,
    MINUTES,
    RETENTION,
    RETENTION_KEYS,
    ROLLUPS,
    STARTUP,
)

Bucket = tuple[str, int]
"""Organization, and when it starts."""

_START = {MINUTES: "toStartOfMinute", HOURS: "toStartOfHour", DAYS: "toStartOfDay"}
_NOBODY = func.toFixedString("", 16)


def start_of(rollup: str, time: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the bucket of a roll-up that a time is in."""
    return getattr(func, _START[rollup])(time)  # type: ignore[no-any-return]


def _startup(suffix: str, arguments: str) -> ColumnElement[Any]:
    name, _, levels = STARTUP.partition("(")
    return literal_column(f"{name}{suffix}({levels}({arguments})")


def of_events(rollup: str, buckets: Sequence[Bucket], version: int) -> Insert:
    """Return the statement that counts buckets from the raw events."""
    e = EVENTS.c
    weight = e.weight

    def views(*names: str) -> ColumnElement[Any]:
        return func.sumIf(weight, e.type.in_(names))

    def total(value: ColumnElement[Any]) -> ColumnElement[Any]:
        return func.toUInt64(func.sum(weight * value))

    counted: dict[str, ColumnElement[Any]] = {
        "organization": e.organization,
        "bucket": start_of(rollup, e.minute),
        "video": e.video,
        "rendition": e.rendition,
        "cdn": e.cdn,
        "country": e.country,
        "device": e.device,
        "player_version": player_name(e.player, e.player_version),
        "experiments": e.experiments,
        "events": func.count(),
        "views": views("REQUESTED"),
        "starts": views("STARTED"),
        "failures": views("FAILED"),
        "exits": views("EXITED_BEFORE_START"),
        "startup_ms": func.toUInt64(func.sumIf(weight * e.startup_ms, e.type == "STARTED")),
        "watch_ms": total(e.watch_ms),
        "stall_ms": total(e.stall_ms),
        "stalls": total(e.stalls),
        "switches": total(e.switches),
        "upscaled_ms": total(e.upscaled_ms),
        "dropped_frames": total(e.dropped_frames),
        "media_bytes": total(e.media_bytes),
        "bitrate_watch": total(e.bitrate_kbps * e.watch_ms),
        "startup": _startup("StateIf", "events.startup_ms, events.weight, events.type = 'STARTED'"),
        "viewers": func.uniqCombined64StateIf(e.viewer, e.viewer != _NOBODY),
        "version": literal(version),
    }
    target = ROLLUPS[rollup]
    query = select(*(counted[column.name].label(column.name) for column in target.columns))
    return _insert(target, _within(query, EVENTS, e.minute, rollup, buckets).group_by(*_keys(counted)))


def of_rollup(rollup: str, below: str, buckets: Sequence[Bucket], version: int) -> Insert:
    """Return the statement that counts buckets from those of the roll-up below."""
    source, target = ROLLUPS[below], ROLLUPS[rollup]
    counted: dict[str, ColumnElement[Any]] = {name: source.c[name] for name in DIMENSIONS}
    counted |= {name: func.sum(source.c[name]) for name in MEASURES}
    counted["bucket"] = start_of(rollup, source.c.bucket)
    counted["startup"] = _startup("MergeState", f"{below}.startup")
    counted["viewers"] = func.uniqCombined64MergeState(source.c.viewers)
    counted["version"] = literal(version)
    query = select(*(counted[column.name].label(column.name) for column in target.columns))
    return _insert(target, _within(query, source, source.c.bucket, rollup, buckets).group_by(*_keys(counted)))


def vanished(rollup: str, buckets: Sequence[Bucket], version: int) -> Insert:
    """Return the statement that sets to zero what the count of this version did not find."""
    target = ROLLUPS[rollup]
    zeros: dict[str, ColumnElement[Any]] = {name: target.c[name] for name in DIMENSIONS}
    zeros |= {name: literal(0) for name in MEASURES}
    zeros["startup"] = _startup("MergeStateIf", f"{rollup}.startup, 0")
    zeros["viewers"] = func.uniqCombined64MergeStateIf(target.c.viewers, literal(0))
    zeros["version"] = literal(version)
    query = (
        select(*(zeros[column.name].label(column.name) for column in target.columns))
        .where(target.c.version < version, target.c.events > 0)
        .group_by(*(target.c[name] for name in DIMENSIONS))
    )
    return _insert(target, _within(query, target, target.c.bucket, rollup, buckets))


def retention_of_events(rollup: str, buckets: Sequence[Bucket], version: int) -> Insert:
    """Return the statement that counts edges of the retention curve from the raw events.

    A watch from one position to another is an edge up at the second of the one and an edge down at that of the other:
    where the next goes on from there, the two cancel.
    """
    e = EVENTS.c
    up, down = func.intDiv(e.watched_from_ms, 1000), func.intDiv(e.position_ms, 1000)
    weight = func.toInt64(e.weight)
    edges = func.arrayJoin(func.array(func.tuple(up, weight), func.tuple(down, -weight)))
    found = select(e.organization, e.video, start_of(rollup, e.minute).label("at"), edges.label("edge")).where(
        e.watch_ms > 0, e.watched_from_ms >= 0, e.position_ms > e.watched_from_ms
    )
    inner = _within(found, EVENTS, e.minute, rollup, buckets).subquery("found")
    second = func.toUInt32(func.tupleElement(inner.c.edge, 1))
    plays = func.sum(func.tupleElement(inner.c.edge, 2))
    query = (
        select(inner.c.organization, inner.c.video, inner.c["at"], second, plays, literal(version))
        .group_by(inner.c.organization, inner.c.video, inner.c["at"], second)
        .having(plays != 0)
    )
    return _insert(RETENTION[rollup], query)


def retention_of_minutes(buckets: Sequence[Bucket], version: int) -> Insert:
    """Return the statement that counts edges of days from those of minutes."""
    source = RETENTION[MINUTES]
    day, plays = start_of(DAYS, source.c.bucket), func.sum(source.c.plays)
    keys = (source.c.organization, source.c.video, day, source.c.second)
    query = select(*keys, plays, literal(version))
    return _insert(
        RETENTION[DAYS],
        _within(query, source, source.c.bucket, DAYS, buckets).group_by(*keys).having(plays != 0),
    )


def retention_vanished(rollup: str, buckets: Sequence[Bucket], version: int) -> Insert:
    """Return the statement that sets to zero the edges that the count of this version did not find."""
    target = RETENTION[rollup]
    keys = [target.c[name] for name in RETENTION_KEYS]
    ordered = {column.name: column for column in keys}
    query = select(
        ordered["organization"],
        ordered["video"],
        ordered["bucket"],
        ordered["second"],
        literal(0),
        literal(version),
    ).where(target.c.version < version, target.c.plays != 0)
    return _insert(target, _within(query, target, target.c.bucket, rollup, buckets))


def _insert(target: Table, query: Select[Any]) -> Insert:
    return target.insert().from_select([column.name for column in target.columns], query)


def _keys(counted: dict[str, ColumnElement[Any]]) -> Iterator[ColumnElement[Any]]:
    return (counted[name] for name in DIMENSIONS)


def _within(
    query: Select[Any], source: Table, time: ColumnElement[Any], rollup: str, buckets: Sequence[Bucket]
) -> Select[Any]:
    """Leave the rows of the buckets, each in its latest version."""
    starts = [start for _, start in buckets]
    length = {MINUTES: 60, HOURS: 3600, DAYS: 86_400}[rollup]
    latest: Select[Any] = query.where(
        # The first two are for the index, which does not look into functions of a column.
        time >= func.toDateTime(min(starts), "UTC"),
        time < func.toDateTime(max(starts) + length, "UTC"),
        source.c.organization.in_(sorted({organization for organization, _ in buckets})),
        tuple_(source.c.organization, func.toUnixTimestamp(start_of(rollup, time))).in_(list(buckets)),
    ).final(source)  # type: ignore[attr-defined]  # the dialect adds it
    return latest
