"""Follows reelmesh.identity.events: nothing is kept of who has deleted their account."""

from __future__ import annotations

from reelmesh.analytics.erasure import Erasure
from reelmesh.mesh.names import organization_of
from reelmesh.stores.events import Record, identity_event


class Departures:
    """Forgets what users watched."""

    def __init__(self, erasure: Erasure) -> None:
        self._erasure = erasure

    async def handle(self, record: Record) -> None:
        """Raises PoisonRecord, Unavailable."""
        event = identity_event(record)
        for organization in event.user_deleted.organizations:
            await self._erasure.erase_viewer(organization_of(organization), event.user)
