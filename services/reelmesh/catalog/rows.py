"""Between videos and the rows of the table videos."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from reelmesh.catalog.messages import artwork_from_proto, artwork_to_proto, person_from_proto, person_to_proto
from reelmesh.catalog.model import Details, Job, JobState, Video
from reelmesh.catalog.v1 import video_pb2
from reelmesh.media.v1.media_pb2 import Track
from reelmesh.mesh.names import VideoName
from reelmesh.stores.cassandra import Row

VIDEO_COLUMNS = (
    "title",
    "description",
    "tags",
    "people",
    "genres",
    "artwork",
    "upload",
    "create_time",
    "update_time",
)
"""Static columns beside revision and deleted_time, in the order of `video_values`."""
JOB_COLUMNS = ("job_state", "tracks", "duration_us", "failure_reason", "failed_time")
"""Columns of a job's row, in the order of `job_values`."""

_MICROSECOND = timedelta(microseconds=1)


def video_values(video: Video) -> tuple[Any, ...]:
    """Return the values of VIDEO_COLUMNS."""
    details = video.details
    return (
        details.title,
        details.description,
        list(details.tags),
        [person_to_proto(person).SerializeToString(deterministic=True) for person in details.people],
        list(details.genres),
        [artwork_to_proto(artwork).SerializeToString(deterministic=True) for artwork in details.artwork],
        video.upload,
        video.create_time,
        video.update_time,
    )


def job_values(job: Job) -> tuple[Any, ...]:
    """Return the values of JOB_COLUMNS."""
    return (
        job.state.name,
        [track.SerializeToString(deterministic=True) for track in job.tracks],
        None if job.duration is None else job.duration // _MICROSECOND,
        job.failure_reason,
        job.failed_time,
    )


def video_of(name: VideoName, rows: Sequence[Row]) -> Video | None:
    """Make a video of its partition; None when there is none or it has been deleted."""
    if not rows or rows[0].revision is None or rows[0].deleted_time is not None:
        return None
    head = rows[0]
    details = Details(
        title=head.title or "",
        description=head.description or "",
        tags=tuple(head.tags or ()),
        people=tuple(person_from_proto(video_pb2.Person.FromString(blob)) for blob in head.people or ()),
        genres=tuple(head.genres or ()),
        artwork=tuple(artwork_from_proto(video_pb2.Artwork.FromString(blob)) for blob in head.artwork or ()),
    )
    return Video(
        name=name,
        create_time=_utc(head.create_time),
        update_time=_utc(head.update_time),
        details=details,
        upload=head.upload or "",
        jobs={row.job: _job(row) for row in rows if row.job is not None},
        revision=head.revision,
    )


def _job(row: Row) -> Job:
    return Job(
        id=row.job,
        state=JobState[row.job_state],
        tracks=tuple(Track.FromString(blob) for blob in row.tracks or ()),
        duration=None if row.duration_us is None else row.duration_us * _MICROSECOND,
        failure_reason=row.failure_reason or "",
        failed_time=None if row.failed_time is None else _utc(row.failed_time),
    )


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC)
