"""Makes plans from what a worker saw, reading the source's index where there is one."""

from __future__ import annotations

import asyncio
from typing import Protocol

from reelmesh.media.v1.media_pb2 import Protection
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import VideoName
from reelmesh.transcode.plan import Plan, PlanSettings, plan
from reelmesh.transcode.protection import KeyDesk, protected
from reelmesh.worker.v1.task_pb2 import Inspection, SourceIndex


class IndexReader(Protocol):
    """What this needs of the raw store."""

    async def get(self, key: str) -> bytes | None:
        """Return an object, or None when there is none. Raises Unavailable."""


class Planning:
    """The planner of the control."""

    def __init__(
        self, raw: IndexReader, settings: PlanSettings, keys: KeyDesk, scheme: Protection.Scheme.ValueType
    ) -> None:
        self._raw = raw
        self._settings = settings
        self._keys = keys
        self._scheme = scheme

    async def make(self, inspection: Inspection, video: VideoName | None) -> Plan:
        """Return what to make of a source, encrypted by the keys of `video` unless it is None.

        Raises PlanError, Unavailable.
        """
        index = None
        if inspection.index:
            stored = await self._raw.get(inspection.index)
            if stored is None:
                raise Unavailable("the source's index is not there yet")
            index = SourceIndex.FromString(stored)
        # A long film has a million packets: not on the loop.
        made = await asyncio.to_thread(plan, inspection, index, self._settings)
        return made if video is None else await protected(made, video, self._keys, self._scheme)
