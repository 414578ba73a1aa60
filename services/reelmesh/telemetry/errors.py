"""What can go wrong with a whole batch; the reasons are part of the contract. See validation.py for single events."""

from __future__ import annotations

from datetime import timedelta

from reelmesh.mesh.errors import InvalidArgument, PermissionDenied, Unauthenticated, Unavailable


class TokenInvalid(Unauthenticated):
    """The token was not issued by playback, or not for telemetry."""

    reason = "TELEMETRY_TOKEN_INVALID"


class TokenExpired(Unauthenticated):
    """The viewing is over, and the time to tell of it too."""

    reason = "TELEMETRY_TOKEN_EXPIRED"


class SessionForeign(PermissionDenied):
    """The batch is said to be of another viewing than the token's."""

    reason = "SESSION_FOREIGN"


class BatchTooLarge(InvalidArgument):
    """The batch has more than is taken at once."""

    reason = "BATCH_TOO_LARGE"


class JsonInvalid(InvalidArgument):
    """The beacon is not JSON, or not that of a ReportRequest."""

    reason = "JSON_INVALID"


class BrokerUnavailable(Unavailable):
    """Kafka did not confirm in time; nothing of the batch counts as accepted."""

    reason = "BROKER_UNAVAILABLE"

    def __init__(self, message: str, **metadata: object) -> None:
        super().__init__(message, retry_after=timedelta(seconds=1), **metadata)
