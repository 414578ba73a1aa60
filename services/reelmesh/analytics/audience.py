"""Who watched what, and how much is watched: what ranking and recommendation are made of.

An interaction is made of viewings, one row for each pair of a viewer and a video, by ClickHouse alone, and streamed: of
millions a few thousand are in memory here at a time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow
from sqlalchemy import ColumnElement, Select, func, select, union_all

from reelmesh.analytics.functions import during, least_id
from reelmesh.analytics.reading import Reader, latest
from reelmesh.analytics.schema import DAYS, RETENTION, ROLLUPS, SESSIONS
from reelmesh.analytics.spans import Part, Span, as_one
from reelmesh.mesh.names import VideoName

ROWS = 20_000
"""Interactions of a part: about a megabyte on the wire."""
VIDEOS = 5000
"""Rows of a part of popularity."""
_CAST = {"watch_ms": pyarrow.int64(), "completion": pyarrow.float32(), "last_ms": pyarrow.int64()}


@dataclass(frozen=True, slots=True)
class Interactions:
    """Some interactions, by columns of one length."""

    viewers: bytes
    """Pseudonyms, 16 bytes each."""
    videos: bytes
    """Ids, 16 bytes each."""
    watch_ms: pyarrow.Array
    completions: pyarrow.Array
    last_times_ms: pyarrow.Array


@dataclass(frozen=True, slots=True)
class VideoPopularity:
    """How much a video was watched; `country` is empty for all of them together."""

    video: VideoName
    country: str
    views: int
    watch_ms: int


class Audience:
    """Reads audiences."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def interactions(
        self, organization: str, start: datetime | None, end: datetime | None
    ) -> AsyncGenerator[Interactions, None]:
        """Yield who watched what in viewings that began from `start` on, before `end`, in the order of viewers.

        None is no bound. Raises Unavailable.
        """
        async with aclosing(self._reader.arrow(_interactions_query(organization, start, end))) as batches:
            async for batch in batches:
                for offset in range(0, batch.num_rows, ROWS):
                    yield _interactions(batch.slice(offset, ROWS))

    async def popularity(
        self, organization: str, span: Span, now: datetime
    ) -> AsyncGenerator[list[VideoPopularity], None]:
        """Yield how much videos were watched in a span, which is rounded outwards to what is kept of its time.

        An empty `organization` is all of them. Raises Unavailable.
        """
        parts = as_one(span, now)
        if not parts:
            return
        async with aclosing(self._reader.arrow(_popularity_query(organization, parts))) as batches:
            async for batch in batches:
                rows = [
                    VideoPopularity(VideoName(of, video), country, int(views), int(watch))
                    for of, video, country, views, watch in zip(*map(_plain, batch.columns), strict=True)
                ]
                for offset in range(0, len(rows), VIDEOS):
                    yield rows[offset : offset + VIDEOS]


def _interactions_query(organization: str, start: datetime | None, end: datetime | None) -> Select[Any]:
    """Return the query of interactions: viewer, video, watch_ms, completion, last_ms.

    A video's length is as far as anyone ever got in it: what players tell has no other.
    """
    s, edges = SESSIONS.c, RETENTION[DAYS].c
    lengths = (
        select(edges.video.label("video"), (func.max(edges.second) * 1000).label("length_ms"))
        .where(edges.organization == organization, edges.plays != 0)
        .group_by(edges.video)
        .subquery("lengths")
    )
    conditions: list[ColumnElement[bool]] = [
        s.organization == organization,
        func.length(s.viewer) == 32,
        s.watch_ms > 0,
    ]
    # The time of a viewing is in its id, by which rows are found.
    if start is not None:
        conditions.append(s.session >= least_id(_milliseconds(start)))
    if end is not None:
        conditions.append(s.session < least_id(_milliseconds(end)))
    pairs = (
        select(
            s.viewer.label("viewer"),
            s.video.label("video"),
            func.sum(s.watch_ms).label("watch_ms"),
            func.max(s.watch_ms).label("longest_ms"),
            func.max(func.toUnixTimestamp64Milli(s.first_time)).label("last_ms"),
        )
        .where(*conditions)
        .group_by(s.viewer, s.video)
        .subquery("pairs")
    )
    p, length = pairs.c, lengths.c.length_ms
    # As a function: the dialect would make decimals without digits of it.
    completion = func.if_(length > 0, func.least(func.divide(p.longest_ms, func.greatest(length, 1)), 1), 0)
    id_ = func.unhex(func.replaceAll(p.video, "-", ""))
    query = (
        select(
            func.toFixedString(func.unhex(p.viewer), 16).label("viewer"),
            func.toFixedString(id_, 16).label("video"),
            p.watch_ms.label("watch_ms"),
            func.toFloat32(completion).label("completion"),
            p.last_ms.label("last_ms"),
        )
        .select_from(pairs.outerjoin(lengths, p.video == lengths.c.video))
        .where(func.length(id_) == 16)
        .order_by(p.viewer, p.video)
    )
    return latest(query)


def _popularity_query(organization: str, parts: Sequence[Part]) -> Select[Any]:
    """Return the query of popularity: organization, video, country, views, watch_ms."""
    found = union_all(*(_part(organization, part) for part in parts)).subquery("parts").c
    # Each row counts for its country and, as "", for all of them; one of no known country for all alone.
    country = func.arrayJoin(func.arrayDistinct(func.array("", found.country))).label("of_country")
    query = (
        select(
            found.organization.label("of"),
            found.video.label("of_video"),
            country,
            func.sum(found.views).label("all_views"),
            func.sum(found.watch_ms).label("all_watch_ms"),
        )
        .group_by(found.organization, found.video, country)
        .having(func.sum(found.views) > 0)
    )
    return latest(query)


def _part(organization: str, part: Part) -> Select[Any]:
    c = ROLLUPS[part.rollup].c
    conditions = list(during(c.bucket, part.span))
    if organization:
        conditions.append(c.organization == organization)
    return select(
        c.organization.label("organization"),
        c.video.label("video"),
        c.country.label("country"),
        c.views.label("views"),
        c.watch_ms.label("watch_ms"),
    ).where(*conditions)


def _interactions(batch: pyarrow.RecordBatch) -> Interactions:
    viewers, videos, watch, completion, last = batch.columns
    return Interactions(
        viewers=_bytes(viewers),
        videos=_bytes(videos),
        watch_ms=watch.cast(_CAST["watch_ms"]),
        completions=completion.cast(_CAST["completion"]),
        last_times_ms=last.cast(_CAST["last_ms"]),
    )


def _bytes(column: pyarrow.Array) -> bytes:
    """Return the ids of a column, one behind the other."""
    fixed = column.cast(pyarrow.binary(16))
    start = fixed.offset * 16
    every: bytes = fixed.buffers()[1].to_pybytes()
    return every[start : start + len(fixed) * 16]


def _plain(column: pyarrow.Array) -> list[Any]:
    return [each.decode() if isinstance(each, bytes) else each for each in column.to_pylist()]


def _milliseconds(time: datetime) -> int:
    return max(0, int(time.timestamp() * 1000))
