"""Between the contract's messages and billing's values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from reelmesh.billing.model import Audience, Decision, Grant, Kind, Policy, PriceName, Terms
from reelmesh.billing.orders import Interval, Order, Price, PriceKind, Standing
from reelmesh.billing.v1 import entitlement_pb2, policy_pb2, price_pb2

_INTERVALS = {
    price_pb2.Price.INTERVAL_UNSPECIFIED: Interval.ONCE,
    price_pb2.Price.INTERVAL_MONTH: Interval.MONTH,
    price_pb2.Price.INTERVAL_YEAR: Interval.YEAR,
}


def terms_from_proto(message: policy_pb2.Policy) -> Terms:
    """Read what a policy asks."""
    audience = message.audience or policy_pb2.Policy.AUDIENCE_MEMBERS
    return Terms(
        kind=Kind(policy_pb2.Policy.Kind.Name(message.kind).removeprefix("KIND_")),
        audience=Audience(policy_pb2.Policy.Audience.Name(audience).removeprefix("AUDIENCE_")),
        plans=tuple(message.plans),
        prices=tuple(message.prices),
        allowed_countries=tuple(message.allowed_countries),
        denied_countries=tuple(message.denied_countries),
        start_time=time_of(message.start_time) if message.HasField("start_time") else None,
        end_time=time_of(message.end_time) if message.HasField("end_time") else None,
        max_height=message.max_height,
        offline_allowed=message.offline_allowed,
        concurrent_streams=message.concurrent_streams,
        devices=message.devices,
        license_duration=message.license_duration.ToTimedelta() if message.HasField("license_duration") else None,
        license_renewal=message.license_renewal.ToTimedelta() if message.HasField("license_renewal") else None,
    )


def policy_to_proto(policy: Policy) -> policy_pb2.Policy:
    """Write a policy as the contract does."""
    terms = policy.terms
    return policy_pb2.Policy(
        name=str(policy.name or ""),
        version=policy.version,
        kind=policy_pb2.Policy.Kind.Value(f"KIND_{terms.kind.value}"),
        audience=policy_pb2.Policy.Audience.Value(f"AUDIENCE_{terms.audience.value}"),
        plans=terms.plans,
        prices=terms.prices,
        allowed_countries=terms.allowed_countries,
        denied_countries=terms.denied_countries,
        start_time=timestamp(terms.start_time),
        end_time=timestamp(terms.end_time),
        max_height=terms.max_height,
        offline_allowed=terms.offline_allowed,
        concurrent_streams=terms.concurrent_streams,
        devices=terms.devices,
        license_duration=duration(terms.license_duration),
        license_renewal=duration(terms.license_renewal),
        create_time=timestamp(policy.create_time),
    )


def grant_to_proto(grant: Grant) -> entitlement_pb2.Grant:
    """Write a grant as the contract does."""
    return entitlement_pb2.Grant(
        name=str(grant.name),
        kind=entitlement_pb2.Grant.Kind.Value(f"KIND_{grant.kind.value}"),
        plan=grant.plan,
        video=str(grant.video or ""),
        expire_time=timestamp(grant.expire_time),
        rental_period=duration(grant.rental_period),
        first_play_time=timestamp(grant.first_play_time),
        create_time=timestamp(grant.create_time),
        revoke_time=timestamp(grant.revoke_time),
    )


def decision_to_proto(decision: Decision) -> entitlement_pb2.Decision:
    """Write a decision as the contract does."""
    message = entitlement_pb2.Decision(
        allowed=decision.allowed, reason=decision.reason, offers=decision.offers, policy=str(decision.policy)
    )
    for step in decision.why:
        message.why.add(rule=step.rule, passed=step.passed, detail=step.detail)
    if decision.allowed:
        limits = decision.limits
        message.limits.CopyFrom(
            entitlement_pb2.Limits(
                max_height=limits.max_height,
                labels=limits.labels,
                concurrent_streams=limits.concurrent_streams,
                offline_allowed=limits.offline_allowed,
                license_duration=duration(limits.license_duration),
                license_renewal=duration(limits.license_renewal),
            )
        )
    return message


def price_from_proto(message: price_pb2.Price) -> Price:
    """Read a price."""
    return Price(
        name=PriceName.parse(message.name),
        display_name=message.display_name,
        kind=PriceKind(price_pb2.Price.Kind.Name(message.kind).removeprefix("KIND_")),
        currency=message.currency,
        amount=message.amount,
        plan=message.plan,
        interval=_INTERVALS[message.interval],
        trial_days=message.trial_days,
        rental_period=message.rental_period.ToTimedelta() if message.HasField("rental_period") else None,
    )


def price_to_proto(price: Price) -> price_pb2.Price:
    """Write a price as the contract does."""
    return price_pb2.Price(
        name=str(price.name),
        display_name=price.display_name,
        kind=price_pb2.Price.Kind.Value(f"KIND_{price.kind.value}"),
        plan=price.plan,
        currency=price.currency,
        amount=price.amount,
        interval=next(number for number, interval in _INTERVALS.items() if interval is price.interval),
        trial_days=price.trial_days,
        rental_period=duration(price.rental_period),
    )


def order_to_proto(order: Order, stands: Standing) -> price_pb2.Order:
    """Write an order as the contract does."""
    return price_pb2.Order(
        name=f"organizations/{order.price.name.organization}/orders/{order.id}",
        user=order.user,
        price=str(order.price.name),
        video=str(order.video or ""),
        state=price_pb2.Order.State.Value(f"STATE_{stands.state.value}"),
        expire_time=timestamp(stands.expire_time),
        create_time=timestamp(order.create_time),
    )


def time_of(message: Timestamp) -> datetime:
    """Read a time, to the millisecond: what Cassandra keeps."""
    time = message.ToDatetime(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def timestamp(time: datetime | None) -> Timestamp | None:
    """Write a time that may be absent."""
    if time is None:
        return None
    message = Timestamp()
    message.FromDatetime(time)
    return message


def duration(length: timedelta | None) -> Duration | None:
    """Write a duration that may be absent."""
    if length is None:
        return None
    message = Duration()
    message.FromTimedelta(length)
    return message
