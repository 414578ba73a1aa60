"""Between the catalog's values and the records of Kafka."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from google.protobuf.message import DecodeError

from reelmesh.catalog.model import Deletion
from reelmesh.catalog.pipeline import EventMalformed, video_of
from reelmesh.catalog.projection import Projection
from reelmesh.catalog.title_model import Held
from reelmesh.events.v1.media_event_pb2 import MediaEvent, VideoDeleted
from reelmesh.events.v1.title_event_pb2 import TitleEvent
from reelmesh.mesh.names import VideoName
from reelmesh.stores.events import MEDIA_EVENTS, TITLES, Handler, PoisonRecord, Publisher, Record


def deleted(deletion: Deletion) -> Record:
    """Write the event that a video is gone."""
    event = MediaEvent(id=deletion.event_id, video=str(deletion.name), video_deleted=VideoDeleted())
    event.time.FromDatetime(deletion.time)
    return Record(MEDIA_EVENTS, event.video, event.SerializeToString())


def handler(projection: Projection, lose: Callable[[VideoName], Awaitable[None]]) -> Handler:
    """Return what a subscription calls with each record; `lose` is told of videos that are gone.

    It raises PoisonRecord for one that is no MediaEvent.
    """

    async def handle(record: Record) -> None:
        try:
            event = MediaEvent.FromString(record.value)
            await projection.apply(event)
            if event.WhichOneof("event") == "video_deleted":
                await lose(video_of(event))
        except (DecodeError, EventMalformed) as error:
            raise PoisonRecord("EVENT_MALFORMED", f"not a MediaEvent of a video: {error}") from error

    return handle


class KafkaTitleEvents:
    """The compacted topic of titles."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def publish(self, titles: Iterable[tuple[str, Held]]) -> None:
        """Publish titles, each under the id of its event, and wait until Kafka has them. Raises Unavailable."""
        await self._publisher.publish(*(_title(id_, held) for id_, held in titles))


def _title(id_: str, held: Held) -> Record:
    if held.deleted:
        return Record(TITLES, held.title.name, b"")
    event = TitleEvent(id=id_, time=held.title.update_time, title=held.title)
    return Record(TITLES, held.title.name, event.SerializeToString())
