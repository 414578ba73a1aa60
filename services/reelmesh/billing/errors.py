"""What can go wrong with policies, grants and payments; the reasons are part of the contract."""

from __future__ import annotations

from reelmesh.mesh.errors import (
    Aborted,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)


class PolicyUnknown(NotFound):
    """There is no such policy, or no such version of it."""

    reason = "POLICY_UNKNOWN"


class PolicyContradictory(InvalidArgument):
    """No one could ever satisfy the policy, or it does not say what it asks for."""

    reason = "POLICY_CONTRADICTORY"


class GrantUnknown(NotFound):
    """There is no such grant."""

    reason = "GRANT_UNKNOWN"


class PriceUnknown(NotFound):
    """There is no such price."""

    reason = "PRICE_UNKNOWN"


class PriceContradictory(InvalidArgument):
    """The price does not fit what it is for."""

    reason = "PRICE_CONTRADICTORY"


class PriceExists(Aborted):
    """There is another price of that name."""

    reason = "PRICE_EXISTS"


class VideoNeeded(InvalidArgument):
    """The checkout names no video where one is sold, or one where none is."""

    reason = "VIDEO_NEEDED"


class OrderUnknown(NotFound):
    """There is no such order."""

    reason = "ORDER_UNKNOWN"


class PaymentsDisabled(FailedPrecondition):
    """The installation has no payment provider."""

    reason = "PAYMENTS_DISABLED"


class OrderNotRunning(FailedPrecondition):
    """The order is no subscription that goes on."""

    reason = "ORDER_NOT_RUNNING"


class TestPaymentsDisabled(FailedPrecondition):
    """The installation takes real money only."""

    reason = "TEST_PAYMENTS_DISABLED"


class CardDeclined(InvalidArgument):
    """The test card is one that is declined."""

    reason = "CARD_DECLINED"


class CardUnknown(InvalidArgument):
    """No test card has this number."""

    reason = "CARD_UNKNOWN"


class SignatureMissing(Unauthenticated):
    """A webhook is not signed."""

    reason = "SIGNATURE_MISSING"


class SignatureInvalid(Unauthenticated):
    """A webhook was not signed with our secret, or changed since."""

    reason = "SIGNATURE_INVALID"


class SignatureOld(PermissionDenied):
    """A webhook was signed too long ago."""

    reason = "SIGNATURE_OLD"


class EventMalformed(InvalidArgument):
    """A webhook is signed, but is no event."""

    reason = "EVENT_MALFORMED"


class SpanTooLong(InvalidArgument):
    """More days of usage are asked for than are read at once."""

    reason = "SPAN_TOO_LONG"
