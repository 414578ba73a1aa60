"""Who gets a license: whoever has a token of playback's that grants one, until it ends."""

from __future__ import annotations

from collections.abc import Mapping

from reelmesh.drm.errors import KeySystemDisabled, TokenExpired
from reelmesh.drm.grants import Grants
from reelmesh.drm.keys import ContentKeys
from reelmesh.drm.systems import Challenge, KeySystem, License, System
from reelmesh.mesh.clock import Clock


class Licenses:
    """Licenses of all key systems."""

    def __init__(self, grants: Grants, keys: ContentKeys, systems: Mapping[System, KeySystem], clock: Clock) -> None:
        """`systems` are those that the installation has."""
        self._grants = grants
        self._keys = keys
        self._systems = systems
        self._clock = clock

    async def issue(self, system: System, token: str, challenge: Challenge) -> License:
        """Answer a challenge.

        Raises KeySystemDisabled, TokenRequired, TokenInvalid, TokenExpired, KeysUnknown, and what the key system does.
        """
        maker = self._systems.get(system)
        if maker is None:
            raise KeySystemDisabled(f"this installation gives no licenses of {system.value}")
        grant = self._grants.read(token)
        if grant.expire_time <= self._clock.now():
            raise TokenExpired("the token has ended: ask for the playback session again")
        keys = await self._keys.of(grant.video)
        granted = {label: key for label, key in keys.items() if label in grant.labels}
        return await maker.license(challenge, grant, granted)
