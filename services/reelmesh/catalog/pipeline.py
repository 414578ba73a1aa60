"""What each event of the pipeline changes in a video. Pure: a video goes in, a video comes out.

Events come at least once, and late ones out of order. So nothing here depends on their order: each job is followed by
itself, a step back is ignored, and what is shown is chosen among the jobs afterwards. That way a re-encode that fails,
or an old job's late success, takes nothing away from a video that can be played.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from reelmesh.catalog.model import Job, JobState, Video
from reelmesh.events.v1.media_event_pb2 import (
    JobFailed,
    JobPlanned,
    JobPlayable,
    JobSucceeded,
    MediaEvent,
    UploadCompleted,
)
from reelmesh.mesh.names import JobName, ResourceName, UploadName, VideoName

MAX_TITLE = 500
"""Characters; the contract's limit, which a file's name may exceed."""
MAX_JOBS = 16
"""Jobs remembered of one video."""
CANCELLED = "JOB_CANCELLED"
"""Failure reason of a job that someone ended."""


class EventMalformed(Exception):
    """The event names something that is no resource, or no moment; it can never be applied."""


def video_of(event: MediaEvent) -> VideoName:
    """Return the video that an event is about. Raises EventMalformed."""
    return VideoName(*_parsed(VideoName, event.video))


def created(name: VideoName, event: MediaEvent, now: datetime) -> Video:
    """Return the video that a completed upload makes when nobody wrote a draft before. Raises EventMalformed."""
    video = Video(name, create_time=now, update_time=now)
    return _uploaded(video, event.upload_completed)


def applied(video: Video, event: MediaEvent) -> Video:
    """Return the video after an event; an event that says nothing new returns it as it is.

    Raises EventMalformed.
    """
    try:
        time = event.time.ToDatetime(tzinfo=UTC)
    except ValueError as error:
        raise EventMalformed(f"its time is none: {error}") from error
    match event.WhichOneof("event"):
        case "upload_completed":
            return _uploaded(video, event.upload_completed)
        case "job_planned":
            return _planned(video, event.job_planned, time)
        case "job_playable":
            return _playable(video, event.job_playable, time)
        case "job_succeeded":
            return _succeeded(video, event.job_succeeded, time)
        case "job_failed":
            return _failed(video, event.job_failed, time)
    return video  # our own video_deleted, or a fact from a newer producer


def _uploaded(video: Video, event: UploadCompleted) -> Video:
    _, upload = _parsed(UploadName, event.upload)
    if upload <= video.upload:
        return video  # ids are time-ordered: this one was seen, or a newer one has replaced it
    # A new source is a new chance: what failed before says nothing about it.
    jobs = {job.id: job for job in video.jobs.values() if job.state is not JobState.FAILED}
    details = video.details
    if not details.title and not video.upload:
        details = replace(details, title=_title(event))
    return replace(video, upload=upload, jobs=jobs, details=details)


def _title(event: UploadCompleted) -> str:
    return (event.title or event.display_name)[:MAX_TITLE]


def _planned(video: Video, event: JobPlanned, time: datetime) -> Video:
    job = _job(video, event.job)
    if job is None:
        return video
    tracks = job.tracks or tuple(event.tracks)  # what job_playable said has the codecs as well
    duration = event.duration.ToTimedelta() if event.HasField("duration") else job.duration
    return _with(video, replace(_forward(job, JobState.PLANNED, time), tracks=tracks, duration=duration))


def _playable(video: Video, event: JobPlayable, time: datetime) -> Video:
    job = _job(video, event.job)
    if job is None:
        return video
    return _with(video, replace(_forward(job, JobState.PLAYABLE, time), tracks=tuple(event.tracks) or job.tracks))


def _succeeded(video: Video, event: JobSucceeded, time: datetime) -> Video:
    job = _job(video, event.job)
    return video if job is None else _with(video, _forward(job, JobState.SUCCEEDED, time))


def _failed(video: Video, event: JobFailed, time: datetime) -> Video:
    job = _job(video, event.job)
    if job is None or job.state is JobState.SUCCEEDED:
        return video  # succeeded after a retry; this failure is the one before
    if job.failed_time is not None and time <= job.failed_time:
        return video  # said before, and perhaps retried since
    reason = CANCELLED if event.cancelled else event.reason
    return _with(video, replace(job, state=JobState.FAILED, failure_reason=reason, failed_time=time))


def _forward(job: Job, state: JobState, time: datetime) -> Job:
    """Move a job on. Out of FAILED it comes by success, or by what was said after the failure: it was retried."""
    if job.state is JobState.FAILED and state is not JobState.SUCCEEDED:
        if job.failed_time is not None and time <= job.failed_time:
            return job
        return replace(job, state=state, failure_reason="")
    return replace(job, state=max(job.state, state), failure_reason="")


def _job(video: Video, name: str) -> Job | None:
    """Return a job as known, or a new one; None when a newer job has made it meaningless."""
    _, id_ = _parsed(JobName, name)
    newest_success = max((job.id for job in video.jobs.values() if job.state is JobState.SUCCEEDED), default="")
    if id_ < newest_success:
        return None
    return video.jobs.get(id_) or Job(id_, JobState.PLANNED)


def _with(video: Video, job: Job) -> Video:
    jobs = {**video.jobs, job.id: job}
    if job.state is JobState.SUCCEEDED:
        # Nothing older will be shown again.
        jobs = {id_: other for id_, other in jobs.items() if id_ >= job.id}
    kept = sorted(jobs.values(), key=lambda other: (other.state, other.id), reverse=True)[:MAX_JOBS]
    return replace(video, jobs={other.id: other for other in sorted(kept, key=lambda other: other.id)})


def _parsed(kind: type[ResourceName], name: str) -> tuple[str, str]:
    try:
        parsed = kind.parse(name)
    except ValueError as error:
        raise EventMalformed(str(error)) from error
    return parsed.organization, parsed.id
