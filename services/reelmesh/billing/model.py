"""Policies, grants and decisions as billing knows them. Values only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Self

from reelmesh.mesh.names import ResourceName, VideoName
from reelmesh.mesh.person import Role

DEFAULT = "default"
"""Id of the policy of every video that has none of its own."""


class PolicyName(ResourceName):
    """Name of a policy."""

    __slots__ = ()
    collection = "policies"


class PriceName(ResourceName):
    """Name of a price."""

    __slots__ = ()
    collection = "prices"


@dataclass(frozen=True, slots=True)
class GrantName:
    """Name of a grant."""

    organization: str
    user: str
    """"users/{user}"."""
    id: str

    @classmethod
    def parse(cls, name: str) -> Self:
        """Take a name apart. Raises ValueError."""
        match name.split("/"):
            case ["organizations", organization, "users", user, "grants", id_]:
                return cls(organization, f"users/{user}", id_)
        raise ValueError(f"not a name of a grant: {name!r}")

    def __str__(self) -> str:
        return f"organizations/{self.organization}/{self.user}/grants/{self.id}"


class Kind(Enum):
    """What opens a video; the contract says what each means."""

    FREE = "FREE"
    SUBSCRIPTION = "SUBSCRIPTION"
    RENTAL = "RENTAL"
    PURCHASE = "PURCHASE"


class Audience(Enum):
    """Whom a free video is for."""

    ANYONE = "ANYONE"
    SIGNED_IN = "SIGNED_IN"
    MEMBERS = "MEMBERS"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a policy asks and allows: exactly what a new version may change."""

    kind: Kind = Kind.FREE
    audience: Audience = Audience.MEMBERS
    plans: tuple[str, ...] = ()
    """Names of the plans that open it."""
    prices: tuple[str, ...] = ()
    """Names of what a viewer who is refused is offered."""
    allowed_countries: tuple[str, ...] = ()
    denied_countries: tuple[str, ...] = ()
    start_time: datetime | None = None
    end_time: datetime | None = None
    max_height: int = 0
    """Lines; any where it is 0."""
    offline_allowed: bool = False
    concurrent_streams: int = 0
    """Any number where it is 0."""
    devices: int = 0
    """Any number where it is 0."""
    license_duration: timedelta | None = None
    license_renewal: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """A version of a policy."""

    name: PolicyName | None
    """None for the installation's own."""
    version: int
    terms: Terms
    create_time: datetime | None = None

    def __str__(self) -> str:
        return f"{self.name}@{self.version}" if self.name else "installation"


class GrantKind(Enum):
    """What a grant is."""

    SUBSCRIPTION = "SUBSCRIPTION"
    RENTAL = "RENTAL"
    PURCHASE = "PURCHASE"
    GIFT = "GIFT"


@dataclass(frozen=True, slots=True)
class Grant:
    """Something that a viewer has."""

    name: GrantName
    kind: GrantKind
    create_time: datetime
    plan: str = ""
    """Name of the plan that it opens."""
    video: VideoName | None = None
    """Video that it opens."""
    expire_time: datetime | None = None
    """When it ends; for a rental that was not begun, until when it must be."""
    rental_period: timedelta | None = None
    """How long a rental may be watched from its first play on."""
    first_play_time: datetime | None = None
    revoke_time: datetime | None = None

    @property
    def end(self) -> datetime | None:
        """When it ends by itself; None for never."""
        if self.first_play_time is not None and self.rental_period is not None:
            return self.first_play_time + self.rental_period
        return self.expire_time

    def live(self, now: datetime) -> bool:
        """Say whether it opens anything at `now`."""
        return self.revoke_time is None and (self.end is None or now < self.end)

    def begun(self, now: datetime) -> Grant:
        """Return it as it is once it is played at `now`."""
        if self.kind is not GrantKind.RENTAL or self.first_play_time is not None:
            return self
        return replace(self, first_play_time=now)


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who wants to watch, and from where."""

    user: str = ""
    """Resource name; empty for who did not sign in."""
    role: Role = Role.ANONYMOUS
    """In the organization of the video."""
    country: str = ""
    """ISO 3166-1 alpha-2; empty where nobody knows."""
    device: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A rule that was looked at."""

    rule: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a viewing."""

    max_height: int = 0
    labels: tuple[str, ...] = ("AUDIO", "SD", "HD", "UHD")
    concurrent_streams: int = 0
    offline_allowed: bool = False
    license_duration: timedelta | None = None
    license_renewal: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether someone may watch something, and why."""

    policy: Policy
    reason: str = ""
    """Why not; empty where it is allowed."""
    offers: Sequence[str] = ()
    why: Sequence[Step] = ()
    limits: Limits = field(default_factory=Limits)
    grant: Grant | None = None
    """What opened it; None where it needed none."""

    @property
    def allowed(self) -> bool:
        """True when it may be watched."""
        return not self.reason
