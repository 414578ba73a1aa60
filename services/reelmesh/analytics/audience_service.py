"""AudienceService: proto in, one domain call, proto out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from reelmesh.analytics.audience import Audience
from reelmesh.analytics.spans import resolve
from reelmesh.analytics.v1 import audience_service_pb2 as pb
from reelmesh.analytics.v1.audience_service_pb2_grpc import AudienceServiceServicer
from reelmesh.mesh.clock import Clock
from reelmesh.mesh.names import organization_of

Context = grpc.aio.ServicerContext[Any, Any]


class AudienceService(AudienceServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, audience: Audience, clock: Clock) -> None:
        self._audience = audience
        self._clock = clock

    async def ExportInteractions(
        self, request: pb.ExportInteractionsRequest, context: Context
    ) -> AsyncIterator[pb.ExportInteractionsResponse]:
        """Stream who watched what."""
        start = _time(request.start_time) if request.HasField("start_time") else None
        end = _time(request.end_time) if request.HasField("end_time") else None
        async with aclosing(self._audience.interactions(organization_of(request.parent), start, end)) as parts:
            async for part in parts:
                yield pb.ExportInteractionsResponse(
                    viewers=part.viewers,
                    videos=part.videos,
                    watch_ms=part.watch_ms.to_numpy(),
                    completions=part.completions.to_numpy(),
                    last_times_ms=part.last_times_ms.to_numpy(),
                )

    async def ExportPopularity(
        self, request: pb.ExportPopularityRequest, context: Context
    ) -> AsyncIterator[pb.ExportPopularityResponse]:
        """Stream how much is watched."""
        now = self._clock.now()
        end = request.end_time.ToMilliseconds() / 1000 if request.HasField("end_time") else None
        span = resolve(request.start_time.ToMilliseconds() / 1000, end, now)
        async with aclosing(self._audience.popularity(organization_of(request.parent), span, now)) as parts:
            async for part in parts:
                yield pb.ExportPopularityResponse(
                    videos=[
                        pb.ExportPopularityResponse.VideoPopularity(
                            video=str(each.video), country=each.country, views=each.views, watch_ms=each.watch_ms
                        )
                        for each in part
                    ]
                )


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)
