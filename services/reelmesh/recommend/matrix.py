"""Who watched which titles before a point in time, and what they watched later, as sparse matrices."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from numpy.typing import NDArray
from scipy import sparse

from reelmesh.mesh.pseudonyms import SIZE
from reelmesh.recommend.interactions import Doubles, strengths, weights

LEAST_VIEWERS = 3
"""Viewers that a title has to have: what fewer watched says more of them than of the title."""
DAY_MS = 86_400_000

Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Interactions:
    """Interactions as they are read, by columns of one length."""

    viewers: bytes
    """Pseudonyms of the viewers, one behind the other, each once."""
    viewer: Codes
    """Place among those."""
    videos: list[bytes]
    watch_seconds: Doubles
    completions: Doubles
    last_ms: Codes

    def __len__(self) -> int:
        return len(self.viewer)


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """Viewings before a point in time: u viewers, n titles. A viewer's row has strengths; 0 is not watched."""

    strengths: Any
    """CSR matrix (u, n) of float32."""
    titles: tuple[str, ...]
    """Ids of the columns, in their order."""
    viewers: bytes
    """Pseudonyms of the rows, in their order."""

    @property
    def popularity(self) -> NDArray[np.float32]:
        """Viewers of each title."""
        counted = np.bincount(self.strengths.indices, minlength=len(self.titles))
        return counted.astype(np.float32)

    def confidences(self, alpha: float) -> Any:
        """Return the matrix that least squares are weighed by: 1 + alpha · strength where something was watched."""
        found = self.strengths.copy()
        found.data = (1 + alpha * found.data).astype(np.float32)
        return found


def read(file: Path, without: Collection[bytes] = frozenset()) -> Interactions:
    """Read a file of interactions (spool.SCHEMA); `without` are pseudonyms of viewers to leave out."""
    with pyarrow.memory_map(str(file)) as source, pyarrow.ipc.open_file(source) as reader:
        table = reader.read_all().combine_chunks()
    viewers = _ids(table["viewer"])
    first = np.ones(len(viewers), bool)
    first[1:] = (viewers[1:] != viewers[:-1]).any(axis=1)
    codes = np.cumsum(first) - 1
    every = viewers[first]
    kept = np.ones(len(every), bool)
    if without:
        barred = set(without)
        kept = np.array([row.tobytes() not in barred for row in every], bool)
    rows = kept[codes] if len(codes) else np.zeros(0, bool)
    places = np.cumsum(kept) - 1
    videos = _ids(table["video"])[rows].tobytes()
    return Interactions(
        viewers=every[kept].tobytes(),
        viewer=places[codes[rows]],
        videos=[videos[at : at + 16] for at in range(0, len(videos), 16)],
        watch_seconds=table["watch_ms"].to_numpy()[rows] / 1000,
        completions=table["completion"].to_numpy()[rows].astype(np.float64),
        last_ms=table["last_ms"].to_numpy()[rows],
    )


def matrix_of(history: Interactions, works: Mapping[bytes, str], now_ms: int) -> Matrix:
    """Return the matrix of a history; `works` says which film or series each video counts for. Others are left out."""
    names = sorted(set(works.values()))
    places = {name: place for place, name in enumerate(names)}
    column = _columns(history, works, places)
    count = _weights(history, now_ms)
    used = (column >= 0) & (count > 0)
    viewers = len(history.viewers) // SIZE
    made = sparse.csr_matrix((count[used], (history.viewer[used], column[used])), shape=(viewers, len(names)))
    made.sum_duplicates()
    watched = np.flatnonzero(np.bincount(made.indices, minlength=len(names)) >= LEAST_VIEWERS)
    made = made[:, watched]
    there = np.flatnonzero(np.diff(made.indptr))
    made = made[there]
    made.data = strengths(made.data).astype(np.float32)
    made.sort_indices()
    rows = np.frombuffer(history.viewers, np.uint8).reshape(-1, SIZE)[there]
    return Matrix(made, tuple(names[place] for place in watched), rows.tobytes())


def later_of(everything: Interactions, matrix: Matrix, works: Mapping[bytes, str], split_ms: int, now_ms: int) -> Any:
    """Return what the matrix's viewers watched from a time on and never before: CSR, of its shape, 1 where they did."""
    rows = {matrix.viewers[at : at + SIZE]: at // SIZE for at in range(0, len(matrix.viewers), SIZE)}
    theirs = [rows.get(everything.viewers[at : at + SIZE], -1) for at in range(0, len(everything.viewers), SIZE)]
    row = np.asarray(theirs, np.int64)[everything.viewer] if theirs else np.zeros(0, np.int64)
    column = _columns(everything, works, {title: place for place, title in enumerate(matrix.titles)})
    used = (row >= 0) & (column >= 0) & (everything.last_ms >= split_ms) & (_weights(everything, now_ms) > 0)
    ones = np.ones(int(used.sum()), np.float32)
    later = sparse.csr_matrix((ones, (row[used], column[used])), shape=matrix.strengths.shape)
    later.sum_duplicates()
    later.data[:] = 1
    later = later - later.multiply(matrix.strengths > 0)
    later.eliminate_zeros()
    later.sort_indices()
    return later


def _weights(read_: Interactions, now_ms: int) -> Doubles:
    return weights(read_.watch_seconds, read_.completions, (now_ms - read_.last_ms) / DAY_MS)


def _columns(read_: Interactions, works: Mapping[bytes, str], places: Mapping[str, int]) -> Codes:
    of_video = {video: places.get(title, -1) for video, title in works.items()}
    return np.fromiter((of_video.get(video, -1) for video in read_.videos), np.int64, len(read_))


def _ids(column: pyarrow.ChunkedArray) -> NDArray[np.uint8]:
    """Return a column of ids as rows of bytes."""
    whole = column.combine_chunks() if isinstance(column, pyarrow.ChunkedArray) else column
    if isinstance(whole, pyarrow.ChunkedArray):  # of no chunks
        return np.zeros((0, 16), np.uint8)
    data = np.frombuffer(whole.buffers()[1], np.uint8) if len(whole) else np.zeros(0, np.uint8)
    return data.reshape(-1, 16)[whole.offset : whole.offset + len(whole)]
