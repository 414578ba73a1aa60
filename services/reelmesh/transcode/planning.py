"""Makes plans from what a worker saw, reading the source's index where there is one."""

from __future__ import annotations

import asyncio
from typing import Protocol

from reelmesh.mesh.errors import Unavailable
from reelmesh.transcode.plan import Plan, PlanSettings, plan
from reelmesh.worker.v1.task_pb2 import Inspection, SourceIndex


class IndexReader(Protocol):
    """What this needs of the raw store."""

    async def get(self, key: str) -> bytes | None:
        """Return an object, or None when there is none. Raises Unavailable."""


class Planning:
    """The planner of the control."""

    def __init__(self, raw: IndexReader, settings: PlanSettings) -> None:
        self._raw = raw
        self._settings = settings

    async def make(self, inspection: Inspection) -> Plan:
        """Return what to make of a source. Raises PlanError, Unavailable."""
        index = None
        if inspection.index:
            stored = await self._raw.get(inspection.index)
            if stored is None:
                raise Unavailable("the source's index is not there yet")
            index = SourceIndex.FromString(stored)
        # A long film has a million packets: not on the loop.
        return await asyncio.to_thread(plan, inspection, index, self._settings)
