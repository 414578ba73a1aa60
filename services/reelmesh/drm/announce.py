"""Decisions on Kafka, for whoever follows them."""

from __future__ import annotations

from collections.abc import Sequence

from reelmesh.drm.decisions import Decision
from reelmesh.drm.messages import encode
from reelmesh.stores.events import DECISIONS, Publisher, Record


class Announcements:
    """Publishes decisions to DECISIONS, keyed by video."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def publish(self, decisions: Sequence[Decision]) -> None:
        """Publish decisions; some may come twice when this is tried again. Raises Unavailable."""
        await self._publisher.publish(
            *(Record(DECISIONS, str(decision.video), encode(decision)) for decision in decisions)
        )
