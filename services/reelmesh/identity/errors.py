"""What can go wrong with accounts; the reasons are part of the contract."""

from __future__ import annotations

from reelmesh.mesh.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unauthenticated,
)


class EmailTaken(AlreadyExists):
    """Another account has the address."""

    reason = "EMAIL_TAKEN"


class RegistrationClosed(FailedPrecondition):
    """The organization does not let people register, or there is none."""

    reason = "REGISTRATION_CLOSED"


class PasswordTooCommon(InvalidArgument):
    """The password is among the first that anyone would try."""

    reason = "PASSWORD_TOO_COMMON"


class CredentialsWrong(Unauthenticated):
    """Address and password do not belong together; which of them is wrong is not said."""

    reason = "CREDENTIALS_WRONG"


class TotpRequired(Unauthenticated):
    """The password is right, and the account has a second factor."""

    reason = "TOTP_REQUIRED"


class TotpWrong(Unauthenticated):
    """The code is not the one of now, or was used already."""

    reason = "TOTP_WRONG"


class TotpEnabled(FailedPrecondition):
    """There is a second factor already."""

    reason = "TOTP_ENABLED"


class TotpNotBegun(FailedPrecondition):
    """There is no secret that a code could confirm."""

    reason = "TOTP_NOT_BEGUN"


class TooManyAttempts(ResourceExhausted):
    """Too many tries failed; retry_after says when the next one is heard."""

    reason = "TOO_MANY_ATTEMPTS"


class RefreshTokenInvalid(Unauthenticated):
    """It is no refresh token of ours, or its device is signed out."""

    reason = "REFRESH_TOKEN_INVALID"


class RefreshTokenReused(Unauthenticated):
    """The token was used before, so someone has a copy; the device is signed out now."""

    reason = "REFRESH_TOKEN_REUSED"


class RefreshTokenRotated(Aborted):
    """The token was used a moment ago, most likely by the same client."""

    reason = "REFRESH_TOKEN_ROTATED"


class MailTokenUnknown(NotFound):
    """The token was not mailed by us, was used, or has expired."""

    reason = "MAIL_TOKEN_UNKNOWN"


class ApiKeyInvalid(Unauthenticated):
    """No service account has this key."""

    reason = "API_KEY_INVALID"


class UserUnknown(NotFound):
    """There is no such account."""

    reason = "USER_UNKNOWN"


class OrganizationUnknown(NotFound):
    """There is no such organization."""

    reason = "ORGANIZATION_UNKNOWN"


class LastOwner(FailedPrecondition):
    """An organization would be left without an owner."""

    reason = "LAST_OWNER"
