"""Where an address is, as far as may be known: its country, and the network without the host."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from pathlib import Path

import geoip2fast
from geoip2fast import GeoIP2Fast

BITS = {4: 24, 6: 48}
"""What is kept of an address, in bits."""
REMEMBERED = 50_000
"""Networks that are remembered."""
LETTERS = 2

DATABASE = Path(geoip2fast.__file__).parent / "geoip2fast-ipv6.dat.gz"
"""Countries of IPv4 and IPv6 that the package carries; who wants a newer one updates the package."""


def network_of(address: str) -> str:
    """Return the network of an address, such as "192.0.2.0/24"; empty for what is none."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return ""
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    known = mapped or ip
    return str(ipaddress.ip_network((known, BITS[known.version]), strict=False))


class Countries:
    """Countries by network."""

    def __init__(self, database: Path = DATABASE) -> None:
        self._database = GeoIP2Fast(geoip2fast_data_file=str(database))
        self._find = lru_cache(REMEMBERED)(self._look)

    def of(self, network: str) -> str:
        """Return the country (ISO 3166-1 alpha-2) of a network; empty where nobody knows, and for private ones."""
        return self._find(network) if network else ""

    def _look(self, network: str) -> str:
        code = str(self._database.lookup(network.partition("/")[0]).country_code or "")
        return code if len(code) == LETTERS and code.isalpha() else ""
