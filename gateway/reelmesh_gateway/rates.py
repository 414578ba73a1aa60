"""How often someone may ask: rpcs are counted by network address, and by the person or service account that signs."""

from __future__ import annotations

from reelmesh_gateway.envoy import Node, extension
from reelmesh_gateway.guard import JWT, PERSON
from reelmesh_gateway.mesh import Limits, Rate

FILTER = "envoy.filters.http.local_ratelimit"
_ADDRESS = "remote_address"
_SUBJECT = "subject"


def filters(limits: Limits) -> list[Node]:
    """Return the filter that refuses with 429 who asks too often; nothing where nobody is limited."""
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
    rates = {_ADDRESS: limits.address_rate, _SUBJECT: limits.person_rate}
    limited = {key: rate for key, rate in rates.items() if rate.per_second}
    if not limited:
        return []
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return [
        extension(
            FILTER,
            "extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
            stat_prefix="gateway",
            filter_enabled={"runtime_key": "rates.enabled", **always},
            filter_enforced={"runtime_key": "rates.enforced", **always},
            rate_limits=[{"actions": [actions[key]]} for key in limited],
            # A key without a value is one bucket for each value.
            descriptors=[{"entries": [{"key": key}], "token_bucket": _bucket(rate)} for key, rate in limited.items()],
            max_dynamic_descriptors=limits.remembered_clients,
            always_consume_default_token_bucket=False,
            rate_limited_as_resource_exhausted=True,
        )
    ]


def _bucket(rate: Rate) -> Node:
    return {
        "max_tokens": max(rate.burst, rate.per_second),
        "tokens_per_fill": rate.per_second,
        "fill_interval": "1s",
    }
