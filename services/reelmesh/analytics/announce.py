"""What analytics tells on Kafka for whoever wants it: alerts and popular videos."""

from __future__ import annotations

from collections.abc import Sequence

from reelmesh.analytics.alert_rows import AlertName
from reelmesh.analytics.v1.alert_pb2 import Alert
from reelmesh.analytics.v1.popularity_pb2 import PopularityEvent
from reelmesh.stores.events import ALERTS, POPULARITY, Publisher, Record


class Announcements:
    """Publishes to ALERTS, keyed by organization, and to POPULARITY, keyed by video."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def tell(self, alert: Alert) -> None:
        """Publish an alert. Raises Unavailable; then it may be there or not."""
        organization = AlertName.parse(alert.name).organization
        await self._publisher.publish(Record(ALERTS, organization, alert.SerializeToString()))

    async def passed(self, events: Sequence[PopularityEvent]) -> None:
        """Publish that videos are popular. Raises Unavailable; then any may be there or not."""
        await self._publisher.publish(*(Record(POPULARITY, each.video, each.SerializeToString()) for each in events))
