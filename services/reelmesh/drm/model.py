"""Content keys, in the clear and wrapped."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from reelmesh.mesh.names import VideoName


class Scheme(Enum):
    """How samples are encrypted (ISO/IEC 23001-7)."""

    CBCS = "cbcs"
    """AES-CBC over a pattern of blocks, with a constant initialization vector."""
    CENC = "cenc"
    """AES-CTR over whole samples."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A key's value, encrypted under a wrapping key."""

    version: str
    """Name of the wrapping key."""
    data: bytes


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A content key as it is kept."""

    video: VideoName
    label: str
    """What it encrypts: AUDIO, SD, HD or UHD."""
    scheme: Scheme
    key_id: bytes
    iv: bytes
    """Constant initialization vector of cbcs; empty with cenc."""
    wrapped: Wrapped
    create_time: datetime

    @property
    def context(self) -> bytes:
        """What the wrapped value is bound to: moved to another row, it cannot be unwrapped."""
        return f"{self.video}\n{self.label}\n{self.key_id.hex()}".encode()


@dataclass(frozen=True, slots=True, repr=False)
class ContentKey:
    """A content key in the clear. It is shown, and so logged, without its value."""

    label: str
    scheme: Scheme
    key_id: bytes
    iv: bytes
    create_time: datetime
    value: bytes

    def __repr__(self) -> str:
        return f"ContentKey({self.label}, {uuid.UUID(bytes=self.key_id)})"
