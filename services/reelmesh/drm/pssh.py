"""Boxes of type pssh (ISO/IEC 23001-7, 8.1): what says to a key system which key a track needs.

None of them holds anything secret.
"""

from __future__ import annotations

import base64
import struct
import uuid

from reelmesh.drm.model import Scheme

COMMON = uuid.UUID("1077efec-c0b2-4d02-ace3-3c1e52e2fb4b")
"""W3C Common: key ids and nothing else; what Clear Key reads."""
WIDEVINE = uuid.UUID("edef8ba9-79d6-4ace-a3c8-27dcd51d21ed")
PLAYREADY = uuid.UUID("9a04f079-9840-4286-ab92-e65be0885f95")
FAIRPLAY = uuid.UUID("94ce86fb-07ff-4f43-adb8-93d2fa968ca2")
"""Has no box that players read: an HLS playlist names its key by address."""

_ALGORITHMS = {Scheme.CBCS: "AESCBC", Scheme.CENC: "AESCTR"}
_HEADER = (
    '<WRMHEADER xmlns="http://schemas.microsoft.com/DRM/2007/03/PlayReadyHeader" version="4.3.0.0"><DATA><PROTECTINFO>'
    '<KIDS><KID ALGID="{algorithm}" VALUE="{key_id}"></KID></KIDS></PROTECTINFO></DATA></WRMHEADER>'
)
_RIGHTS_MANAGEMENT = 1
"""Type of the record of a PlayReady object that holds the header."""


def boxes(key_id: bytes, scheme: Scheme) -> dict[uuid.UUID, bytes]:
    """Return the box of each key system for one key."""
    return {
        COMMON: _box(COMMON, b"", key_id),
        WIDEVINE: _box(WIDEVINE, widevine_data(key_id, scheme)),
        PLAYREADY: _box(PLAYREADY, playready_object(key_id, scheme)),
    }


def widevine_data(key_id: bytes, scheme: Scheme) -> bytes:
    """Return Widevine's WidevinePsshData, a message of protobuf: key_ids = 2, protection_scheme = 9 (a fourcc)."""
    fourcc = int.from_bytes(scheme.value.encode())
    return _tag(2, 2) + _varint(len(key_id)) + key_id + _tag(9, 0) + _varint(fourcc)


def playready_object(key_id: bytes, scheme: Scheme) -> bytes:
    """Return a PlayReady object with a header of version 4.3 (PlayReady Header Specification)."""
    header = _HEADER.format(algorithm=_ALGORITHMS[scheme], key_id=playready_key_id(key_id)).encode("utf-16-le")
    record = struct.pack("<HH", _RIGHTS_MANAGEMENT, len(header)) + header
    return struct.pack("<IH", 6 + len(record), 1) + record


def playready_key_id(key_id: bytes) -> str:
    """Write a key id as PlayReady does: base64 of a GUID, whose first three groups are little-endian."""
    return base64.b64encode(uuid.UUID(bytes=key_id).bytes_le).decode()


def _box(system: uuid.UUID, data: bytes, *key_ids: bytes) -> bytes:
    """Version 1 lists key ids; version 0, which every parser knows, has none."""
    version = 1 if key_ids else 0
    listed = struct.pack(">I", len(key_ids)) + b"".join(key_ids) if key_ids else b""
    body = struct.pack(">4sI", b"pssh", version << 24) + system.bytes + listed + struct.pack(">I", len(data)) + data
    return struct.pack(">I", 4 + len(body)) + body


def _tag(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)
