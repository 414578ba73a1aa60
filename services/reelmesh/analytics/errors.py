"""What can go wrong with reports and experiments; the reasons are part of the contract."""

from __future__ import annotations

from reelmesh.mesh.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)


class TimeRangeInvalid(InvalidArgument):
    """A span of time ends before it starts."""

    reason = "TIME_RANGE_INVALID"


class TimeRangeTooLong(InvalidArgument):
    """A span of time is longer than one answer covers."""

    reason = "TIME_RANGE_TOO_LONG"


class FilterInvalid(InvalidArgument):
    """A filter looks at what a viewing has many of."""

    reason = "FILTER_INVALID"


class SessionUnknown(NotFound):
    """No event of a playback session has arrived."""

    reason = "SESSION_UNKNOWN"


class ExperimentUnknown(NotFound):
    """There is no such experiment."""

    reason = "EXPERIMENT_UNKNOWN"


class ExperimentExists(AlreadyExists):
    """There is another experiment of that name."""

    reason = "EXPERIMENT_EXISTS"


class ExperimentEnded(FailedPrecondition):
    """The experiment has ended, and nothing about it changes any more."""

    reason = "EXPERIMENT_ENDED"


class TrafficShrunk(FailedPrecondition):
    """Fewer would take part than do already."""

    reason = "TRAFFIC_SHRUNK"


class ArmRepeated(InvalidArgument):
    """Two arms have the same id."""

    reason = "ARM_REPEATED"


class TooManyExperiments(ResourceExhausted):
    """As many experiments run as may at once."""

    reason = "TOO_MANY_EXPERIMENTS"


class RollupBehind(Unavailable):
    """What has arrived is not counted yet."""

    reason = "ROLLUP_BEHIND"
