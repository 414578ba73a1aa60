"""Fills a warehouse from Kafka until it is killed: `python sink_child.py BOOTSTRAP FOLDER [SETTING=VALUE…]`."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from reelmesh.analytics.migrations import migrate
from reelmesh.analytics.wiring import TOPICS, filling, placement
from reelmesh.mesh.clock import SystemClock, TimeOrderedIds
from reelmesh.mesh.config import AnalyticsConfig, KafkaConfig
from reelmesh.stores.events import Publisher, ensure_topics
from reelmesh.stores.warehouse import Warehouse


async def main(bootstrap: str, folder: Path, given: dict[str, str]) -> None:
    """Run until SIGTERM."""
    settings = AnalyticsConfig(path=folder)
    changes: dict[str, Any] = {name: type(getattr(settings, name))(value) for name, value in given.items()}
    settings = replace(settings, **changes)
    kafka = KafkaConfig(bootstrap_servers=bootstrap)
    await ensure_topics(kafka, dict.fromkeys(TOPICS, kafka.partitions))
    warehouse = await Warehouse.open("", settings.path)
    await migrate(warehouse, placement(settings))
    publisher = Publisher(kafka, "sink-child")
    filled = filling(settings, kafka, publisher, warehouse, TimeOrderedIds(SystemClock()))
    running = asyncio.gather(filled.batches.run(), filled.rollups.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        await publisher.close()
        await warehouse.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), dict(each.split("=") for each in sys.argv[3:])))
