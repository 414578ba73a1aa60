"""The rules of a decision, one function each. Pure: what they need is given to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from reelmesh.billing.model import Audience, Decision, Grant, GrantKind, Kind, Limits, Policy, Step, Terms, Viewer
from reelmesh.mesh.names import VideoName
from reelmesh.mesh.person import Role

SD_LINES = 576
HD_LINES = 1080


@dataclass(frozen=True, slots=True)
class Case:
    """All that a decision follows from."""

    policy: Policy
    video: VideoName
    viewer: Viewer
    grants: Sequence[Grant]
    """What the viewer has in the organization."""
    devices: frozenset[str]
    """Devices on which the viewer watched lately."""
    now: datetime

    @property
    def terms(self) -> Terms:
        """What the policy asks."""
        return self.policy.terms


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says."""

    detail: str
    """What was found, for people."""
    reason: str = ""
    """Why not; empty where nothing stands against it."""
    grant: Grant | None = None
    """What opens it."""


def decide(case: Case) -> Decision:
    """Return whether a viewer may watch, and every rule's verdict. The first that refuses gives the reason."""
    policy = Step("policy", passed=True, detail=str(case.policy))
    if case.viewer.role >= Role.EDITOR:
        staff = Step(
            "staff", passed=True, detail=f"{case.viewer.role.name.lower()} of the organization: no rule applies"
        )
        return Decision(case.policy, why=(policy, staff))
    verdicts = {name: rule(case) for name, rule in RULES.items()}
    steps = [Step(name, passed=not verdict.reason, detail=verdict.detail) for name, verdict in verdicts.items()]
    reason = next((verdict.reason for verdict in verdicts.values() if verdict.reason), "")
    if reason:
        return Decision(case.policy, reason, _offers(case.terms, reason), (policy, *steps))
    return Decision(case.policy, why=(policy, *steps), limits=limits(case.terms), grant=verdicts["kind"].grant)


def limits(terms: Terms) -> Limits:
    """Return the limits of a viewing under `terms`."""
    lines = terms.max_height
    labels = ("AUDIO", "SD", *(["HD"] if not lines or lines > SD_LINES else []))
    return Limits(
        max_height=lines,
        labels=(*labels, *(["UHD"] if not lines or lines > HD_LINES else [])),
        concurrent_streams=terms.concurrent_streams,
        offline_allowed=terms.offline_allowed,
        license_duration=terms.license_duration,
        license_renewal=terms.license_renewal,
    )


def _time(case: Case) -> Verdict:
    start, end = case.terms.start_time, case.terms.end_time
    if start is not None and case.now < start:
        return Verdict(f"from {start.isoformat()} on", "NOT_YET_AVAILABLE")
    if end is not None and case.now >= end:
        return Verdict(f"until {end.isoformat()}", "NO_LONGER_AVAILABLE")
    return Verdict("available now")


def _country(case: Case) -> Verdict:
    allowed, denied, country = case.terms.allowed_countries, case.terms.denied_countries, case.viewer.country
    if not allowed and not denied:
        return Verdict("available everywhere")
    if not country:
        return Verdict("not everywhere, and nobody knows where the viewer is", "NOT_IN_COUNTRY")
    if country in denied or (allowed and country not in allowed):
        return Verdict(f"not available in {country}", "NOT_IN_COUNTRY")
    return Verdict(f"available in {country}")


def _kind(case: Case) -> Verdict:
    if case.terms.kind is Kind.FREE:
        return _free(case)
    if not case.viewer.user:
        return Verdict("the viewer did not sign in", "SIGN_IN_REQUIRED")
    fitting = [grant for grant in case.grants if _opens(grant, case)]
    live = [grant for grant in fitting if grant.live(case.now)]
    if live:
        # What is for good goes first, so that a rental's time does not begin to run without need.
        best = min(live, key=lambda grant: (grant.kind is GrantKind.RENTAL, grant.name.id))
        return Verdict(f"{best.kind.value.lower()} {best.name.id}", grant=best)
    if case.terms.kind is Kind.RENTAL and any(
        grant.kind is GrantKind.RENTAL and grant.revoke_time is None for grant in fitting
    ):
        return Verdict("the rental is over", "RENTAL_EXPIRED")
    return Verdict("nothing that the viewer has opens it", f"{case.terms.kind.value}_REQUIRED")


def _free(case: Case) -> Verdict:
    audience = case.terms.audience
    if audience is Audience.ANYONE:
        return Verdict("free for anyone")
    if not case.viewer.user:
        return Verdict("not for who did not sign in", "SIGN_IN_REQUIRED")
    if audience is Audience.MEMBERS and case.viewer.role < Role.VIEWER:
        return Verdict("for members of the organization", "MEMBERS_ONLY")
    return Verdict(f"free for {'members' if audience is Audience.MEMBERS else 'who signed in'}")


def _opens(grant: Grant, case: Case) -> bool:
    """Say whether a grant, while it lives, opens the video under the policy."""
    if grant.kind is GrantKind.RENTAL and case.terms.kind is Kind.PURCHASE:
        return False
    if grant.video is not None:
        return grant.video == case.video
    if grant.plan:
        return case.terms.kind is Kind.SUBSCRIPTION and grant.plan in case.terms.plans
    return grant.kind is GrantKind.GIFT


def _devices(case: Case) -> Verdict:
    most, used = case.terms.devices, case.devices
    if not most or not case.viewer.user:
        return Verdict("any device")
    if case.viewer.device in used or len(used) < most:
        return Verdict(f"one of {most} devices")
    return Verdict(f"{len(used)} of {most} devices are in use", "DEVICE_LIMIT")


RULES: dict[str, Callable[[Case], Verdict]] = {"time": _time, "country": _country, "kind": _kind, "devices": _devices}
"""In the order in which they are told: where nothing would help, nobody is asked to pay."""


def _offers(terms: Terms, reason: str) -> Sequence[str]:
    if reason in {
        "SUBSCRIPTION_REQUIRED",
        "RENTAL_REQUIRED",
        "RENTAL_EXPIRED",
        "PURCHASE_REQUIRED",
        "SIGN_IN_REQUIRED",
    }:
        return (*terms.plans, *terms.prices)
    return ()
