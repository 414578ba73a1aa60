"""What discovery asks of other services, through their contracts."""

from __future__ import annotations

from datetime import datetime

import grpc

from reelmesh.analytics.v1.audience_service_pb2 import ExportPopularityRequest
from reelmesh.analytics.v1.audience_service_pb2_grpc import AudienceServiceStub
from reelmesh.discovery.popularity import Views
from reelmesh.mesh.errors import Unavailable

EXPORT_SECONDS = 20.0
"""How long an export may take."""


class AnalyticsAudience:
    """Analytics' word on how much is watched."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = AudienceServiceStub(channel)

    async def views(self, start: datetime, end: datetime) -> Views:
        """Return viewings that began in a time, by country and video. Raises Unavailable."""
        request = ExportPopularityRequest()
        request.start_time.FromDatetime(start)
        request.end_time.FromDatetime(end)
        found: dict[str, dict[str, float]] = {}
        try:
            async for part in self._stub.ExportPopularity(request, timeout=EXPORT_SECONDS):
                for video in part.videos:
                    found.setdefault(video.country, {})[video.video] = video.views
        except grpc.aio.AioRpcError as error:
            # Whatever is wrong there, titles are found without it.
            raise Unavailable(f"analytics exports nothing: {error.code().name}") from error
        return found
