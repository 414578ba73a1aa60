"""What a viewing is entitled to: decided and signed by playback, read here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from reelmesh.drm.errors import TokenInvalid, TokenRequired
from reelmesh.drm.recent import Recent
from reelmesh.mesh.keys import TokenForged
from reelmesh.mesh.names import SessionName, VideoName

ISSUER = "reelmesh.playback"
AUDIENCE = "licenses"
REMEMBERED = 20_000
"""Tokens that one process remembers: players ask more than once with the same."""
REMEMBERED_SECONDS = 30.0
"""For how long a token is believed whose key is gone meanwhile."""


class Signatures(Protocol):
    """What grants need of whoever knows playback's public keys."""

    def read(self, token: str, *, issuer: str, audience: str) -> dict[str, Any]:
        """Return the claims of a token, also of one that has expired. Raises TokenForged."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The right to a license."""

    session: SessionName
    video: VideoName
    viewer: str
    """Subject of the viewer; empty for nobody in particular."""
    labels: frozenset[str]
    """Keys that may be handed out."""
    duration: timedelta
    """How long a license may be used."""
    renewal: timedelta
    """After how long it has to be renewed; zero for never."""
    persistent: bool
    """Whether it may be kept, to play without a network."""
    expire_time: datetime
    """When the token ends."""


class Grants:
    """Reads tokens."""

    def __init__(self, signatures: Signatures, monotonic: Callable[[], float]) -> None:
        self._signatures = signatures
        self._recent: Recent[str, Grant] = Recent(REMEMBERED, REMEMBERED_SECONDS, monotonic)

    def read(self, token: str) -> Grant:
        """Return what a token grants, or granted until it expired. Raises TokenRequired, TokenInvalid."""
        if not token:
            raise TokenRequired("the address of the license lacks its token: ask for a playback session")
        grant = self._recent.get(token)
        if grant is None:
            try:
                grant = _grant(self._signatures.read(token, issuer=ISSUER, audience=AUDIENCE))
            except (TokenForged, KeyError, TypeError, ValueError) as error:
                raise TokenInvalid("the token was not issued by playback for licenses") from error
            self._recent.put(token, grant)
        return grant


def _grant(claims: dict[str, Any]) -> Grant:
    session, video = SessionName.parse(claims["sub"]), VideoName.parse(claims["video"])
    if session.organization != video.organization:
        raise ValueError("a session plays videos of its own organization")
    return Grant(
        session=session,
        video=video,
        viewer=str(claims["viewer"]),
        labels=frozenset(claims["labels"]),
        duration=timedelta(seconds=int(claims["seconds"])),
        renewal=timedelta(seconds=int(claims["renew"])),
        persistent=claims["persist"] is True,
        expire_time=datetime.fromtimestamp(int(claims["exp"]), UTC),
    )
