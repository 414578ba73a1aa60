"""What a player runs on, read from its user agent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ua_parser import parse

REMEMBERED = 10_000
"""User agents that are remembered: there are few among many viewers, and one costs a millisecond to read."""
MOST_CHARACTERS = 512
"""How much of a user agent is read."""

_TABLETS = ("ipad", "tablet", "kindle", "nexus 7", "nexus 10", "galaxy tab")
_TVS = ("tv", "tizen", "web0s", "webos", "roku", "crkey", "aft", "bravia", "hbbtv", "viera", "chromecast")
_CONSOLES = ("playstation", "xbox", "nintendo")
_DESKTOPS = frozenset(
    {"Windows", "Mac OS X", "Linux", "Ubuntu", "Debian", "Fedora", "Chrome OS", "FreeBSD", "OpenBSD", "Red Hat"}
)


@dataclass(frozen=True, slots=True)
class Client:
    """What a player runs on; what nobody knows is empty."""

    device: str = "other"
    """Kind of device: "desktop", "mobile", "tablet", "tv", "console" or "other"."""
    operating_system: str = ""
    browser: str = ""


@lru_cache(REMEMBERED)
def client_of(user_agent: str) -> Client:
    """Read a user agent."""
    text = user_agent[:MOST_CHARACTERS]
    if not text:
        return Client()
    found = parse(text)
    system = found.os.family if found.os else ""
    browser = found.user_agent.family if found.user_agent else ""
    return Client(_device(text.lower(), system), system, browser)


def _device(text: str, system: str) -> str:
    if any(mark in text for mark in _CONSOLES):
        return "console"
    if any(mark in text for mark in _TABLETS):
        return "tablet"
    if any(mark in text for mark in _TVS):
        return "tv"
    if "iphone" in text or "mobile" in text:
        return "mobile"
    if system == "Android":
        return "tablet"  # its phones say "Mobile"
    return "desktop" if system in _DESKTOPS else "other"
