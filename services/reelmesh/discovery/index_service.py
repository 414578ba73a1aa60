"""IndexService: proto in, one domain call, proto out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from reelmesh.discovery.errors import IndexNotReady
from reelmesh.discovery.index import Index
from reelmesh.discovery.rebuild import Build, Indexes
from reelmesh.discovery.v1 import index_service_pb2 as pb
from reelmesh.discovery.v1.index_service_pb2_grpc import IndexServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]
WATCH_SECONDS = 0.25
"""Who watches is told this often at most."""


class IndexService(IndexServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, indexes: Indexes[Index], replica: str) -> None:
        self._indexes, self._replica = indexes, replica

    async def RebuildIndex(self, request: pb.RebuildIndexRequest, context: Context) -> pb.RebuildIndexResponse:
        """Begin to build anew."""
        self._indexes.rebuild()
        return pb.RebuildIndexResponse(index=await self._index())

    async def GetIndex(self, request: pb.GetIndexRequest, context: Context) -> pb.GetIndexResponse:
        """Say how the index is."""
        return pb.GetIndexResponse(index=await self._index())

    async def WatchIndex(self, request: pb.WatchIndexRequest, context: Context) -> AsyncIterator[pb.WatchIndexResponse]:
        """Say how the index is, as a build goes on."""
        async with aclosing(self._indexes.changes()) as changes:
            async for _ in changes:
                index = await self._index()
                yield pb.WatchIndexResponse(index=index)
                if index.state == pb.Index.STATE_SERVING:
                    return
                await asyncio.sleep(WATCH_SECONDS)  # a build takes many steps in that time

    async def _index(self) -> pb.Index:
        message = pb.Index(replica=self._replica, state=self._state())
        folder, index = self._indexes.folder, self._indexes.held
        if folder is not None and index is not None:
            message.schema_version = folder.note.version
            message.position = folder.note.place
            message.build_time.FromDatetime(folder.note.build_time)
            message.bytes = await asyncio.to_thread(folder.size)
            message.titles = index.titles
        if self._indexes.build is not None:
            built = self._indexes.built
            message.build.CopyFrom(_build(self._indexes.build))
            message.build.titles = message.titles if built is None else built.titles
        return message

    def _state(self) -> pb.Index.State.ValueType:
        try:
            _ = self._indexes.current
        except IndexNotReady:
            return pb.Index.STATE_BUILDING
        return pb.Index.STATE_REBUILDING if self._indexes.going_on else pb.Index.STATE_SERVING


def _build(build: Build) -> pb.Index.Build:
    progress = build.progress
    message = pb.Index.Build(
        reason=build.reason,
        records=progress.records,
        behind=progress.behind,
        skipped=progress.skipped,
        problem=progress.problem,
    )
    message.start_time.FromDatetime(build.start_time)
    if build.end_time is not None:
        message.end_time.FromDatetime(build.end_time)
    return message
