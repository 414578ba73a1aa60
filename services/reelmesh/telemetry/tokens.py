"""Whose telemetry it is: decided and signed by playback, read here."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from reelmesh.mesh.clock import Clock
from reelmesh.mesh.keys import TokenForged
from reelmesh.mesh.lru import Lru
from reelmesh.mesh.names import SessionName, VideoName
from reelmesh.telemetry.errors import TokenExpired, TokenInvalid

ISSUER = "reelmesh.playback"
AUDIENCE = "telemetry"
REMEMBERED = 100_000
"""Tokens that one process remembers: a viewing sends the same with every batch, and a signature takes long to check."""
MOST_CHARACTERS = 16_384
"""Longest token that is looked at."""


class Signatures(Protocol):
    """What tokens need of whoever knows playback's public keys."""

    def read(self, token: str, *, issuer: str, audience: str) -> dict[str, Any]:
        """Return the claims of a token, also of one that has expired. Raises TokenForged."""


@dataclass(frozen=True, slots=True)
class Viewing:
    """What a token says."""

    session: SessionName
    id: bytes
    """The session's id, 16 bytes."""
    video: VideoName
    viewer: bytes
    """Pseudonym of the viewer; empty for nobody in particular."""
    country: str
    """Where playback knows it from a CDN; empty where it does not."""
    experiments: tuple[str, ...]
    """Arms, "experiment:arm" each, sorted."""
    expire_seconds: int
    """When the token ends, in seconds since 1970."""


class Tokens:
    """Reads tokens."""

    def __init__(self, signatures: Signatures, pseudonym: Callable[[str, str], bytes], clock: Clock) -> None:
        """`pseudonym` hashes a viewer of an organization."""
        self._signatures = signatures
        self._pseudonym = pseudonym
        self._clock = clock
        self._known: Lru[str, Viewing] = Lru(REMEMBERED, lambda _: 1)

    def read(self, token: str) -> Viewing:
        """Return whose token this is. Raises TokenInvalid, TokenExpired."""
        viewing = self._known.get(token)
        if viewing is None:
            if not token or len(token) > MOST_CHARACTERS:
                raise TokenInvalid("the batch lacks the telemetry token of its playback session")
            try:
                viewing = self._viewing(self._signatures.read(token, issuer=ISSUER, audience=AUDIENCE))
            except (TokenForged, KeyError, TypeError, ValueError) as error:
                raise TokenInvalid("the token was not issued by playback for telemetry") from error
            self._known.put(token, viewing)
        if viewing.expire_seconds <= _seconds(self._clock.now()):
            raise TokenExpired("the viewing ended too long ago")
        return viewing

    def _viewing(self, claims: dict[str, Any]) -> Viewing:
        session, video = SessionName.parse(claims["sub"]), VideoName.parse(claims["video"])
        if session.organization != video.organization:
            raise ValueError("a session plays videos of its own organization")
        return Viewing(
            session=session,
            id=uuid.UUID(session.id).bytes,
            video=video,
            viewer=self._pseudonym(session.organization, str(claims["viewer"])),
            country=str(claims["country"]),
            experiments=tuple(sorted(map(str, claims["experiments"]))),
            expire_seconds=int(claims["exp"]),
        )


def _seconds(time: datetime) -> int:
    return int(time.timestamp())
