"""How tracks are encrypted, as manifests tell it: which key, and what each key system needs to ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from reelmesh.media.v1 import media_pb2

COMMON = UUID("1077efec-c0b2-4d02-ace3-3c1e52e2fb4b")
"""System of the boxes that name key ids and nothing else (W3C); for Clear Key."""
WIDEVINE = UUID("edef8ba9-79d6-4ace-a3c8-27dcd51d21ed")
PLAYREADY = UUID("9a04f079-9840-4286-ab92-e65be0885f95")

_SCHEMES = {media_pb2.Protection.SCHEME_CBCS: "cbcs", media_pb2.Protection.SCHEME_CENC: "cenc"}


@dataclass(frozen=True, slots=True)
class Protection:
    """How a track is encrypted."""

    scheme: str
    """"cbcs" or "cenc"."""
    key_id: UUID
    label: str
    """What its key is for: tracks of one label share it."""
    boxes: Mapping[UUID, bytes] = field(hash=False)
    """The pssh box of each key system, in the order in which the drm service gave them."""


def from_proto(message: media_pb2.Protection) -> Protection:
    """Read how a track is encrypted."""
    return Protection(
        scheme=_SCHEMES[message.scheme],
        key_id=UUID(bytes=message.key_id),
        label=message.label,
        boxes={UUID(bytes=box[12:28]): box for box in message.pssh},
    )


def data_of(pssh: bytes) -> bytes:
    """Return what a pssh box of version 0 (ISO/IEC 23001-7, 8.1) holds for its key system."""
    return pssh[32:]
