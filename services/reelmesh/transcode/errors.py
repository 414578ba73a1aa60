"""What can go wrong with a job; the reasons are part of the contract."""

from __future__ import annotations

from reelmesh.mesh.errors import FailedPrecondition, NotFound


class JobUnknown(NotFound):
    """There is no such job."""

    reason = "JOB_UNKNOWN"


class SourceUnknown(NotFound):
    """No finished upload has that name."""

    reason = "SOURCE_UNKNOWN"


class IndexUnknown(NotFound):
    """No job of the video is playable yet."""

    reason = "INDEX_UNKNOWN"


class JobEnded(FailedPrecondition):
    """The job has ended, so it cannot be cancelled."""

    reason = "JOB_ENDED"


class JobNotFailed(FailedPrecondition):
    """The job runs or has succeeded, so there is nothing to retry."""

    reason = "JOB_NOT_FAILED"


class TaskObsolete(FailedPrecondition):
    """The task is done, cancelled, queued anew, or someone works on it: drop it."""

    reason = "TASK_OBSOLETE"
