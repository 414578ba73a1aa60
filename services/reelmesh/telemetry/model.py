"""Batches as the door knows them. Values only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reelmesh.telemetry.gaps import Range
from reelmesh.telemetry.v1.encoded_pb2 import EncodedReport
from reelmesh.telemetry.v1.record_pb2 import TelemetryRecord
from reelmesh.telemetry.v1.telemetry_service_pb2 import ReportRequest
from reelmesh.telemetry.validation import Refused


@dataclass(frozen=True, slots=True)
class Place:
    """Where a batch came from."""

    address: str
    """Network address; empty where nobody knows."""
    user_agent: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A batch as it was sent."""

    request: EncodedReport
    """Is used up when its events are taken out of it."""
    source: TelemetryRecord.Source.ValueType
    place: Place
    refused: Sequence[Refused] = ()
    """What was refused while it was read."""
    positions: Sequence[int] | None = None
    """Where each event stood in what was sent; None where each stands there still."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch."""

    accepted: int
    refused: Sequence[Refused]
    gaps: Sequence[Range]
    time_ms: int
    """When it was received, in milliseconds since 1970."""
    sampled: bool
    """Whether the viewing is one of those that are kept."""


def encoded(request: ReportRequest) -> EncodedReport:
    """Return a request as the door takes it."""
    return EncodedReport.FromString(request.SerializeToString())
