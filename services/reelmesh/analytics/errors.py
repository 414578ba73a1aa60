"""What can go wrong with reports; the reasons are part of the contract."""

from __future__ import annotations

from reelmesh.mesh.errors import InvalidArgument, NotFound


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
