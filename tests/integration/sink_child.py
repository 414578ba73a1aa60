"""Fills a warehouse from Kafka until it is killed: `python sink_child.py BOOTSTRAP FOLDER [SETTING=VALUE…]`.

Each line that it reads asks for a line that it writes, once all that was published before is counted.
`dies=STAGE:N` kills it the N-th time that it comes to a stage: "planned" (before an insert), "inserted" (after one,
before its minutes are marked), or "marked" (before the commit).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from reelmesh.analytics import wiring
from reelmesh.analytics.migrations import migrate
from reelmesh.analytics.rollups import Rollups
from reelmesh.analytics.sink import Batch, Sink
from reelmesh.analytics.wiring import TOPICS, filling, placement
from reelmesh.mesh.clock import SystemClock, TimeOrderedIds
from reelmesh.mesh.config import AnalyticsConfig, KafkaConfig
from reelmesh.stores.events import Publisher, ensure_topics
from reelmesh.stores.warehouse import Warehouse


class Dying(Sink):
    """Kills the process at a stage."""

    def __init__(self, *arguments: Any, stage: str, times: int) -> None:
        super().__init__(*arguments)
        self._stage = stage
        self._times = times

    def _reach(self, stage: str) -> None:
        if stage == self._stage:
            self._times -= 1
            if self._times == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    async def take(self, batches: Sequence[Batch]) -> None:
        await super().take(batches)
        self._reach("marked")

    async def _insert(self, batch: Batch) -> None:
        self._reach("planned")
        await super()._insert(batch)
        self._reach("inserted")


async def answer(rollups: Rollups) -> None:
    """Say when all is counted that was published before it was asked."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        counted = await rollups.wait_until_fresh(SystemClock().now(), 60)
        sys.stdout.write("counted\n" if counted else "not counted\n")
        sys.stdout.flush()


async def main(bootstrap: str, folder: Path, given: dict[str, str]) -> None:
    """Run until SIGTERM."""
    stage, _, times = given.pop("dies", "").partition(":")
    if stage:
        setattr(wiring, "Sink", partial(Dying, stage=stage, times=int(times)))  # noqa: B010 - a class in its place
    settings = AnalyticsConfig(path=folder)
    changes: dict[str, Any] = {name: type(getattr(settings, name))(value) for name, value in given.items()}
    settings = replace(settings, **changes)
    kafka = KafkaConfig(bootstrap_servers=bootstrap)
    await ensure_topics(kafka, dict.fromkeys(TOPICS, kafka.partitions))
    warehouse = await Warehouse.open("", settings.path)
    await migrate(warehouse, placement(settings))
    publisher = Publisher(kafka, "sink-child")
    filled = filling(settings, kafka, publisher, warehouse, TimeOrderedIds(SystemClock()))
    running = asyncio.gather(filled.batches.run(), filled.rollups.run(), answer(filled.rollups))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        await publisher.close()
        await warehouse.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), dict(each.split("=") for each in sys.argv[3:])))
