"""The statements that count roll-ups anew.

A bucket is counted from what lies below it and never added to: rows of its keys replace those of earlier counts, and a
key that has vanished gets a row of zeros. Buckets are named by organization and start, in seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Insert, Select, Table, column, func, literal, literal_column, select, tuple_
from sqlalchemy.sql.expression import FromClause

from reelmesh.analytics.columns import EVENTS, player_name
from reelmesh.analytics.functions import final, lambda_of
from reelmesh.analytics.schema import (
    DAYS,
    DIMENSIONS,
    FACET_KEYS,
    FACETS,
    FACETS_OF,
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
    start: ColumnElement[Any] = getattr(func, _START[rollup])(time)
    return start


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
    query = select(*(counted[each.name].label(each.name) for each in target.columns))
    return _insert(target, _within(query, EVENTS, e.minute, rollup, buckets).group_by(*_keys(counted)))


def of_rollup(rollup: str, below: str, buckets: Sequence[Bucket], version: int) -> Insert:
    """Return the statement that counts buckets from those of the roll-up below."""
    return _summed(ROLLUPS[rollup], ROLLUPS[below], DIMENSIONS, rollup, buckets, version)


def facets_of_rollup(rollup: str, buckets: Sequence[Bucket], version: int) -> Insert:
    """Return the statement that counts facets from the roll-up of the same buckets."""
    source, target = ROLLUPS[rollup], FACETS[rollup]
    one_each = func.array(func.tuple("", ""), *(func.tuple(name, func.toString(source.c[name])) for name in FACETS_OF))
    # A viewing counts in each of its arms, and under no name where it is in none.
    arms = func.emptyArrayToSingle(source.c.experiments)
    arm = func.tuple("experiment", func.toString(column("arm")))
    of_arms = func.arrayMap(lambda_of("arm", arm), arms)
    facet = func.arrayJoin(func.arrayConcat(one_each, of_arms))
    measures = [source.c[name] for name in (*MEASURES, "startup", "viewers")]
    found = select(source.c.organization, source.c.bucket, facet.label("facet"), *measures).where(source.c.events > 0)
    inner = _within(found, source, source.c.bucket, rollup, buckets).subquery("found")
    counted: dict[str, ColumnElement[Any]] = {
        "organization": inner.c.organization,
        "dimension": func.tupleElement(inner.c.facet, 1),
        "bucket": inner.c.bucket,
        "value": func.tupleElement(inner.c.facet, 2),
        **_sums(inner, version),
    }
    query = select(*(counted[each.name].label(each.name) for each in target.columns))
    return _insert(target, query.group_by(*(counted[name] for name in FACET_KEYS)))


def facets_of_facets(rollup: str, below: str, buckets: Sequence[Bucket], version: int) -> Insert:
    """Return the statement that counts facets from those of shorter buckets."""
    return _summed(FACETS[rollup], FACETS[below], FACET_KEYS, rollup, buckets, version)


def _summed(
    target: Table, source: Table, keys: Sequence[str], rollup: str, buckets: Sequence[Bucket], version: int
) -> Insert:
    counted: dict[str, ColumnElement[Any]] = {name: source.c[name] for name in keys}
    counted |= _sums(source, version)
    counted["bucket"] = start_of(rollup, source.c.bucket)
    query = select(*(counted[each.name].label(each.name) for each in target.columns))
    grouped = _within(query, source, source.c.bucket, rollup, buckets).group_by(*(counted[name] for name in keys))
    return _insert(target, grouped)


def _sums(source: FromClause, version: int) -> dict[str, ColumnElement[Any]]:
    return {
        **{name: func.sum(source.c[name]) for name in MEASURES},
        "startup": _startup("MergeState", f"{source.description}.startup"),
        "viewers": func.uniqCombined64MergeState(source.c.viewers),
        "version": literal(version),
    }


def vanished(rollup: str, buckets: Sequence[Bucket], version: int) -> Insert:
    """Return the statement that sets to zero what the count of this version did not find."""
    return _zeros(ROLLUPS[rollup], DIMENSIONS, rollup, buckets, version)


def facets_vanished(rollup: str, buckets: Sequence[Bucket], version: int) -> Insert:
    """Return the statement that sets to zero the facets that the count of this version did not find."""
    return _zeros(FACETS[rollup], FACET_KEYS, rollup, buckets, version)


def _zeros(target: Table, keys: Sequence[str], rollup: str, buckets: Sequence[Bucket], version: int) -> Insert:
    zeros: dict[str, ColumnElement[Any]] = {name: target.c[name] for name in keys}
    zeros |= {name: literal(0) for name in MEASURES}
    zeros["startup"] = _startup("MergeStateIf", f"{target.name}.startup, 0")
    zeros["viewers"] = func.uniqCombined64MergeStateIf(target.c.viewers, literal(0))
    zeros["version"] = literal(version)
    query = (
        select(*(zeros[each.name].label(each.name) for each in target.columns))
        .where(target.c.version < version, target.c.events > 0)
        .group_by(*(target.c[name] for name in keys))
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
    ordered = {each.name: each for each in keys}
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
    return target.insert().from_select([each.name for each in target.columns], query)


def _keys(counted: dict[str, ColumnElement[Any]]) -> Iterator[ColumnElement[Any]]:
    return (counted[name] for name in DIMENSIONS)


def _within(
    query: Select[Any], source: Table, time: ColumnElement[Any], rollup: str, buckets: Sequence[Bucket]
) -> Select[Any]:
    """Leave the rows of the buckets, each in its latest version."""
    starts = [start for _, start in buckets]
    length = {MINUTES: 60, HOURS: 3600, DAYS: 86_400}[rollup]
    wanted = query.where(
        # The first two are for the index, which does not look into functions of a column.
        time >= func.toDateTime(min(starts), "UTC"),
        time < func.toDateTime(max(starts) + length, "UTC"),
        source.c.organization.in_(sorted({organization for organization, _ in buckets})),
        tuple_(source.c.organization, func.toUnixTimestamp(start_of(rollup, time))).in_(list(buckets)),
    )
    return final(wanted, source)
