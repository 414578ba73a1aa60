"""Nearest titles by their vectors: from memory, as the service does it, and by Cassandra's vector index (SAI)."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reelmesh.mesh.config import load
from reelmesh.stores.cassandra import Cassandra, Statement
from reelmesh_tools.bench.errors import BenchError
from reelmesh_tools.stack.lifecycle import running_stack

NEAREST = 100
"""Titles that are asked for."""
QUERIES = 300
WRITES = 32
"""Rows that are written at once."""
WARM = 20
"""Queries that are asked before any is timed."""
INDEX_SECONDS = 600
"""How long Cassandra may take to index them."""
HEAP = "4g"
"""Cassandra's heap: in the 512 MiB of a local platform it collected garbage instead of indexing 200,000 vectors."""
KEYSPACE = "bench_vectors"

Floats = NDArray[np.float32]
Say = Callable[[str], None]


def measure(vectors: Floats, sizes: Sequence[int], say: Say) -> dict[str, Any]:
    """Time both for so many titles each, on a Cassandra of its own."""
    with tempfile.TemporaryDirectory(prefix="reelmesh-bench-") as folder:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        say("Cassandra")
        environment = {**os.environ, "_JAVA_OPTIONS": f"-Xmx{HEAP}"}  # Java puts these behind the server's own
        with running_stack(Path(folder), port, ["cassandra"], environment) as stack:
            return asyncio.run(_measure(load(stack.layout.services_file).cassandra, vectors, sizes, say))


async def _measure(config: Any, vectors: Floats, sizes: Sequence[int], say: Say) -> dict[str, Any]:
    cassandra = await Cassandra.connect(config)
    try:
        replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        await cassandra.execute(f"CREATE KEYSPACE IF NOT EXISTS {KEYSPACE} WITH replication = {replication}")
        return {f"{size}": await _size(cassandra, _many(vectors, size), say) for size in sizes}
    finally:
        await cassandra.close()


async def _size(cassandra: Cassandra, vectors: Floats, say: Say) -> dict[str, Any]:
    size, width = vectors.shape
    chance = np.random.default_rng(size)
    asked = vectors[chance.choice(size, QUERIES)]
    exact, memory = _from_memory(vectors, asked)
    name = f"of_{size}"
    table = f"{KEYSPACE}.{name}"
    await cassandra.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, vector vector<float, {width}>)")
    say(f"writing {size:,} vectors")
    began = time.monotonic()
    await _write(cassandra, table, vectors)
    written = time.monotonic() - began
    say(f"indexing {size:,} vectors")
    began = time.monotonic()
    # Behind the rows: written into an index one by one, they took so long that Cassandra gave up on some.
    await cassandra.execute(
        f"CREATE CUSTOM INDEX {name}_vector ON {table} (vector) USING 'StorageAttachedIndex' "
        "WITH OPTIONS = {'similarity_function': 'cosine'}"
    )
    await _queryable(cassandra, f"{name}_vector")
    indexed = time.monotonic() - began
    say(f"asking for neighbours of {size:,}")
    query = f"SELECT id FROM {table} ORDER BY vector ANN OF ? LIMIT {NEAREST}"
    times, found = [], []
    for vector in [*asked[:WARM], *asked]:
        began = time.perf_counter()
        rows = await cassandra.execute(query, vector.tolist())
        times.append(time.perf_counter() - began)
        found.append({row.id for row in rows})
    right = [len(each & set(best)) / NEAREST for each, best in zip(found[WARM:], exact, strict=True)]
    return {
        "factors": width,
        "nearest": NEAREST,
        "queries": QUERIES,
        "memory": {**memory, "recall": 1.0, "bytes": int(vectors.nbytes)},
        "cassandra": {
            **_milliseconds(times[WARM:]),
            "recall": round(float(np.mean(right)), 4),
            "write_seconds": round(written, 1),
            "index_seconds": round(indexed, 1),
            "heap": HEAP,
        },
    }


def _from_memory(vectors: Floats, asked: Floats) -> tuple[list[list[int]], dict[str, float]]:
    """Find exactly, and time it."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    times, found = [], []
    for vector in [*asked[:WARM], *asked]:
        began = time.perf_counter()
        scores = unit @ (vector / np.linalg.norm(vector))
        best = np.argpartition(-scores, NEAREST - 1)[:NEAREST]
        best = best[np.argsort(-scores[best])]
        times.append(time.perf_counter() - began)
        found.append(best.tolist())
    return found[WARM:], _milliseconds(times[WARM:])


async def _write(cassandra: Cassandra, table: str, vectors: Floats) -> None:
    numbers = iter(range(len(vectors)))

    async def some() -> None:
        for number in numbers:
            statement = Statement(f"INSERT INTO {table} (id, vector) VALUES (?, ?)", (number, vectors[number].tolist()))
            await cassandra.execute(statement.cql, *statement.parameters)

    await asyncio.gather(*(some() for _ in range(WRITES)))


async def _queryable(cassandra: Cassandra, index: str) -> None:
    """Wait until an index answers. Raises BenchError."""
    query = "SELECT is_queryable FROM system_views.sai_column_indexes WHERE keyspace_name = ? AND index_name = ?"
    for _ in range(INDEX_SECONDS * 10):
        rows = await cassandra.execute(query, KEYSPACE, index)
        if rows and rows[0].is_queryable:
            return
        await asyncio.sleep(0.1)  # Cassandra has no event for it
    raise BenchError(f"no index of vectors within {INDEX_SECONDS} s")


def _many(vectors: Floats, size: int) -> Floats:
    """Return so many vectors: those of the model, and of more titles like them, which differ by a little."""
    chance = np.random.default_rng(1)
    known = vectors[np.linalg.norm(vectors, axis=1) > 0]
    first = known[:size]
    more = known[chance.integers(len(known), size=size - len(first))]
    spread = known.std(axis=0) * 0.3
    noise = chance.normal(size=more.shape).astype(np.float32) * spread
    found: Floats = np.vstack([first, more + noise]).astype(np.float32)
    return found


def _milliseconds(times: Sequence[float]) -> dict[str, float]:
    p50, p99 = np.percentile(np.asarray(times) * 1000, [50, 99])
    return {"p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3)}
