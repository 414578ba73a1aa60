"""Follows reelmesh.identity.events: nothing is kept of who has deleted their account."""

from __future__ import annotations

from reelmesh.mesh.names import organization_of
from reelmesh.playback.progress import Watching
from reelmesh.stores.events import Record, identity_event


class Erasures:
    """Forgets what users watched."""

    def __init__(self, watching: Watching) -> None:
        self._watching = watching

    async def handle(self, record: Record) -> None:
        """Raises PoisonRecord, Unavailable."""
        event = identity_event(record)
        for organization in event.user_deleted.organizations:
            await self._watching.forget_viewer(organization_of(organization), event.user)
