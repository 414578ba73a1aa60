"""`reelmesh policies`, `reelmesh plans` and `reelmesh grant`: who may watch what, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table

from reelmesh.billing.v1.checkout_service_pb2 import CreatePriceRequest, ListPricesRequest
from reelmesh.billing.v1.entitlement_pb2 import Grant
from reelmesh.billing.v1.entitlement_service_pb2 import CreateGrantRequest, ListGrantsRequest, RevokeGrantRequest
from reelmesh.billing.v1.policy_pb2 import Policy
from reelmesh.billing.v1.policy_service_pb2 import ListPoliciesRequest, SetPolicyRequest, SetVideoPolicyRequest
from reelmesh.billing.v1.price_pb2 import Price
from reelmesh_tools.client.commands import connected
from reelmesh_tools.client.platform import CALL_SECONDS

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
_LIMIT = 500


class Kind(StrEnum):
    """What opens a video."""

    FREE = "free"
    SUBSCRIPTION = "subscription"
    RENTAL = "rental"
    PURCHASE = "purchase"


class Audience(StrEnum):
    """Whom a free video is for."""

    ANYONE = "anyone"
    SIGNED_IN = "signed_in"
    MEMBERS = "members"


class Interval(StrEnum):
    """How often a plan is paid."""

    MONTH = "month"
    YEAR = "year"


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(policies)
    app.command()(plans)
    app.command()(grant)


def policies(
    name: Annotated[str | None, typer.Argument(help='Policy to set; "default" governs the rest.')] = None,
    kind: Annotated[Kind, typer.Option(help="What opens a video.")] = Kind.FREE,
    audience: Annotated[Audience, typer.Option(help="Whom a free video is for.")] = Audience.MEMBERS,
    plan: Annotated[list[str] | None, typer.Option(help="A plan that opens it; may be repeated.")] = None,
    price: Annotated[list[str] | None, typer.Option(help="A price to offer; may be repeated.")] = None,
    country: Annotated[list[str] | None, typer.Option(help="Only there; may be repeated.")] = None,
    streams: Annotated[int, typer.Option(help="Viewings at once; 0 for any number.")] = 0,
    max_height: Annotated[int, typer.Option(help="Most lines of picture; 0 for any.")] = 0,
    offline: Annotated[bool, typer.Option("--offline", help="Licenses may be kept.")] = False,
    video: Annotated[str | None, typer.Option(help="Let the policy govern this video; nothing else is set.")] = None,
    as_json: _Json = False,
) -> None:
    """List the organization's policies, set one, or say which one governs a video."""
    with connected(as_json=as_json) as platform:
        if name is not None and video is not None:
            policy = f"{platform.parent}/policies/{name}"
            assignment = SetVideoPolicyRequest(video=platform.video_name(video), policy=policy)
            platform.policies.SetVideoPolicy(assignment, timeout=CALL_SECONDS)
        elif name is not None:
            wanted = Policy(
                name=f"{platform.parent}/policies/{name}",
                kind=Policy.Kind.Value(f"KIND_{kind.name}"),
                audience=Policy.Audience.Value(f"AUDIENCE_{audience.name}"),
                plans=[f"{platform.parent}/plans/{each}" for each in plan or ()],
                prices=[f"{platform.parent}/prices/{each}" for each in price or ()],
                allowed_countries=country or (),
                concurrent_streams=streams,
                max_height=max_height,
                offline_allowed=offline,
            )
            platform.policies.SetPolicy(SetPolicyRequest(policy=wanted), timeout=CALL_SECONDS)
        listing = ListPoliciesRequest(parent=platform.parent, page_size=_LIMIT)
        found = platform.policies.ListPolicies(listing, timeout=CALL_SECONDS).policies
        rows = [(each.name.rpartition("/")[2], f"{each.version}", _word(Policy.Kind.Name(each.kind))) for each in found]
        _print("policies", found, ("policy", "version", "kind"), rows, as_json=as_json)


def plans(
    name: Annotated[str | None, typer.Argument(help="Price to add; lists all when left out.")] = None,
    amount: Annotated[int, typer.Option(help="In the currency's smallest unit, such as cents.")] = 0,
    currency: Annotated[str, typer.Option(help="ISO 4217 code.")] = "eur",
    plan: Annotated[str | None, typer.Option(help="Plan that is subscribed to; without one a video is sold.")] = None,
    interval: Annotated[Interval, typer.Option(help="How often a plan is paid.")] = Interval.MONTH,
    trial_days: Annotated[int, typer.Option(help="Days of a plan before the first payment.")] = 0,
    rental_hours: Annotated[int, typer.Option(help="Rent a video for so long; 0 sells it for good.")] = 0,
    title: Annotated[str | None, typer.Option(help="What buyers read; the name when left out.")] = None,
    as_json: _Json = False,
) -> None:
    """List what the organization sells, or add a price: of a plan, of a rental, or of a video for good."""
    with connected(as_json=as_json) as platform:
        if name is not None:
            kind = Price.KIND_SUBSCRIPTION if plan else Price.KIND_RENTAL if rental_hours else Price.KIND_PURCHASE
            wanted = Price(
                name=f"{platform.parent}/prices/{name}",
                display_name=title or name,
                kind=kind,
                currency=currency.lower(),
                amount=amount,
                trial_days=trial_days,
            )
            if plan:
                wanted.plan = f"{platform.parent}/plans/{plan}"
                wanted.interval = Price.Interval.Value(f"INTERVAL_{interval.name}")
            if rental_hours:
                wanted.rental_period.FromTimedelta(timedelta(hours=rental_hours))
            platform.checkout.CreatePrice(CreatePriceRequest(price=wanted), timeout=CALL_SECONDS)
        listing = ListPricesRequest(parent=platform.parent, page_size=_LIMIT)
        found = platform.checkout.ListPrices(listing, timeout=CALL_SECONDS).prices
        rows = [
            (
                each.name.rpartition("/")[2],
                _word(Price.Kind.Name(each.kind)),
                f"{each.amount} {each.currency}",
                each.plan,
            )
            for each in found
        ]
        _print("prices", found, ("price", "kind", "amount", "plan"), rows, as_json=as_json)


def grant(
    user: Annotated[str, typer.Argument(help='Who gets it, "users/…".')],
    plan: Annotated[str | None, typer.Option(help="Give this plan.")] = None,
    video: Annotated[str | None, typer.Option(help="Give this video.")] = None,
    everything: Annotated[bool, typer.Option("--everything", help="Give all that the organization has.")] = False,
    revoke: Annotated[str | None, typer.Option(help="Name of a grant to take back.")] = None,
    as_json: _Json = False,
) -> None:
    """List what a viewer has, give them something, or take it back."""
    with connected(as_json=as_json) as platform:
        if revoke is not None:
            platform.entitlements.RevokeGrant(RevokeGrantRequest(name=revoke), timeout=CALL_SECONDS)
        elif plan or video or everything:
            gift = Grant(
                plan=f"{platform.parent}/plans/{plan}" if plan else "",
                video=platform.video_name(video) if video else "",
            )
            request = CreateGrantRequest(parent=platform.parent, user=user, grant=gift)
            platform.entitlements.CreateGrant(request, timeout=CALL_SECONDS)
        listing = ListGrantsRequest(parent=platform.parent, user=user, page_size=_LIMIT)
        found = platform.entitlements.ListGrants(listing, timeout=CALL_SECONDS).grants
        rows = [
            (each.name, _word(Grant.Kind.Name(each.kind)), each.plan or each.video or "everything", _state(each))
            for each in found
        ]
        _print("grants", found, ("grant", "kind", "opens", "state"), rows, as_json=as_json)


def _state(given: Grant) -> str:
    return "taken back" if given.HasField("revoke_time") else "given"


def _word(value: str) -> str:
    return value.partition("_")[2].lower()


def _print(
    key: str, messages: Sequence[Message], columns: Sequence[str], rows: Sequence[Sequence[str]], *, as_json: bool
) -> None:
    if as_json:
        everything = [MessageToDict(each, always_print_fields_with_no_presence=True) for each in messages]
        typer.echo(json.dumps({key: everything}, indent=2))
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
