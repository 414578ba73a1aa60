"""UsageService: proto in, one domain call, proto out."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any

import grpc

from reelmesh.billing.usage import Usage
from reelmesh.billing.v1 import usage_service_pb2 as pb
from reelmesh.billing.v1.usage_service_pb2_grpc import UsageServiceServicer
from reelmesh.mesh.names import SessionName, organization_of

Context = grpc.aio.ServicerContext[Any, Any]
_MINUTE = timedelta(minutes=1)


class UsageService(UsageServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage

    async def RecordViewing(self, request: pb.RecordViewingRequest, context: Context) -> pb.RecordViewingResponse:
        """Count what was watched."""
        await self._usage.watched(
            SessionName.parse(request.session), request.create_time.ToDatetime(UTC), request.watched.ToTimedelta()
        )
        return pb.RecordViewingResponse()

    async def ListUsage(self, request: pb.ListUsageRequest, context: Context) -> pb.ListUsageResponse:
        """Say what was used."""
        days, stored = await self._usage.list(
            organization_of(request.parent),
            request.start_time.ToDatetime(UTC) if request.HasField("start_time") else None,
            request.end_time.ToDatetime(UTC) if request.HasField("end_time") else None,
        )
        answer = pb.ListUsageResponse(stored_minutes=stored / _MINUTE)
        for day in days:
            used = answer.days.add(encoded_minutes=day.encoded / _MINUTE, delivered_minutes=day.delivered / _MINUTE)
            used.day.FromDatetime(day.start)
        return answer
