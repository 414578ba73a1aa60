"""Between the catalog's values and the contract's messages."""

from __future__ import annotations

from reelmesh.catalog.model import Artwork, Details, Person, Video
from reelmesh.catalog.v1 import video_pb2


def details_from_proto(message: video_pb2.Video) -> Details:
    """Take what people may write out of a message; the rest of it is ignored."""
    return Details(
        title=message.title,
        description=message.description,
        tags=tuple(message.tags),
        people=tuple(map(person_from_proto, message.people)),
        genres=tuple(message.genres),
        artwork=tuple(map(artwork_from_proto, message.artwork)),
    )


def video_to_proto(video: Video) -> video_pb2.Video:
    """Write a video as the contract does."""
    details, job = video.details, video.shown
    message = video_pb2.Video(
        name=str(video.name),
        title=details.title,
        description=details.description,
        tags=details.tags,
        people=map(person_to_proto, details.people),
        genres=details.genres,
        artwork=map(artwork_to_proto, details.artwork),
        state=video_pb2.Video.State.Value(f"STATE_{video.state.value}"),
        job=video.job_name,
        upload=video.upload_name,
        etag=video.etag,
    )
    if job is not None:
        message.failure_reason = job.failure_reason
        message.tracks.extend(job.tracks)
        if job.duration is not None:
            message.duration.FromTimedelta(job.duration)
    message.create_time.FromDatetime(video.create_time)
    message.update_time.FromDatetime(video.update_time)
    return message


def person_from_proto(message: video_pb2.Person) -> Person:
    """Read a person."""
    return Person(message.name, message.role, message.character)


def person_to_proto(person: Person) -> video_pb2.Person:
    """Write a person."""
    return video_pb2.Person(name=person.name, role=person.role, character=person.character)


def artwork_from_proto(message: video_pb2.Artwork) -> Artwork:
    """Read a picture."""
    return Artwork(message.kind, message.uri, message.width, message.height)


def artwork_to_proto(artwork: Artwork) -> video_pb2.Artwork:
    """Write a picture."""
    return video_pb2.Artwork(kind=artwork.kind, uri=artwork.uri, width=artwork.width, height=artwork.height)
