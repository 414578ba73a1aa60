"""Makes models until it is killed: `python maker_child.py CONFIG KEYSPACE OBJECTS FOLDER`.

It says "begun" when it has begun a model, which it is never done with: its audience does not end.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow

from reelmesh.mesh.clock import SystemClock
from reelmesh.mesh.config import load
from reelmesh.recommend.artefacts import Artefacts
from reelmesh.recommend.job import Job, Timing
from reelmesh.recommend.model_store import CassandraModelStore
from reelmesh.recommend.parameters import Parameters
from reelmesh.recommend.workplace import Settings, Workplace
from reelmesh.stores.cassandra import Cassandra
from reelmesh.stores.objects import Objects

LEASE = timedelta(seconds=2)


class Endless:
    """An audience whose first part never comes."""

    async def interactions(
        self, organization: str, start: datetime, end: datetime
    ) -> AsyncGenerator[pyarrow.RecordBatch, None]:
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        await asyncio.Event().wait()
        yield pyarrow.RecordBatch.from_pylist([])


async def nobody(organization: str) -> frozenset[bytes]:
    return frozenset()


async def ready() -> None:
    pass


async def main() -> None:
    config, keyspace, objects, folder = load(Path(sys.argv[1])), sys.argv[2], sys.argv[3], Path(sys.argv[4])
    cassandra = await Cassandra.connect(config.cassandra)
    artefacts, clock = Artefacts(Objects.at(objects)), SystemClock()
    settings = Settings(folder, timedelta(days=400), 1, Parameters())
    workplace = Workplace(Endless(), artefacts, lambda organization: lambda video: None, nobody, clock, settings)
    timing = Timing(lease=LEASE, look_seconds=0.2)
    store = CassandraModelStore(cassandra, keyspace)
    job = Job(store, workplace, artefacts, clock, "child", timing, ready=ready, ran=lambda: None)
    await job.run()


if __name__ == "__main__":
    asyncio.run(main())
