"""Between the catalog's values and the records of Kafka."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from reelmesh.catalog.model import Deletion
from reelmesh.catalog.pipeline import EventMalformed
from reelmesh.catalog.projection import Projection
from reelmesh.events.v1.media_event_pb2 import MediaEvent, VideoDeleted
from reelmesh.stores.events import MEDIA_EVENTS, Handler, PoisonRecord, Record


def deleted(deletion: Deletion) -> Record:
    """Write the event that a video is gone."""
    event = MediaEvent(id=deletion.event_id, video=str(deletion.name), video_deleted=VideoDeleted())
    event.time.FromDatetime(deletion.time)
    return Record(MEDIA_EVENTS, event.video, event.SerializeToString())


def handler(projection: Projection) -> Handler:
    """Return what a subscription calls with each record. It raises PoisonRecord for one that is no MediaEvent."""

    async def handle(record: Record) -> None:
        try:
            await projection.apply(MediaEvent.FromString(record.value))
        except (DecodeError, EventMalformed) as error:
            raise PoisonRecord("EVENT_MALFORMED", f"not a MediaEvent of a video: {error}") from error

    return handle
