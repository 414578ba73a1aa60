"""What can go wrong with playback; the reasons are part of the contract."""

from __future__ import annotations

from reelmesh.mesh.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Unauthenticated


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


class TokenRequired(Unauthenticated):
    """The address of a manifest lacks the token of its session."""

    reason = "TOKEN_REQUIRED"


class TokenInvalid(Unauthenticated):
    """The token was not issued here, or not for manifests."""

    reason = "TOKEN_INVALID"


class TokenExpired(PermissionDenied):
    """The session of the token is over."""

    reason = "TOKEN_EXPIRED"


class TokenOfOtherVideo(PermissionDenied):
    """The token opens another video."""

    reason = "TOKEN_OF_OTHER_VIDEO"


class PositionBeyondEnd(InvalidArgument):
    """The position lies behind the end of the video."""

    reason = "POSITION_BEYOND_END"
