"""Who gets a license: whoever has a token of playback's that grants one, until it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reelmesh.drm.decisions import Audit, Decision
from reelmesh.drm.errors import KeySystemDisabled, TokenExpired
from reelmesh.drm.grants import Grant, Grants
from reelmesh.drm.keys import ContentKeys
from reelmesh.drm.systems import Challenge, KeySystem, License, System
from reelmesh.mesh.clock import Clock, IdSource
from reelmesh.mesh.errors import DomainError, Unavailable


class Licenses:
    """Licenses of all key systems."""

    def __init__(
        self,
        grants: Grants,
        keys: ContentKeys,
        systems: Mapping[System, KeySystem],
        audit: Audit,
        clock: Clock,
        ids: IdSource,
    ) -> None:
        """`systems` are those that the installation has."""
        self._grants = grants
        self._keys = keys
        self._systems = systems
        self._audit = audit
        self._clock = clock
        self._ids = ids

    async def issue(self, system: System, token: str, challenge: Challenge) -> License:
        """Answer a challenge, and take down what was decided.

        Whoever comes without a token of ours is told so and is on no record: there is nobody to tell of.

        Raises TokenRequired, TokenInvalid, TokenExpired, KeySystemDisabled, KeysUnknown, AuditBehind, and what the key
        system does.
        """
        grant = self._grants.read(token)
        decision = Decision(
            id=self._ids.new(),
            time=self._clock.now(),
            session=grant.session,
            video=grant.video,
            viewer=grant.viewer,
            system=system,
            persistent=grant.persistent,
            client=challenge.client,
        )
        try:
            license_ = await self._license(system, grant, challenge)
        except Unavailable:
            raise  # nothing was decided
        except DomainError as refusal:
            self._audit.note(replace(decision, reason=refusal.reason))
            raise
        self._audit.note(replace(decision, key_ids=tuple(license_.key_ids)))
        return license_

    async def _license(self, system: System, grant: Grant, challenge: Challenge) -> License:
        maker = self._systems.get(system)
        if maker is None:
            raise KeySystemDisabled(f"this installation gives no licenses of {system.value}")
        if grant.expire_time <= self._clock.now():
            raise TokenExpired("the token has ended: ask for the playback session again")
        keys = await self._keys.of(grant.video)
        granted = {label: key for label, key in keys.items() if label in grant.labels}
        return await maker.license(challenge, grant, granted)
