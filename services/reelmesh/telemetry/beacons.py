"""Reads a beacon: a ReportRequest as protobuf JSON, of which one event may be wrong without the others being lost."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from reelmesh.telemetry.errors import BatchTooLarge, JsonInvalid
from reelmesh.telemetry.limits import MOST_BYTES, MOST_EVENTS
from reelmesh.telemetry.v1.event_pb2 import TelemetryEvent
from reelmesh.telemetry.v1.telemetry_service_pb2 import ReportRequest
from reelmesh.telemetry.validation import Refused

_INT64 = 1 << 63
_INFINITE = frozenset({"NaN", "Infinity", "-Infinity"})
"""How protobuf JSON writes what is no number."""


@dataclass(frozen=True, slots=True)
class Beacon:
    """What a beacon says."""

    request: ReportRequest
    """With the events that could be read."""
    positions: list[int]
    """Where each of them stood."""
    refused: list[Refused]
    """Events that could not be read."""


class _Unreadable(Exception):
    """A value is not what its field holds."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read(body: bytes, token: str) -> Beacon:
    """Read a beacon; `token` stands in for one that it lacks. Raises JsonInvalid, BatchTooLarge."""
    if len(body) > MOST_BYTES:
        raise BatchTooLarge("send fewer events at once", most_bytes=MOST_BYTES)
    try:
        document = json.loads(body)
        if not isinstance(document, dict):
            raise JsonInvalid("a beacon is an object: a ReportRequest as protobuf JSON")
        events = document.pop("events", None)
        request = json_format.ParseDict(document, ReportRequest())
    except (ValueError, RecursionError, json_format.ParseError) as error:
        raise JsonInvalid("the beacon is no ReportRequest as protobuf JSON") from error
    if events is None:
        events = []
    if not isinstance(events, list):
        raise JsonInvalid("events is a list")
    if len(events) > MOST_EVENTS:
        raise BatchTooLarge("send fewer events at once", most_events=MOST_EVENTS)
    request.token = request.token or token
    beacon = Beacon(request, [], [])
    for index, event in enumerate(events):
        found = _event(event)
        if isinstance(found, TelemetryEvent):
            beacon.positions.append(index)
            request.events.append(found)
        else:
            beacon.refused.append(Refused(index, *found))
    return beacon


def _event(written: object) -> TelemetryEvent | tuple[str, str]:
    """Return an event, or why it cannot be read and in which field."""
    if not isinstance(written, dict):
        return "VALUE_UNREADABLE", ""
    values: dict[str, Any] = {}
    for key, value in written.items():
        known = _FIELDS.get(key)
        if known is None:
            return "UNKNOWN_KEY", key[:64]
        name, reads = known
        if value is None:
            continue  # as protobuf JSON writes a field that is not set
        try:
            values[name] = reads(value)
        except _Unreadable as error:
            return error.reason, name
    try:
        return TelemetryEvent(**values)
    except ValueError:  # text that is no Unicode: half of a surrogate pair
        return "VALUE_UNREADABLE", ""


def _integer(value: object) -> int:
    match value:
        case bool():
            raise _Unreadable("VALUE_UNREADABLE")
        case float() if not math.isfinite(value):
            raise _Unreadable("NOT_FINITE")
        case str() if value in _INFINITE:
            raise _Unreadable("NOT_FINITE")
        case int():
            number = value
        case float() if value.is_integer():
            number = int(value)
        case str() if len(value) <= 20 and value.removeprefix("-").isdecimal() and value.isascii():
            number = int(value)
        case _:
            raise _Unreadable("VALUE_UNREADABLE")
    if not -_INT64 <= number < _INT64:
        raise _Unreadable("NEGATIVE" if number < 0 else "OUT_OF_RANGE")
    return number


def _float(value: object) -> float:
    match value:
        case bool():
            raise _Unreadable("VALUE_UNREADABLE")
        case str() if value in _INFINITE:
            raise _Unreadable("NOT_FINITE")
        case int() | float() | str():
            try:
                number = float(value)
            except (ValueError, OverflowError):
                raise _Unreadable("VALUE_UNREADABLE") from None
        case _:
            raise _Unreadable("VALUE_UNREADABLE")
    if not math.isfinite(number):
        raise _Unreadable("NOT_FINITE")
    return number


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _Unreadable("VALUE_UNREADABLE")
    return value


def _bytes(value: object) -> bytes:
    """Read base64 of either alphabet, with or without padding, as protobuf JSON allows."""
    try:
        text = _text(value).rstrip("=").replace("-", "+").replace("_", "/")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise _Unreadable("VALUE_UNREADABLE") from None


def _enum(kind: EnumDescriptor) -> Callable[[object], int]:
    numbers: Mapping[str, int] = {value.name: value.number for value in kind.values}

    def reads(value: object) -> int:
        if isinstance(value, str):
            if value not in numbers:
                raise _Unreadable("TYPE_UNKNOWN")
            return numbers[value]
        number = _integer(value)
        if number not in numbers.values():
            raise _Unreadable("TYPE_UNKNOWN")
        return number

    return reads


def _reader(field: FieldDescriptor) -> Callable[[object], Any]:
    if field.enum_type is not None:
        return _enum(field.enum_type)
    return {
        FieldDescriptor.TYPE_INT64: _integer,
        FieldDescriptor.TYPE_DOUBLE: _float,
        FieldDescriptor.TYPE_STRING: _text,
        FieldDescriptor.TYPE_BYTES: _bytes,
    }[field.type]


_FIELDS: Mapping[str, tuple[str, Callable[[object], Any]]] = {
    key: (field.name, _reader(field))
    for field in TelemetryEvent.DESCRIPTOR.fields
    for key in (field.name, field.json_name)
}
"""Fields of an event by both names that protobuf JSON allows, and what reads them."""
