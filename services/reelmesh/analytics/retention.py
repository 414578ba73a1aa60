"""How much of a video is watched: plays by its seconds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from reelmesh.analytics.functions import during
from reelmesh.analytics.reading import Reader, latest
from reelmesh.analytics.schema import DAYS, RETENTION, ROLLUPS
from reelmesh.analytics.spans import LENGTHS, Span, rounded
from reelmesh.mesh.names import VideoName

LONGEST = 48 * 3600
"""Seconds of a curve at most; what plays behind them is not told."""


@dataclass(frozen=True, slots=True)
class Curve:
    """How often each second of a video played."""

    plays: Sequence[int]
    """By second, from 0 to the last that played."""
    starts: int
    """Starts of the video in the same time."""


class Retention:
    """Reads curves."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def curve(self, video: VideoName, span: Span) -> Curve:
        """Return the curve of a video over the days of a span. Raises Unavailable."""
        days = rounded(span, LENGTHS[DAYS])
        edges, starts = RETENTION[DAYS].c, ROLLUPS[DAYS].c
        plays = func.sum(edges.plays)
        curve = (
            select(edges.second, plays)
            .where(
                edges.organization == video.organization,
                edges.video == video.id,
                *during(edges.bucket, days),
                edges.second <= LONGEST,
            )
            .group_by(edges.second)
            .having(plays != 0)
            .order_by(edges.second)
        )
        begun = select(func.sum(starts.starts)).where(
            starts.organization == video.organization,
            starts.video == video.id,
            *during(starts.bucket, days),
        )
        found = await self._reader.rows(latest(curve))
        counted = await self._reader.rows(latest(begun))
        return Curve(summed([(int(second), int(plays)) for second, plays in found]), int(counted[0][0]))


def summed(edges: Sequence[tuple[int, int]]) -> Sequence[int]:
    """Return the plays of each second from the edges of a curve, given in order, up to the last that played."""
    plays: list[int] = []
    level = 0
    for (second, step), following in itertools.zip_longest(edges, edges[1:]):
        plays += [0] * (second - len(plays))
        level += step
        # Behind the last edge nothing plays, unless the curve goes on behind what is told.
        plays += [level] * (1 if following is None else following[0] - second)
    while plays and plays[-1] <= 0:
        plays.pop()
    return plays
