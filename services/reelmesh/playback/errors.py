"""What can go wrong with playback; the reasons are part of the contract."""

from __future__ import annotations

from collections.abc import Sequence

from google.rpc import code_pb2

from reelmesh.mesh.errors import (
    DomainError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)


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


class NotEntitled(PermissionDenied):
    """Billing says that the viewer may not watch; the reason is billing's."""

    def __init__(self, reason: str, policy: str, offers: Sequence[str]) -> None:
        super().__init__("the video's policy does not let you watch it", policy=policy, offers=" ".join(offers))
        self.reason = reason


class StreamLimit(ResourceExhausted):
    """The viewer watches in as many places as the policy allows."""

    reason = "STREAM_LIMIT"


class StreamLapsed(FailedPrecondition):
    """The viewing was not kept in time, and has to be kept before it goes on."""

    reason = "STREAM_LAPSED"


class SessionOver(DomainError):
    """A viewing has ended before its time."""

    code = code_pb2.PERMISSION_DENIED


class SessionEnded(SessionOver):
    """It was ended by whoever started it, or by an owner."""

    code = code_pb2.FAILED_PRECONDITION
    reason = "SESSION_ENDED"


class StreamTakenOver(SessionOver):
    """Another viewing of the same viewer has taken its place."""

    reason = "STREAM_TAKEN_OVER"


class SessionShared(SessionOver):
    """It was kept from more places than one viewer is in."""

    reason = "SESSION_SHARED"
