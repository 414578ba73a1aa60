"""Keys in memory, and what issues license tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from reelmesh.drm.keys import ContentKeys
from reelmesh.drm.model import KeyRow, Wrapped
from reelmesh.drm.wrapping import LocalWrapper
from reelmesh.mesh.keys import KeyRing
from reelmesh.mesh.names import VideoName

VIDEO = VideoName("acme", "0198c0de-0000-7000-8000-000000000001")
OTHER = VideoName("acme", "0198c0de-0000-7000-8000-000000000002")
SESSION = "organizations/acme/sessions/0198c0de-0000-7000-8000-00000000000a"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
RING = KeyRing({"1": ec.generate_private_key(ec.SECP256R1())})


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class MemoryKeyStore:
    """Keys in a dictionary; counts how often it is read."""

    def __init__(self) -> None:
        self.rows: dict[VideoName, list[KeyRow]] = {}
        self.loads = 0

    async def load(self, video: VideoName) -> Sequence[KeyRow]:
        self.loads += 1
        return list(self.rows.get(video, ()))

    async def add(self, video: VideoName, known: Sequence[KeyRow], new: Sequence[KeyRow]) -> bool:
        if list(known) != self.rows.get(video, []):
            return False
        self.rows[video] = [*known, *new]
        return True

    async def remove(self, video: VideoName, known: Sequence[KeyRow]) -> bool:
        if list(known) != self.rows.get(video, []):
            return False
        del self.rows[video]
        return True

    async def rewrap(self, row: KeyRow, wrapped: Wrapped) -> bool:
        rows = self.rows[row.video]
        if row not in rows:
            return False
        rows[rows.index(row)] = replace(row, wrapped=wrapped)
        return True

    async def videos(self, after: str, size: int) -> tuple[Sequence[VideoName], str]:
        behind = sorted((video for video in self.rows if str(video) > after), key=str)[:size]
        return behind, str(behind[-1]) if len(behind) == size else ""


def wrapper(**versions: bytes) -> LocalWrapper:
    """Wrap under keys given by version."""
    return LocalWrapper(lambda: versions)


def content_keys(store: MemoryKeyStore, clock: Clock, wrapping: LocalWrapper | None = None) -> ContentKeys:
    """Keys over memory."""
    return ContentKeys(store, wrapping or wrapper(v1=bytes(32)), clock, clock.monotonic)


def token(ring: KeyRing = RING, **changes: Any) -> str:
    """A token that grants sound and SD of VIDEO for an hour, but for `changes`; None leaves a claim out."""
    claims = {
        "iss": "reelmesh.playback",
        "aud": "licenses",
        "sub": SESSION,
        "exp": int((NOW + timedelta(minutes=5)).timestamp()),
        "video": str(VIDEO),
        "labels": ["AUDIO", "SD"],
        "seconds": 3600,
        "renew": 600,
        "persist": False,
        "viewer": "users/ann",
        **changes,
    }
    return ring.sign({name: value for name, value in claims.items() if value is not None})
