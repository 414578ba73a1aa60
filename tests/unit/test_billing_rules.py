from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from billing_fakes import ANN, NOW, VIDEO

from reelmesh.billing.model import Audience, Grant, GrantKind, GrantName, Kind, Policy, PolicyName, Terms, Viewer
from reelmesh.billing.rules import Case, decide, limits
from reelmesh.mesh.names import VideoName
from reelmesh.mesh.person import Role

DAY = timedelta(days=1)
GOLD, SILVER = "organizations/acme/plans/gold", "organizations/acme/plans/silver"
PRICE = "organizations/acme/prices/once"
OTHER = VideoName("acme", "0198c0de-0000-7000-8000-0000000000ff")
SIGNED_IN = Viewer(ANN)
SUBSCRIPTION, RENTAL, PURCHASE = Kind.SUBSCRIPTION, Kind.RENTAL, Kind.PURCHASE


def grant(kind: GrantKind, **what: Any) -> Grant:
    return Grant(GrantName("acme", ANN, "00000000-0000-7000-8000-000000000001"), kind, NOW - DAY, **what)


def case(terms: Terms, viewer: Viewer, *grants: Grant, devices: frozenset[str] = frozenset()) -> Case:
    return Case(Policy(PolicyName("acme", "p"), 3, terms), VIDEO, viewer, grants, devices, NOW)


ANYONE = Terms(audience=Audience.ANYONE)


@pytest.mark.parametrize(
    ("terms", "viewer", "reason"),
    [
        (ANYONE, Viewer(), ""),
        (Terms(audience=Audience.SIGNED_IN), Viewer(), "SIGN_IN_REQUIRED"),
        (Terms(audience=Audience.SIGNED_IN), SIGNED_IN, ""),
        (Terms(), Viewer(), "SIGN_IN_REQUIRED"),
        (Terms(), SIGNED_IN, "MEMBERS_ONLY"),
        (Terms(), Viewer(ANN, Role.VIEWER), ""),
        (Terms(SUBSCRIPTION, plans=(GOLD,)), Viewer(), "SIGN_IN_REQUIRED"),
        (Terms(SUBSCRIPTION, plans=(GOLD,)), Viewer(ANN, Role.VIEWER), "SUBSCRIPTION_REQUIRED"),
        (Terms(SUBSCRIPTION, plans=(GOLD,)), Viewer(ANN, Role.EDITOR), ""),
        (Terms(SUBSCRIPTION, plans=(GOLD,)), Viewer(ANN, Role.OWNER), ""),
        (Terms(RENTAL), SIGNED_IN, "RENTAL_REQUIRED"),
        (Terms(PURCHASE), SIGNED_IN, "PURCHASE_REQUIRED"),
        (Terms(audience=Audience.ANYONE, start_time=NOW + DAY), Viewer(), "NOT_YET_AVAILABLE"),
        (Terms(audience=Audience.ANYONE, start_time=NOW), Viewer(), ""),
        (Terms(audience=Audience.ANYONE, end_time=NOW), Viewer(), "NO_LONGER_AVAILABLE"),
        (Terms(audience=Audience.ANYONE, end_time=NOW + DAY), Viewer(), ""),
        (Terms(audience=Audience.ANYONE, end_time=NOW), Viewer(ANN, Role.EDITOR), ""),
        (Terms(audience=Audience.ANYONE, allowed_countries=("FR",)), Viewer(country="FR"), ""),
        (Terms(audience=Audience.ANYONE, allowed_countries=("FR",)), Viewer(country="DE"), "NOT_IN_COUNTRY"),
        (Terms(audience=Audience.ANYONE, allowed_countries=("FR",)), Viewer(), "NOT_IN_COUNTRY"),
        (Terms(audience=Audience.ANYONE, denied_countries=("FR",)), Viewer(country="FR"), "NOT_IN_COUNTRY"),
        (Terms(audience=Audience.ANYONE, denied_countries=("FR",)), Viewer(country="DE"), ""),
        (Terms(audience=Audience.ANYONE, denied_countries=("FR",)), Viewer(), "NOT_IN_COUNTRY"),
        # What paying would not help against is told first.
        (Terms(PURCHASE, denied_countries=("FR",)), Viewer(ANN, country="FR"), "NOT_IN_COUNTRY"),
    ],
)
def test_who_may_watch_without_having_anything(terms: Terms, viewer: Viewer, reason: str) -> None:
    decision = decide(case(terms, viewer))
    assert (decision.reason, decision.allowed) == (reason, not reason)
    failed = [step.rule for step in decision.why if not step.passed]
    assert bool(failed) == bool(reason)
    assert decision.why[0].detail == "organizations/acme/policies/p@3"


@pytest.mark.parametrize(
    ("terms", "given", "reason"),
    [
        (Terms(SUBSCRIPTION, plans=(SILVER, GOLD)), grant(GrantKind.SUBSCRIPTION, plan=GOLD), ""),
        (Terms(SUBSCRIPTION, plans=(SILVER,)), grant(GrantKind.SUBSCRIPTION, plan=GOLD), "SUBSCRIPTION_REQUIRED"),
        (Terms(SUBSCRIPTION, plans=(GOLD,)), grant(GrantKind.SUBSCRIPTION, plan=GOLD, expire_time=NOW + DAY), ""),
        (
            Terms(SUBSCRIPTION, plans=(GOLD,)),
            grant(GrantKind.SUBSCRIPTION, plan=GOLD, expire_time=NOW),
            "SUBSCRIPTION_REQUIRED",
        ),
        (
            Terms(SUBSCRIPTION, plans=(GOLD,)),
            grant(GrantKind.SUBSCRIPTION, plan=GOLD, revoke_time=NOW),
            "SUBSCRIPTION_REQUIRED",
        ),
        (Terms(SUBSCRIPTION, plans=(GOLD,)), grant(GrantKind.PURCHASE, video=VIDEO), ""),
        (Terms(SUBSCRIPTION, plans=(GOLD,)), grant(GrantKind.RENTAL, video=VIDEO, rental_period=DAY), ""),
        (Terms(SUBSCRIPTION, plans=(GOLD,)), grant(GrantKind.GIFT, plan=GOLD), ""),
        (Terms(SUBSCRIPTION, plans=(GOLD,)), grant(GrantKind.GIFT), ""),
        (Terms(RENTAL), grant(GrantKind.RENTAL, video=VIDEO, rental_period=DAY), ""),
        (Terms(RENTAL), grant(GrantKind.RENTAL, video=OTHER, rental_period=DAY), "RENTAL_REQUIRED"),
        (Terms(RENTAL), grant(GrantKind.RENTAL, video=VIDEO, rental_period=DAY, first_play_time=NOW - DAY / 2), ""),
        (
            Terms(RENTAL),
            grant(GrantKind.RENTAL, video=VIDEO, rental_period=DAY, first_play_time=NOW - DAY),
            "RENTAL_EXPIRED",
        ),
        # Begun in time, it may be watched beyond the day until which it had to be begun.
        (
            Terms(RENTAL),
            grant(GrantKind.RENTAL, video=VIDEO, rental_period=DAY, first_play_time=NOW - DAY / 2, expire_time=NOW),
            "",
        ),
        (Terms(RENTAL), grant(GrantKind.RENTAL, video=VIDEO, rental_period=DAY, expire_time=NOW), "RENTAL_EXPIRED"),
        (
            Terms(RENTAL),
            grant(GrantKind.RENTAL, video=VIDEO, rental_period=DAY, revoke_time=NOW),
            "RENTAL_REQUIRED",
        ),
        (Terms(RENTAL), grant(GrantKind.PURCHASE, video=VIDEO), ""),
        (Terms(RENTAL), grant(GrantKind.SUBSCRIPTION, plan=GOLD), "RENTAL_REQUIRED"),
        (Terms(PURCHASE), grant(GrantKind.PURCHASE, video=VIDEO), ""),
        (Terms(PURCHASE), grant(GrantKind.PURCHASE, video=OTHER), "PURCHASE_REQUIRED"),
        (Terms(PURCHASE), grant(GrantKind.PURCHASE, video=VIDEO, revoke_time=NOW), "PURCHASE_REQUIRED"),
        (Terms(PURCHASE), grant(GrantKind.RENTAL, video=VIDEO, rental_period=DAY), "PURCHASE_REQUIRED"),
        (Terms(PURCHASE), grant(GrantKind.GIFT, video=VIDEO), ""),
        (Terms(PURCHASE), grant(GrantKind.GIFT, plan=GOLD), "PURCHASE_REQUIRED"),
    ],
)
def test_what_a_grant_opens(terms: Terms, given: Grant, reason: str) -> None:
    decision = decide(case(terms, SIGNED_IN, given))
    assert decision.reason == reason
    assert (decision.grant == given) == (not reason)


def test_a_rental_is_not_begun_where_something_lasting_opens_the_video() -> None:
    rental = Grant(GrantName("acme", ANN, "1"), GrantKind.RENTAL, NOW, video=VIDEO, rental_period=DAY)
    bought = Grant(GrantName("acme", ANN, "2"), GrantKind.PURCHASE, NOW, video=VIDEO)
    assert decide(case(Terms(RENTAL), SIGNED_IN, rental, bought)).grant == bought


@pytest.mark.parametrize(
    ("device", "used", "reason"),
    [
        ("c", {"a", "b"}, "DEVICE_LIMIT"),
        ("b", {"a", "b"}, ""),
        ("b", {"a"}, ""),
    ],
)
def test_devices(device: str, used: set[str], reason: str) -> None:
    terms = Terms(audience=Audience.SIGNED_IN, devices=2)
    assert decide(case(terms, Viewer(ANN, device=device), devices=frozenset(used))).reason == reason
    anonymous = Terms(audience=Audience.ANYONE, devices=2)
    assert decide(case(anonymous, Viewer(device=device), devices=frozenset(used))).allowed


@pytest.mark.parametrize(
    ("lines", "labels"),
    [
        (0, ("AUDIO", "SD", "HD", "UHD")),
        (480, ("AUDIO", "SD")),
        (576, ("AUDIO", "SD")),
        (720, ("AUDIO", "SD", "HD")),
        (1080, ("AUDIO", "SD", "HD")),
        (2160, ("AUDIO", "SD", "HD", "UHD")),
    ],
)
def test_lines_of_picture_say_which_keys_are_given(lines: int, labels: tuple[str, ...]) -> None:
    assert limits(Terms(max_height=lines)).labels == labels


def test_who_is_refused_is_offered_what_would_help() -> None:
    terms = Terms(SUBSCRIPTION, plans=(GOLD,), prices=(PRICE,), denied_countries=("FR",))
    assert decide(case(terms, Viewer(ANN, country="DE"))).offers == (GOLD, PRICE)
    assert decide(case(terms, Viewer(ANN, country="FR"))).offers == ()
