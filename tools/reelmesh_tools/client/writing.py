"""Writes what the platform exports to a file: Arrow as it comes, or CSV."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow
import pyarrow.csv

_ID = 16


class _Stream(io.RawIOBase):
    """The parts of a stream, read as a file."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        super().__init__()
        self._parts = iter(parts)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        while not self._rest:
            try:
                self._rest = memoryview(next(self._parts))
            except StopIteration:
                return 0
        size = min(len(target), len(self._rest))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def write(parts: Iterable[bytes], file: Path, *, csv: bool) -> int:
    """Write an Arrow IPC stream to a file, and return how many rows it has; the file is there once it is whole."""
    unfinished = file.with_name(f"{file.name}.part")
    try:
        with unfinished.open("wb") as sink:
            rows = _write(parts, sink, csv=csv)
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
    return rows


def _write(parts: Iterable[bytes], sink: io.BufferedWriter, *, csv: bool) -> int:
    rows = 0
    with pyarrow.ipc.open_stream(io.BufferedReader(_Stream(parts))) as reader:
        schema = pyarrow.schema(_flat(field) for field in reader.schema) if csv else reader.schema
        make = pyarrow.csv.CSVWriter if csv else pyarrow.ipc.new_stream
        with make(sink, schema) as writer:
            for batch in reader:
                rows += batch.num_rows
                writer.write_batch(_plain(batch, schema) if csv else batch)
    return rows


def _flat(field: pyarrow.Field) -> pyarrow.Field:
    """Return what CSV can say: ids and lists become texts."""
    nested = pyarrow.types.is_fixed_size_binary(field.type) or pyarrow.types.is_list(field.type)
    return pyarrow.field(field.name, pyarrow.string()) if nested else field


def _plain(batch: pyarrow.RecordBatch, schema: pyarrow.Schema) -> pyarrow.RecordBatch:
    columns = []
    for column in batch.columns:
        if pyarrow.types.is_fixed_size_binary(column.type):
            columns.append(pyarrow.array(_ids(column), pyarrow.string()))
        elif pyarrow.types.is_list(column.type):
            columns.append(pyarrow.array([" ".join(each) for each in column.to_pylist()], pyarrow.string()))
        else:
            columns.append(column)
    return pyarrow.RecordBatch.from_arrays(columns, schema=schema)


def _ids(column: pyarrow.Array) -> Iterator[str]:
    """Write ids as people do; nothing for the one that is all zeros."""
    for value in column.to_pylist():
        yield str(uuid.UUID(bytes=value)) if len(value) == _ID and any(value) else ""
