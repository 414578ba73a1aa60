"""Follows reelmesh.identity.events: nothing is kept of who has deleted their account."""

from __future__ import annotations

from reelmesh.mesh.names import organization_of
from reelmesh.recommend.personalization import Personalization
from reelmesh.stores.events import Record, identity_event


class Erasures:
    """Forgets what users chose. What they watched is the warehouse's to forget, before the next model is trained."""

    def __init__(self, personalization: Personalization) -> None:
        self._personalization = personalization

    async def handle(self, record: Record) -> None:
        """Raises PoisonRecord, Unavailable."""
        event = identity_event(record)
        for organization in event.user_deleted.organizations:
            await self._personalization.forget(organization_of(organization), event.user)
