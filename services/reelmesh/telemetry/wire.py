"""Reads events where they lie, encoded, so that a batch is judged and passed on without being taken apart.

Every event of every player comes this way, and reading its fields one by one from Python costs more than all else that
is done with it. The loops over bytes are compiled when the module is loaded, which takes about two seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from numba import njit, types
from numpy.typing import NDArray

from reelmesh.telemetry.v1.encoded_pb2 import EncodedReport
from reelmesh.telemetry.v1.event_pb2 import TelemetryEvent

_ALL_BUT_EVENTS: Final = ("token", "session", "sent_time_ms", "consent", "client")
_TAG: Final = 2
"""Bytes of what stands before each event's length: number and type of the field."""
_ID, _TIME, _SEQUENCE, _TYPE = (
    TelemetryEvent.DESCRIPTOR.fields_by_name[name].number for name in ("event_id", "event_time_ms", "sequence", "type")
)
_VARINT, _FIXED64, _BYTES = 0, 1, 2
"""Ways in which the fields of an event are written."""
_WAYS: Final = {
    FieldDescriptor.TYPE_DOUBLE: _FIXED64,
    FieldDescriptor.TYPE_BYTES: _BYTES,
    FieldDescriptor.TYPE_STRING: _BYTES,
}
"""By the type of a field; all others are numbers."""
ID_BYTES = 16
_F = TypeVar("_F", bound=Callable[..., Any])
_INT = types.int64
_READ, _WRITTEN, _ANSWERS = types.Array(types.uint8, 1, "C", readonly=True), types.int64[::1], types.boolean[::1]
"""Arrays as the compiled loops have them."""


def _compiled(signature: Any) -> Callable[[_F], _F]:
    """Compile a function at once, for values of these types."""
    compiler: Callable[[_F], _F] = njit(signature)
    return compiler


class Events:
    """The events of a batch, one after another as they were sent."""

    def __init__(self, request: EncodedReport) -> None:
        """Take the events out of a request, which is used up by it."""
        count = len(request.events)
        for field in _ALL_BUT_EVENTS:
            request.ClearField(field)
        # What the contract does not know would be read as fields of the record that the events are put into. Events
        # keep what a newer contract may say of them: a record gives it no other meaning.
        request.DiscardUnknownFields()
        self.data = request.SerializeToString()
        """Encoded as a field of any message that has events under this number."""
        self.bytes: NDArray[np.uint8] = np.frombuffer(self.data, np.uint8)
        self.starts: NDArray[np.int64] = np.empty(count, np.int64)
        self.ends: NDArray[np.int64] = np.empty(count, np.int64)
        _locate(self.bytes, self.starts, self.ends)

    def __len__(self) -> int:
        return len(self.starts)

    def read(self, index: int) -> TelemetryEvent:
        """Return an event. Raises DecodeError."""
        return TelemetryEvent.FromString(self.data[self.starts[index] : self.ends[index]])

    def without(self, indexes: Iterable[int]) -> bytes:
        """Return the events but for some, encoded as all are; `indexes` rise."""
        kept, at = [], 0
        for index in indexes:
            kept.append(self.data[at : self.ends[index - 1] if index else 0])
            at = self.ends[index]
        return b"".join((*kept, self.data[at:]))


@_compiled(_INT(_READ, _INT))
def _byte(data: NDArray[np.uint8], at: int) -> int:
    # Of unlike integers compiled code makes floats, and of an index that might be negative two ways to go.
    return np.int64(data[np.uint64(at)])  # type: ignore[return-value]


@_compiled(types.UniTuple(_INT, 2)(_READ, _INT, _INT))
def _varint(data: NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """Return a number of at most 63 bits and where it ends, or -1 for one that is larger, negative or cut off."""
    value, shift = 0, 0
    while at < end and shift < 63:
        byte = _byte(data, at)
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return -1, at


@_compiled(_INT(_READ, _INT))
def _bits(data: NDArray[np.uint8], at: int) -> int:
    """Return the bits of a double, which are in the order of the numbers they stand for; negative for one below 0."""
    value = 0
    for offset in range(8):
        value |= _byte(data, at + offset) << 8 * offset
    return value


@_compiled(types.boolean(_READ, _INT, _INT))
def _ascii(data: NDArray[np.uint8], at: int, end: int) -> bool:
    found = 0
    for place in range(at, end):
        found |= _byte(data, place)
    return found < 0x80


@_compiled(types.boolean(_READ, _INT, _INT))
def _id_of(data: NDArray[np.uint8], at: int, time: int) -> bool:
    """Say whether a UUIDv7 of this time stands there."""
    stamp = 0
    for offset in range(6):
        stamp = stamp << 8 | _byte(data, at + offset)
    return stamp == time and _byte(data, at + 6) >> 4 == 7 and _byte(data, at + 8) >> 6 == 2


@_compiled(types.UniTuple(_INT, 3)(_READ, _INT, _INT, _INT, _INT))
def _field(data: NDArray[np.uint8], at: int, end: int, way: int, most: int) -> tuple[int, int, int]:
    """Return the number of a field or the length of its text, where that begins, and where the field ends.

    The number is -1 for a field that is more than `most`, runs over `end`, or is no plain text.
    """
    if way == _FIXED64:
        fits = at + 8 <= end and 0 <= _bits(data, at) <= most
        return (0 if fits else -1), at, at + 8
    value, at = _varint(data, at, end)
    if value > most:
        return -1, at, at
    if way == _VARINT or value < 0:
        return value, at, at
    return (value if at + value <= end else -1), at, at + value


@_compiled(types.UniTuple(_INT, 4)(_READ, _INT, _INT, types.int8[::1], _WRITTEN))
def _event(
    data: NDArray[np.uint8], at: int, end: int, ways: NDArray[np.int8], most: NDArray[np.int64]
) -> tuple[int, int, int, int]:
    """Return where an event's id stands, its time, its sequence and its type; -1 for the id if it is not plain."""
    id_at, time, sequence, kind = -1, 0, 0, 0
    while at < end:
        tag, at = _varint(data, at, end)
        number, way = tag >> 3, tag & 7
        if tag < 0 or number >= len(ways) or ways[number] != way:
            return -1, time, sequence, kind
        value, begins, at = _field(data, at, end, way, most[number])
        if value < 0:
            return -1, time, sequence, kind
        if number == _ID:
            id_at = begins if value == ID_BYTES else -1
        elif number == _TIME:
            time = value
        elif number == _SEQUENCE:
            sequence = value
        elif number == _TYPE:
            kind = value
        elif way == _BYTES and not _ascii(data, begins, at):
            return -1, time, sequence, kind
    return id_at, time, sequence, kind


@_compiled(types.void(_READ, _WRITTEN, _WRITTEN))
def _locate(data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
    """Find where each event begins and ends; `data` was written by protobuf itself."""
    at = 0
    for index in range(len(starts)):
        length, at = _varint(data, at + _TAG, len(data))
        starts[index] = at
        at += length
        ends[index] = at


@_compiled(_ANSWERS(_READ, _WRITTEN, _WRITTEN, types.int8[::1], _WRITTEN, _INT, _INT, _WRITTEN))
def plain(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    ways: NDArray[np.int8],
    most: NDArray[np.int64],
    oldest: int,
    newest: int,
    sequences: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Say of each event whether it is plainly right, and put the sequences of those that are into `sequences`.

    It need not see all that is right: of an event that is not plain nothing is said, and the contract's own reader may
    find that it can be taken after all. `ways` says by number how a field is written, -1 for no field; `most` how large
    its number, or how many bytes long its text, may be, and of a double its bits. `oldest` and `newest` bound the time,
    in milliseconds since 1970.
    """
    found = np.empty(len(starts), np.bool_)
    for index in range(len(starts)):
        id_at, time, sequence, kind = _event(data, starts[index], ends[index], ways, most)
        within = id_at >= 0 and kind > 0 and oldest <= time <= newest
        found[index] = within and _id_of(data, id_at, time)
        sequences[index] = sequence
    return found


def ways() -> NDArray[np.int8]:
    """Return by number how each field of an event is written, -1 for no field."""
    fields = TelemetryEvent.DESCRIPTOR.fields
    made = np.full(max(field.number for field in fields) + 1, -1, np.int8)
    for field in fields:
        made[field.number] = _WAYS.get(field.type, _VARINT)
    return made
