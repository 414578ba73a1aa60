"""What recommend asks of analytics, through its contract."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime

import grpc
import pyarrow

from reelmesh.analytics.v1.audience_service_pb2 import ExportInteractionsRequest, ExportInteractionsResponse
from reelmesh.analytics.v1.audience_service_pb2_grpc import AudienceServiceStub
from reelmesh.mesh.errors import Unavailable
from reelmesh.recommend.spool import SCHEMA


class AnalyticsAudience:
    """Analytics' word on who watched what."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = AudienceServiceStub(channel)

    async def interactions(
        self, organization: str, start: datetime, end: datetime
    ) -> AsyncGenerator[pyarrow.RecordBatch, None]:
        """Yield interactions (spool.SCHEMA) of viewings from `start` on, before `end`. Raises Unavailable."""
        request = ExportInteractionsRequest(parent=f"organizations/{organization}")
        request.start_time.FromDatetime(start)
        request.end_time.FromDatetime(end)
        try:
            async for part in self._stub.ExportInteractions(request):
                yield batch_of(part)
        except grpc.aio.AioRpcError as error:
            raise Unavailable("analytics does not answer") from error


def batch_of(part: ExportInteractionsResponse) -> pyarrow.RecordBatch:
    """Return some interactions as a file of them has them."""
    rows = len(part.watch_ms)
    ids = [
        pyarrow.FixedSizeBinaryArray.from_buffers(pyarrow.binary(16), rows, [None, pyarrow.py_buffer(data)])
        for data in (part.viewers, part.videos)
    ]
    numbers = zip((part.watch_ms, part.completions, part.last_times_ms), SCHEMA.types[2:], strict=True)
    return pyarrow.RecordBatch.from_arrays(
        [*ids, *(pyarrow.array(each, kind) for each, kind in numbers)], schema=SCHEMA
    )
