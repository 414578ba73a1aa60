"""Who watches: countries, networks, devices and what runs on them, with how common each is."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from reelmesh.telemetry.v1.telemetry_service_pb2 import Client, Consent

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Network:
    """A kind of access to the internet."""

    name: str
    """Such as "fiber"."""
    kbps: float
    """Median throughput."""
    spread: float
    """Standard deviation of the logarithm of a line's own throughput about that median."""
    drift: float
    """Standard deviation of the logarithm of the throughput about the line's own, from segment to segment."""
    outages: float
    """Chance that it breaks down for some segments, for each segment."""
    round_trip_ms: float
    """Median time for a question and its answer."""


NETWORKS = {
    "fiber": Network("fiber", 80_000, 0.5, 0.15, 0.0005, 12),
    "cable": Network("cable", 30_000, 0.6, 0.3, 0.001, 22),
    "dsl": Network("dsl", 7_000, 0.5, 0.25, 0.002, 35),
    "5g": Network("5g", 40_000, 0.8, 0.5, 0.004, 30),
    "4g": Network("4g", 9_000, 0.8, 0.6, 0.01, 55),
    "3g": Network("3g", 1_400, 0.6, 0.6, 0.02, 160),
}
"""Kinds of access by their names."""

_FIXED = {"desktop", "tv", "console"}


@dataclass(frozen=True, slots=True)
class Country:
    """Where people watch from."""

    code: str
    """ISO 3166-1 alpha-2."""
    share: float
    """Part of the audience."""
    fixed: Mapping[str, float]
    """Networks at home, by how common they are."""
    mobile: Mapping[str, float]
    """Networks on the way."""
    cdns: Mapping[str, float]
    """Where the media comes from; "" is the installation's own address."""


_WELL_WIRED = {"fiber": 5, "cable": 4, "dsl": 1}
_OLD_WIRES = {"fiber": 2, "cable": 3, "dsl": 5}
_FAST_AIR = {"5g": 5, "4g": 5, "3g": 0.2}
_SLOW_AIR = {"5g": 1, "4g": 7, "3g": 2}
_WEST = {"": 2, "fastlane": 6, "northcdn": 2}
_EAST = {"": 3, "fastlane": 1, "northcdn": 6}

COUNTRIES = (
    Country("US", 0.26, _WELL_WIRED, _FAST_AIR, _WEST),
    Country("DE", 0.15, _OLD_WIRES, _FAST_AIR, _EAST),
    Country("GB", 0.12, _WELL_WIRED, _FAST_AIR, _WEST),
    Country("FR", 0.10, _WELL_WIRED, _FAST_AIR, _WEST),
    Country("IN", 0.12, _OLD_WIRES, _SLOW_AIR, _EAST),
    Country("BR", 0.09, _OLD_WIRES, _SLOW_AIR, _WEST),
    Country("JP", 0.07, _WELL_WIRED, _FAST_AIR, _EAST),
    Country("PL", 0.05, _OLD_WIRES, _FAST_AIR, _EAST),
    Country("NG", 0.04, _OLD_WIRES, _SLOW_AIR, _EAST),
)
"""Countries of the audience."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A kind of device and what runs on it."""

    share: float
    """Part of the audience."""
    client: Client
    """What its player says of itself."""
    height: int
    """Height of the picture that it shows, in pixels of its screen."""
    start_ms: float
    """Time that its player takes to be ready, and its decoder to show a first frame."""
    app: bool
    """Whether it is an app of its own, which streams its telemetry, and not a page."""
    failures: float = 0.004
    """Chance that a viewing fails by its own fault, before the first frame or after."""
    dropped: float = 0.01
    """Frames dropped in each second that plays."""


def _web(device: str, system: str, browser: str, version: str = "1.6.0") -> Client:
    return Client(
        player="reelmesh-web", player_version=version, device=device, operating_system=system, browser=browser
    )


def _app(device: str, system: str, name: str, version: str) -> Client:
    return Client(player=name, player_version=version, device=device, operating_system=system, browser=name)


MACHINES = (
    Machine(0.15, _web("desktop", "Windows", "Chrome"), 1080, 180, app=False),
    Machine(0.05, _web("desktop", "Windows", "Edge"), 1080, 190, app=False),
    Machine(0.04, _web("desktop", "Windows", "Firefox", "1.5.2"), 1080, 210, app=False),
    Machine(0.08, _web("desktop", "Mac OS X", "Safari"), 1440, 170, app=False),
    Machine(0.05, _web("desktop", "Mac OS X", "Chrome"), 1440, 160, app=False),
    Machine(0.02, _web("desktop", "Linux", "Firefox"), 1080, 190, app=False),
    Machine(0.10, _web("mobile", "Android", "Chrome Mobile"), 720, 320, app=False, dropped=0.05),
    Machine(0.08, _web("mobile", "iOS", "Mobile Safari"), 720, 260, app=False),
    Machine(0.10, _app("mobile", "Android", "reelmesh-android", "3.2.1"), 720, 240, app=True, dropped=0.04),
    Machine(0.09, _app("mobile", "iOS", "reelmesh-ios", "3.2.0"), 720, 200, app=True),
    Machine(0.06, _app("tablet", "iOS", "reelmesh-ios", "3.2.0"), 1080, 210, app=True),
    Machine(0.02, _web("tablet", "Android", "Chrome"), 800, 330, app=False, dropped=0.08),
    Machine(0.09, _app("tv", "Android", "reelmesh-tv", "2.1.0"), 2160, 450, app=True),
    # A version with a fault, as every fleet has one: whoever looks at failures by version finds it.
    Machine(0.04, _app("tv", "Tizen", "reelmesh-tv", "2.0.3"), 2160, 700, app=True, failures=0.06, dropped=0.3),
    Machine(0.03, _app("console", "PlayStation", "reelmesh-tv", "2.1.0"), 2160, 380, app=True),
)
"""Kinds of device."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """One person with one device."""

    name: str
    """What the client keeps for who did not sign in: the same whenever this viewer comes again."""
    machine: Machine
    """What they watch on."""
    country: str
    """Where they are, ISO 3166-1 alpha-2."""
    network: Network
    """How they are connected."""
    kbps: float
    """Median throughput of their line."""
    cdn: str
    """Where their media comes from."""
    consent: Consent.ValueType
    """What they agreed to."""


def viewer(name: str, chance: random.Random) -> Viewer:
    """Draw a viewer."""
    country = pick(chance, [(each, each.share) for each in COUNTRIES])
    machine = pick(chance, [(each, each.share) for each in MACHINES])
    at_home = machine.client.device in _FIXED or chance.random() < 0.55
    network = NETWORKS[pick(chance, list((country.fixed if at_home else country.mobile).items()))]
    return Viewer(
        name=name,
        machine=machine,
        country=country.code,
        network=network,
        kbps=network.kbps * chance.lognormvariate(0, network.spread),
        cdn=pick(chance, list(country.cdns.items())),
        consent=Consent.CONSENT_GRANTED if chance.random() < 0.85 else Consent.CONSENT_ANONYMOUS,
    )


def pick(chance: random.Random, weighted: Sequence[tuple[T, float]]) -> T:
    """Draw one of several, each as often as its weight says."""
    return chance.choices([each for each, _ in weighted], [weight for _, weight in weighted])[0]
