"""What the network's edge says of a caller, in headers that an installation names."""

from __future__ import annotations

from typing import Any

import grpc

_COUNTRY_LETTERS = 2


def country_of(context: grpc.aio.ServicerContext[Any, Any], header: str) -> str:
    """Return the country that a header says (ISO 3166-1 alpha-2); empty where it says none, or has no name."""
    if not header:
        return ""
    country = str(dict(context.invocation_metadata() or ()).get(header.lower(), ""))
    known = len(country) == _COUNTRY_LETTERS and country.isascii() and country.isalpha()
    return country.upper() if known else ""
