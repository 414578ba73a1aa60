"""A generated audience with planted structure: clusters of taste, popularity by Zipf's law, and time that changes both.

A title is of one cluster and comes out one day; it is watched most when it is new, and by Zipf's law within its
cluster. A viewer likes a few clusters, more or less, and one of them takes the place of another as the year goes by.
Some of what everyone watches is of none of theirs, and watched for a shorter time. Nothing is real, and nothing else is
in it: what a recommender finds here says that it finds such structure, and not how well it does for a real audience.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from numpy.typing import NDArray

from reelmesh.recommend.matrix import DAY_MS
from reelmesh.recommend.spool import EVERYTHING, HISTORY, LEFT_OUT, REQUEST, SCHEMA, WORKS

DAYS = 360
EPOCHS = 12
"""Times in which everything is alike."""
LIKED = 3
"""Clusters that a viewer likes."""
STRAY = 0.2
"""Part of viewings that are of no liked cluster."""
EPISODES = 6
"""Episodes of a series."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is made."""

    viewers: int
    titles: int
    interactions: int
    """Viewings; some are of what the viewer had watched before, and make no interaction of their own."""
    clusters: int = 40
    series: float = 0.0
    """Part of titles that are series, of which some episodes are watched."""


@dataclass(frozen=True, slots=True, eq=False)
class Taste:
    """Viewings, sorted by viewer, by columns of one length."""

    size: Size
    viewer: NDArray[np.int64]
    title: NDArray[np.int64]
    episode: NDArray[np.int64]
    """0 of a film."""
    seconds: NDArray[np.float64]
    parts: NDArray[np.float64]
    """Part that was watched."""
    time_ms: NDArray[np.int64]

    def write(self, folder: Path, split_ms: int, now_ms: int, **request: Any) -> None:
        """Leave what a trainer takes in a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._interactions(folder / EVERYTHING, np.ones(len(self.viewer), bool))
        self._interactions(folder / HISTORY, self.time_ms < split_ms)
        videos = np.unique(self._video)
        works = {int(video).to_bytes(16).hex(): _title(int(video) // (EPISODES + 1)) for video in videos}
        (folder / WORKS).write_text(json.dumps(works))
        (folder / LEFT_OUT).write_bytes(b"")
        (folder / REQUEST).write_text(json.dumps({"split_ms": split_ms, "now_ms": now_ms, **request}))

    @property
    def _video(self) -> NDArray[np.int64]:
        return self.title * (EPISODES + 1) + self.episode

    def _interactions(self, file: Path, which: NDArray[np.bool_]) -> None:
        """Write one row for each viewer and video, as analytics makes them."""
        pair = self.viewer[which] * (1 << 32) + self._video[which]
        order = np.lexsort((self.time_ms[which], pair))
        pair = pair[order]
        first = np.flatnonzero(np.r_[True, pair[1:] != pair[:-1]]) if len(pair) else np.zeros(0, np.int64)
        last = np.r_[first[1:], len(pair)] - 1 if len(pair) else first
        seconds, parts = self.seconds[which][order], self.parts[which][order]
        columns = [
            _ids(pair[first] >> 32),
            _ids(pair[first] & 0xFFFFFFFF),
            pyarrow.array((np.add.reduceat(seconds, first) * 1000).astype(np.int64) if len(first) else first),
            pyarrow.array((np.maximum.reduceat(parts, first) if len(first) else first).astype(np.float32)),
            pyarrow.array(self.time_ms[which][order][last] if len(first) else first),
        ]
        with pyarrow.OSFile(str(file), "wb") as sink, pyarrow.ipc.new_file(sink, SCHEMA) as writer:
            writer.write_table(pyarrow.Table.from_arrays(columns, schema=SCHEMA))


def taste(size: Size, seed: int, end_ms: int = 1_760_000_000_000) -> Taste:
    """Make viewings of the days before a time."""
    chance = np.random.default_rng(seed)
    cluster = chance.integers(size.clusters, size=size.titles)
    popularity = _popularity(size, cluster, chance)
    # Few viewers watch much, and many a little.
    activity = chance.lognormal(0, 0.9, size.viewers)
    viewer = np.sort(chance.choice(size.viewers, size.interactions, p=activity / activity.sum()))
    day = chance.random(size.interactions) * DAYS
    epoch = (day / DAYS * EPOCHS).astype(np.int64)
    title = np.empty(size.interactions, np.int64)
    stray = chance.random(size.interactions) < STRAY
    wanted = np.where(stray, chance.integers(size.clusters, size=size.interactions), _liked(size, viewer, day, chance))
    group = epoch * size.clusters + wanted
    order = np.argsort(group, kind="stable")
    bounds = np.searchsorted(group[order], np.arange(EPOCHS * size.clusters + 1))
    members = [np.flatnonzero(cluster == each) for each in range(size.clusters)]
    for each in range(EPOCHS * size.clusters):
        here = order[bounds[each] : bounds[each + 1]]
        those = members[each % size.clusters]
        weight = popularity[each // size.clusters, those]
        title[here] = chance.choice(those, len(here), p=weight / weight.sum())
    parts = np.where(stray, chance.beta(1.2, 2.5, size.interactions), chance.beta(4, 1.5, size.interactions))
    series = chance.random(size.titles) < size.series
    episode = np.where(series[title], chance.integers(1, EPISODES + 1, size.interactions), 0)
    length = np.where(series, 45 * 60, chance.uniform(80, 140, size.titles) * 60)
    time = (end_ms - (DAYS - day) * DAY_MS).astype(np.int64)
    return Taste(size, viewer, title, episode, parts * length[title], parts, time)


def split_of(made: Taste, part: float = 0.1) -> int:
    """Return the time after which a part of the viewings began."""
    return int(np.quantile(made.time_ms, 1 - part))


def _popularity(size: Size, cluster: NDArray[np.int64], chance: np.random.Generator) -> NDArray[np.float64]:
    """Return how much each title is watched in each epoch, (epochs, titles)."""
    rank = np.empty(size.titles)
    for each in range(size.clusters):
        members = np.flatnonzero(cluster == each)
        rank[members] = chance.permutation(len(members)) + 1
    # Two thirds were there before; the others come out in the course of the year.
    before, during = -chance.exponential(EPOCHS, size.titles), chance.random(size.titles) * EPOCHS
    release = np.where(chance.random(size.titles) < 2 / 3, before, during)
    age = np.arange(EPOCHS)[:, None] + 1 - release[None, :]
    fresh = np.where(age > 0, 0.25 + np.exp(-np.maximum(age, 0) / 2), 1e-9)
    found: NDArray[np.float64] = fresh / rank**0.9
    return found


def _liked(
    size: Size, viewer: NDArray[np.int64], day: NDArray[np.float64], chance: np.random.Generator
) -> NDArray[np.int64]:
    """Return a liked cluster of the viewer of each viewing."""
    # The last one takes the place of the first in the course of the year.
    likes = chance.integers(size.clusters, size=(size.viewers, LIKED + 1))
    share = chance.dirichlet(np.full(LIKED, 1.5), size.viewers).cumsum(axis=1)
    which = (chance.random(len(viewer))[:, None] > share[viewer]).sum(axis=1).clip(0, LIKED - 1)
    moved = (which == 0) & (chance.random(len(viewer)) < day / DAYS)
    found: NDArray[np.int64] = likes[viewer, np.where(moved, LIKED, which)]
    return found


def _title(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012x}"


def _ids(numbers: NDArray[np.int64]) -> pyarrow.Array:
    """Return numbers as ids of 16 bytes."""
    wide = np.zeros((len(numbers), 2), ">u8")
    wide[:, 1] = numbers
    data = pyarrow.py_buffer(wide.tobytes())
    return pyarrow.FixedSizeBinaryArray.from_buffers(pyarrow.binary(16), len(numbers), [None, data])
