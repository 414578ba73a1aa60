"""What can go wrong with policies and grants; the reasons are part of the contract."""

from __future__ import annotations

from reelmesh.mesh.errors import InvalidArgument, NotFound


class PolicyUnknown(NotFound):
    """There is no such policy, or no such version of it."""

    reason = "POLICY_UNKNOWN"


class PolicyContradictory(InvalidArgument):
    """No one could ever satisfy the policy, or it does not say what it asks for."""

    reason = "POLICY_CONTRADICTORY"


class GrantUnknown(NotFound):
    """There is no such grant."""

    reason = "GRANT_UNKNOWN"
