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
from reelmesh.telemetry.deliveries import Deliveries
from reelmesh.telemetry.door import Door
from reelmesh.telemetry.model import Outcome, Place, Sent, encoded
from reelmesh.telemetry.reports import Reports
from reelmesh.telemetry.v1 import telemetry_service_pb2 as pb
from reelmesh.telemetry.v1.encoded_pb2 import EncodedBatch, EncodedReport
from reelmesh.telemetry.v1.record_pb2 import TelemetryRecord
from reelmesh.telemetry.v1.telemetry_service_pb2_grpc import (
    TelemetryServiceServicer,
    add_TelemetryServiceServicer_to_server,
)
from reelmesh.telemetry.validation import Refused

Context = grpc.aio.ServicerContext[Any, Any]


class TelemetryService(TelemetryServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, door: Door, reports: Reports, deliveries: Deliveries) -> None:
        self._door = door
        self._reports = reports
        self._deliveries = deliveries
        self._validator = protovalidate.Validator()

    async def Report(  # type: ignore[override]  # see `add`
        self, request: EncodedReport, context: Context
    ) -> pb.ReportResponse:
        """Take a batch of one viewing's events."""
        return outcome_to_proto(await self._report(request))

    async def Stream(  # type: ignore[override]  # see `add`
        self, requests: AsyncIterator[EncodedBatch], context: Context
    ) -> pb.StreamResponse:
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
            encoded(beacon.request),
            TelemetryRecord.SOURCE_BEACON,
            _place(),
            beacon.refused,
            beacon.positions,
        )
        return pb.ReportJsonResponse(body=_json(await self._door.report(sent)))

    async def ReportCmcd(self, request: pb.ReportCmcdRequest, context: Context) -> pb.ReportCmcdResponse:
        """Take lines of CMCD version 2."""
        outcome = await self._reports.take(request.body.data, request.token, request.consent, _place())
        return pb.ReportCmcdResponse(body=_json(outcome) if outcome.refused else HttpBody())

    async def ReportDeliveries(
        self, request: pb.ReportDeliveriesRequest, context: Context
    ) -> pb.ReportDeliveriesResponse:
        """Take lines of an edge's request log."""
        accepted, refused = await self._deliveries.take(request.cdn, request.lines)
        return pb.ReportDeliveriesResponse(accepted=accepted, refusals=map(_refusal, refused))

    async def _report(self, request: EncodedReport) -> Outcome:
        return await self._door.report(Sent(request, TelemetryRecord.SOURCE_REPORT, _place()))


def add(service: TelemetryService, server: grpc.aio.Server) -> None:
    """Put the service on a server, with messages that are read no further than the door needs them."""
    add_TelemetryServiceServicer_to_server(service, server)
    server.add_registered_method_handlers(
        "reelmesh.telemetry.v1.TelemetryService",
        {
            "Report": grpc.unary_unary_rpc_method_handler(
                service.Report, EncodedReport.FromString, pb.ReportResponse.SerializeToString
            ),
            "Stream": grpc.stream_unary_rpc_method_handler(
                service.Stream, EncodedBatch.FromString, pb.StreamResponse.SerializeToString
            ),
        },
    )


def outcome_to_proto(outcome: Outcome) -> pb.ReportResponse:
    """Write what became of a batch as the contract does."""
    return pb.ReportResponse(
        accepted=outcome.accepted,
        refusals=map(_refusal, outcome.refused),
        gaps=[pb.SequenceGap(first=first, last=last) for first, last in outcome.gaps],
        server_time_ms=outcome.time_ms,
        sampled=outcome.sampled,
    )


def _refusal(refused: Refused) -> pb.Refusal:
    return pb.Refusal(index=refused.index, reason=refused.reason, field=refused.field)


def _json(outcome: Outcome) -> HttpBody:
    text = json_format.MessageToJson(outcome_to_proto(outcome), indent=None, always_print_fields_with_no_presence=True)
    return HttpBody(content_type="application/json", data=text.encode())


def _place() -> Place:
    client = person.client()
    return Place(client.address, client.user_agent)
