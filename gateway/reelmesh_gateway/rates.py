"""How often someone may ask: rpcs are counted by network address, and by the person or service account that signs."""

from __future__ import annotations

from collections.abc import Mapping

from reelmesh_gateway.envoy import Node, typed
from reelmesh_gateway.guard import JWT, PERSON
from reelmesh_gateway.mesh import Limits, Rate

FILTER = "envoy.filters.http.local_ratelimit"
_ADDRESS = "remote_address"
_SUBJECT = "subject"
_ENDLESS = 1_000_000_000


def filters(limits: Limits) -> list[Node]:
    """Return the filter that refuses with 429 who asks too often; nothing where nobody is limited."""
    limited = _rates(limits, limits.address_rate)
    return [{"name": FILTER, "typed_config": _limiter(limits, limited)}] if limited else []


def own(limits: Limits, address_rate: Rate | None) -> Node:
    """Return what a route says where its service has a rate of its own for one address, counted apart."""
    if address_rate is None:
        return {}
    limited = _rates(limits, address_rate)
    off = typed("config.route.v3.FilterConfig", disabled=True)
    return {FILTER: _limiter(limits, limited) if limited else off} if filters(limits) else {}


def _rates(limits: Limits, address_rate: Rate) -> dict[str, Rate]:
    rates = {_ADDRESS: address_rate, _SUBJECT: limits.person_rate}
    return {key: rate for key, rate in rates.items() if rate.per_second}


def _limiter(limits: Limits, limited: Mapping[str, Rate]) -> Node:
    actions: dict[str, Node] = {
        _ADDRESS: {"remote_address": {}},
        _SUBJECT: {
            "metadata": {
                "descriptor_key": _SUBJECT,
                "metadata_key": {"key": JWT, "path": [{"key": PERSON}, {"key": "sub"}]},
                "source": "DYNAMIC",
            }
        },
    }
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return typed(
        "extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        stat_prefix="gateway",
        filter_enabled={"runtime_key": "rates.enabled", **always},
        filter_enforced={"runtime_key": "rates.enforced", **always},
        rate_limits=[{"actions": [actions[key]]} for key in limited],
        # A key without a value is one bucket for each value.
        descriptors=[{"entries": [{"key": key}], "token_bucket": _bucket(rate)} for key, rate in limited.items()],
        # For who has neither; a route's own settings must have one.
        token_bucket=_bucket(Rate(_ENDLESS, _ENDLESS)),
        max_dynamic_descriptors=limits.remembered_clients,
        always_consume_default_token_bucket=False,
        rate_limited_as_resource_exhausted=True,
    )


def _bucket(rate: Rate) -> Node:
    return {
        "max_tokens": max(rate.burst, rate.per_second),
        "tokens_per_fill": rate.per_second,
        "fill_interval": "1s",
    }
