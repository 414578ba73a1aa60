"""What lies in a trainer's folder: how it is written for it, and how it is read there. See trainer.py for the files."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow
import pyarrow.compute

from reelmesh.mesh.pseudonyms import SIZE

SCHEMA = pyarrow.schema(
    [
        ("viewer", pyarrow.binary(SIZE)),
        ("video", pyarrow.binary(16)),
        ("watch_ms", pyarrow.int64()),
        ("completion", pyarrow.float32()),
        ("last_ms", pyarrow.int64()),
    ]
)
"""Interactions: one row for each viewer and video, in the order of viewers."""
REQUEST, RESULT = "request.json", "result.json"
EVERYTHING, HISTORY, WORKS, LEFT_OUT = "everything.arrow", "history.arrow", "works.json", "left_out.bin"
RUNNING, JUDGED, MODEL = "running", "judged", "model"


@dataclass(frozen=True, slots=True)
class Times:
    """When the viewings of a file began."""

    rows: int
    last_ms: Any
    """Array of the times of all rows."""

    def quantile(self, part: float) -> int:
        """Return the time before which a part of the rows' last viewings began. There has to be a row."""
        return int(pyarrow.compute.quantile(self.last_ms, part)[0].as_py())


async def write_interactions(file: Path, batches: AsyncGenerator[pyarrow.RecordBatch, None]) -> int:
    """Write interactions as they come, and return how many there are."""
    rows = 0
    with pyarrow.OSFile(str(file), "wb") as sink, pyarrow.ipc.new_file(sink, SCHEMA) as writer:
        async with aclosing(batches):
            async for batch in batches:
                rows += batch.num_rows
                writer.write_batch(batch)
    return rows


def times_of(file: Path) -> Times:
    """Return when the viewings of a file began."""
    with pyarrow.memory_map(str(file)) as source, pyarrow.ipc.open_file(source) as reader:
        column = reader.read_all()["last_ms"]
        return Times(len(column), pyarrow.concat_arrays(column.chunks) if column.num_chunks else pyarrow.array([]))


def write_works(file: Path, interactions: Path, work_of: Callable[[str], str | None]) -> None:
    """Write which film or series each video of some interactions counts for; those of none are left out."""
    with pyarrow.memory_map(str(interactions)) as source, pyarrow.ipc.open_file(source) as reader:
        videos = pyarrow.compute.unique(reader.read_all()["video"]).to_pylist()
    found = {video.hex(): work_of(str(UUID(bytes=video))) for video in videos}
    file.write_text(json.dumps({video: work for video, work in found.items() if work is not None}))


def read_works(file: Path) -> Mapping[bytes, str]:
    """Return which film or series videos count for."""
    return {bytes.fromhex(video): work for video, work in json.loads(file.read_bytes()).items()}


def write_pseudonyms(file: Path, pseudonyms: Collection[bytes]) -> None:
    """Write pseudonyms, one behind the other."""
    file.write_bytes(b"".join(sorted(pseudonyms)))


def read_pseudonyms(file: Path) -> frozenset[bytes]:
    """Return the pseudonyms of a file."""
    data = file.read_bytes()
    return frozenset(data[at : at + SIZE] for at in range(0, len(data), SIZE))


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder that is made."""
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder by name."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}
