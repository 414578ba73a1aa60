"""TelemetryService: proto in, one domain call, proto out."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import protovalidate
from google.api.httpbody_pb2 import HttpBody
from google.protobuf import json_format

from reelmesh.mesh import person
from reelmesh.mesh.interceptors import validate
from reelmesh.telemetry import beacons
from reelmesh.telemetry.door import Door
from reelmesh.telemetry.model import Outcome, Place, Sent
from reelmesh.telemetry.records import strip
from reelmesh.telemetry.v1 import telemetry_service_pb2 as pb
from reelmesh.telemetry.v1.record_pb2 import TelemetryRecord
from reelmesh.telemetry.v1.telemetry_service_pb2_grpc import TelemetryServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]


class TelemetryService(TelemetryServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._validator = protovalidate.Validator()

    async def Report(self, request: pb.ReportRequest, context: Context) -> pb.ReportResponse:
        """Take a batch of one viewing's events."""
        return outcome_to_proto(await self._report(request))

    async def Stream(self, requests: AsyncIterator[pb.StreamRequest], context: Context) -> pb.StreamResponse:
        """Take batches until the app has no more."""
        batches = accepted = 0
        refused: Counter[str] = Counter()
        async for request in requests:
            outcome = await self._report(request.batch)
            batches += 1
            accepted += outcome.accepted
            refused.update(each.reason for each in outcome.refused)
        return pb.StreamResponse(batches=batches, accepted=accepted, refused=refused)

    async def ReportJson(self, request: pb.ReportJsonRequest, context: Context) -> pb.ReportJsonResponse:
        """Take a batch as JSON."""
        beacon = beacons.read(request.body.data, request.token)
        validate(self._validator, beacon.request)
        sent = Sent(
            beacon.request,
            len(request.body.data),
            TelemetryRecord.SOURCE_BEACON,
            _place(),
            beacon.refused,
            beacon.positions,
        )
        return pb.ReportJsonResponse(body=_json(await self._door.report(sent)))

    async def _report(self, request: pb.ReportRequest) -> Outcome:
        sent = Sent(strip(request), request.ByteSize(), TelemetryRecord.SOURCE_REPORT, _place())
        return await self._door.report(sent)


def outcome_to_proto(outcome: Outcome) -> pb.ReportResponse:
    """Write what became of a batch as the contract does."""
    return pb.ReportResponse(
        accepted=outcome.accepted,
        refusals=[pb.Refusal(index=each.index, reason=each.reason, field=each.field) for each in outcome.refused],
        gaps=[pb.SequenceGap(first=first, last=last) for first, last in outcome.gaps],
        server_time_ms=outcome.time_ms,
        sampled=outcome.sampled,
    )


def _json(outcome: Outcome) -> HttpBody:
    text = json_format.MessageToJson(outcome_to_proto(outcome), indent=None, always_print_fields_with_no_presence=True)
    return HttpBody(content_type="application/json", data=text.encode())


def _place() -> Place:
    client = person.client()
    return Place(client.address, client.user_agent)
