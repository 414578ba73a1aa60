"""What can go wrong with playback; the reasons are part of the contract."""

from __future__ import annotations

from reelmesh.mesh.errors import FailedPrecondition, InvalidArgument, NotFound


class VideoUnknown(NotFound):
    """There is no such video."""

    reason = "VIDEO_UNKNOWN"


class VideoNotPlayable(FailedPrecondition):
    """The video is there, but there is nothing to play of it; retry_after is set while that may change by itself."""

    reason = "VIDEO_NOT_PLAYABLE"


class NothingToPlay(NotFound):
    """There is no manifest, because there is nothing to play of such a video."""

    reason = "VIDEO_NOT_PLAYABLE"


class TrackUnknown(NotFound):
    """The presentation has no such track."""

    reason = "TRACK_UNKNOWN"


class SessionUnknown(NotFound):
    """There is no such session, or it has expired."""

    reason = "SESSION_UNKNOWN"


class PositionBeyondEnd(InvalidArgument):
    """The position lies behind the end of the video."""

    reason = "POSITION_BEYOND_END"
