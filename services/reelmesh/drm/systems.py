"""What every key system has in common: a challenge of a CDM comes in, a license goes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from reelmesh.drm.grants import Grant
from reelmesh.drm.keys import Keys


class System(Enum):
    """Key systems."""

    CLEAR_KEY = "clearkey"
    WIDEVINE = "widevine"
    PLAYREADY = "playready"
    FAIRPLAY = "fairplay"


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a player asks with."""

    body: bytes
    """As the CDM made it."""
    asset: str = ""
    """What the player calls the key that it wants, where that is not in the body (FairPlay)."""
    client: str = ""
    """Address that it asks from; empty where it is not known."""


@dataclass(frozen=True, slots=True)
class License:
    """What a player is answered."""

    content_type: str
    body: bytes = field(repr=False)
    """As the CDM reads it; of Clear Key it holds keys."""
    key_ids: Sequence[bytes]
    """Keys that it holds, or may hold."""


class KeySystem(Protocol):
    """Makes the licenses of one key system."""

    async def license(self, challenge: Challenge, grant: Grant, keys: Keys) -> License:
        """Answer a challenge with no other keys than `keys`, which the grant allows.

        Raises LicenseRequestMalformed, KeyNotGranted, PersistenceNotGranted, Unavailable.
        """
