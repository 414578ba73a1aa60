"""A process with nothing but chDB in it: how fast it takes the same records into the same tables and views.

It reads its orders as one line of JSON, and prints what it counted. Kafka, offsets and roll-ups are left out: this is
the most that the sink could ever reach.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from reelmesh.analytics.columns import STREAMS
from reelmesh.analytics.migrations import Placement, migrate
from reelmesh.analytics.sink import arrival_tail, framed, settings_of
from reelmesh.stores.warehouse import INSERTS, Warehouse
from reelmesh.telemetry.v1.record_pb2 import TelemetryRecord
from reelmesh_tools.bench.loader import PLAYED
from reelmesh_tools.bench.stencil import stencils

RECORDS = 80
"""Records in an insert: about as many as the sink puts into one."""
BLOCKS = 24
"""Different blocks of records, made beforehand."""


async def measure(folder: Path, batch: int, seconds: float, seed: int) -> dict[str, Any]:
    """Insert for so long, into an empty database in `folder`; return events, seconds, per_second and rss_peak_bytes."""
    warehouse = await Warehouse.open("", folder)
    stream = STREAMS["events"]
    try:
        await migrate(warehouse, Placement())
        blocks = list(_blocks(batch, seed))
        settings = settings_of(stream)
        began = time.perf_counter()
        inserted = 0

        async def insert(lane: int) -> None:
            nonlocal inserted
            number = lane
            while time.perf_counter() - began < seconds:
                # A block that comes again has another name and another place, so that it is another one.
                token = {"insert_deduplication_token": f"bench-{number}"}
                data = framed(blocks[number % len(blocks)], arrival_tail(lane, number))
                await warehouse.insert(stream.arrivals, data, "Protobuf", {**settings, **token})
                inserted += RECORDS * batch
                number += INSERTS

        await asyncio.gather(*(insert(lane) for lane in range(INSERTS)))
        took = time.perf_counter() - began
    finally:
        await warehouse.close()
    return {
        "events": inserted,
        "seconds": round(took, 2),
        "per_second": round(inserted / took),
        "rss_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _blocks(batch: int, seed: int) -> Iterator[list[bytes]]:
    made = [part for viewing in stencils(seed, PLAYED, batch, 1) for part in viewing]
    chance = np.random.default_rng(seed)
    now = time.time_ns() // 1_000_000
    for _ in range(BLOCKS):
        block = []
        for number in range(RECORDS):
            part = made[number % len(made)]
            head = TelemetryRecord(
                received_time_ms=now,
                sent_time_ms=now,
                organization="default",
                video="00000000-0000-7000-8000-000000000000",
                session=now.to_bytes(6) + b"\x70" + chance.bytes(9),
                viewer=chance.bytes(16),
                country="DE",
                device="tv",
                operating_system="Linux",
                browser="bench",
                player="bench",
                player_version="1",
                weight=1,
                source=TelemetryRecord.SOURCE_REPORT,
            ).SerializeToString()
            times = now - 10_000 + np.arange(batch) * 10_000 // batch
            block.append(head + part.stamp(times, chance))
        yield block


def main() -> None:
    """Run as a program."""
    orders = json.loads(sys.stdin.readline())
    result = asyncio.run(measure(Path(orders["folder"]), orders["batch"], orders["seconds"], orders["seed"]))
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()
    sys.stdin.readline()  # as a loader does


if __name__ == "__main__":
    main()
