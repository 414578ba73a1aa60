"""What can go wrong with keys and licenses; the reasons are part of the contract."""

from __future__ import annotations

from datetime import timedelta

from reelmesh.mesh.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)


class KeysUnknown(NotFound):
    """The video has no keys."""

    reason = "KEYS_UNKNOWN"


class SchemeMismatch(FailedPrecondition):
    """The video's keys were made for another encryption scheme."""

    reason = "SCHEME_MISMATCH"


class WrappingKeyMissing(Unavailable):
    """The key that a content key is wrapped with is not there; it may be put back."""

    reason = "WRAPPING_KEY_MISSING"


class TokenRequired(Unauthenticated):
    """The address of a license lacks the token of its session."""

    reason = "TOKEN_REQUIRED"


class TokenInvalid(Unauthenticated):
    """The token was not issued by playback, or not for licenses."""

    reason = "TOKEN_INVALID"


class TokenExpired(PermissionDenied):
    """The token has ended; its session may have another."""

    reason = "TOKEN_EXPIRED"


class KeyNotGranted(PermissionDenied):
    """A key is asked for that the token does not grant."""

    reason = "KEY_NOT_GRANTED"


class PersistenceNotGranted(PermissionDenied):
    """A license to keep is asked for, and the token grants none."""

    reason = "PERSISTENCE_NOT_GRANTED"


class KeySystemDisabled(PermissionDenied):
    """The installation gives no licenses of this key system."""

    reason = "KEY_SYSTEM_DISABLED"


class LicenseRequestMalformed(InvalidArgument):
    """The request is not what a CDM of this key system sends."""

    reason = "LICENSE_REQUEST_MALFORMED"


class LicenseRefused(PermissionDenied):
    """The license server of the key system refused."""

    reason = "LICENSE_REFUSED"


class LicenseServerUnavailable(Unavailable):
    """The license server of the key system does not answer."""

    reason = "LICENSE_SERVER_UNAVAILABLE"

    def __init__(self, message: str, **metadata: object) -> None:
        super().__init__(message, retry_after=timedelta(seconds=1), **metadata)


class AuditBehind(Unavailable):
    """Too many decisions wait to be written down to make another."""

    reason = "AUDIT_BEHIND"


class IntervalTooLong(InvalidArgument):
    """A list is asked for over more days than one may cover."""

    reason = "INTERVAL_TOO_LONG"


class CpixMalformed(InvalidArgument):
    """The document is none, or lacks what it needs."""

    reason = "CPIX_MALFORMED"


class CpixUnsupported(InvalidArgument):
    """The document asks for what is not done here."""

    reason = "CPIX_UNSUPPORTED"


class KeysDiffer(FailedPrecondition):
    """The video has other keys than those that are brought."""

    reason = "KEYS_DIFFER"
