"""Who watches, and from where."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass

from reelmesh.mesh.person import Role

_NETWORK_BITS = {4: 24, 6: 48}
"""What a provider gives to one home or cell, or near enough: a phone that gets another address there has not moved."""


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who asks to watch."""

    user: str = ""
    """Resource name of who signed in; empty for who did not."""
    role: Role = Role.ANONYMOUS
    """In the organization of the video."""
    name: str = ""
    """What the client of someone who did not sign in calls them."""
    country: str = ""
    """ISO 3166-1 alpha-2; empty where nobody knows."""
    device: str = ""
    """Name that the client keeps for its device."""
    place: str = ""
    """From where, as `place_of` says."""

    @property
    def viewer(self) -> str:
        """Whose progress it is; a name that a client made up has no slash and is never somebody's resource name."""
        return self.user or self.name


def place_of(address: str, user_agent: str) -> str:
    """Return an opaque name of a network and a client in it, so that neither has to be kept."""
    try:
        ip = ipaddress.ip_address(address)
        network = str(ipaddress.ip_network((ip, _NETWORK_BITS[ip.version]), strict=False))
    except ValueError:
        network = address
    return hashlib.blake2b(f"{network} {user_agent}".encode(), digest_size=9).hexdigest()
