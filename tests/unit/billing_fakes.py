"""Billing's stores in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from reelmesh.billing.model import Grant, GrantName, Policy, PolicyName, PriceName
from reelmesh.billing.orders import Order, PaymentEvent, Price
from reelmesh.billing.usage import Day
from reelmesh.mesh.names import SessionName, VideoName

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
VIDEO = VideoName("acme", "0198c0de-0000-7000-8000-000000000001")
ANN = "users/0198c0de-0000-7000-8000-00000000000a"


class ManualClock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time

    def advance(self, **parts: float) -> None:
        self.time += timedelta(**parts)


class CountingIds:
    """Ids in order."""

    def __init__(self) -> None:
        self.count = 0

    def new(self) -> str:
        self.count += 1
        return f"00000000-0000-7000-8000-{self.count:012x}"


class MemoryPolicyStore:
    """Policies in a dictionary."""

    def __init__(self) -> None:
        self.versions: dict[PolicyName, list[Policy]] = {}
        self.videos: dict[VideoName, str] = {}

    async def newest(self, name: PolicyName) -> Policy | None:
        return self.versions[name][-1] if name in self.versions else None

    async def version(self, name: PolicyName, version: int) -> Policy | None:
        return next((each for each in self.versions.get(name, ()) if each.version == version), None)

    async def add(self, policy: Policy) -> bool:
        assert policy.name is not None
        known = self.versions.setdefault(policy.name, [])
        if len(known) >= policy.version:
            return False
        known.append(policy)
        return True

    async def names(self, organization: str, after: str, size: int) -> Sequence[PolicyName]:
        found = sorted(
            (name for name in self.versions if name.organization == organization and name.id > after),
            key=lambda name: name.id,
        )
        return found[:size]

    async def assign(self, video: VideoName, policy: str) -> None:
        self.videos[video] = policy

    async def assigned(self, video: VideoName) -> str:
        return self.videos.get(video, "")


class MemoryGrantStore:
    """Grants in a dictionary."""

    def __init__(self) -> None:
        self.grants: dict[GrantName, Grant] = {}

    async def all(self, organization: str, user: str) -> Sequence[Grant]:
        mine = [grant for name, grant in self.grants.items() if (name.organization, name.user) == (organization, user)]
        return sorted(mine, key=lambda grant: grant.name.id, reverse=True)

    async def load(self, name: GrantName) -> Grant | None:
        return self.grants.get(name)

    async def add(self, grant: Grant) -> Grant:
        return self.grants.setdefault(grant.name, grant)

    async def revoke(self, name: GrantName, time: datetime) -> None:
        grant = self.grants[name]
        self.grants[name] = replace(grant, revoke_time=grant.revoke_time or time)

    async def begin(self, name: GrantName, time: datetime) -> None:
        grant = self.grants[name]
        self.grants[name] = replace(grant, first_play_time=grant.first_play_time or time)


class MemoryDeviceStore:
    """Devices in a set."""

    def __init__(self) -> None:
        self.devices: set[tuple[str, str, str]] = set()

    async def used(self, organization: str, user: str) -> frozenset[str]:
        return frozenset(device for o, u, device in self.devices if (o, u) == (organization, user))

    async def note(self, organization: str, user: str, device: str) -> None:
        self.devices.add((organization, user, device))


class MemoryPaymentStore:
    """Payments in dictionaries, and the grants that they give."""

    def __init__(self) -> None:
        self.by_name: dict[PriceName, Price] = {}
        self.by_id: dict[tuple[str, str], Order] = {}
        self.told: dict[tuple[str, str], dict[str, PaymentEvent]] = {}
        self.grants: dict[GrantName, tuple[int, Grant]] = {}

    async def add_price(self, price: Price) -> Price:
        return self.by_name.setdefault(price.name, price)

    async def price(self, name: PriceName) -> Price | None:
        return self.by_name.get(name)

    async def prices(self, organization: str, after: str, size: int) -> Sequence[Price]:
        found = [each for name, each in self.by_name.items() if name.organization == organization and name.id > after]
        return sorted(found, key=lambda price: price.name.id)[:size]

    async def add_order(self, order: Order) -> None:
        self.by_id[order.user, order.id] = order

    async def order(self, user: str, id_: str) -> Order | None:
        return self.by_id.get((user, id_))

    async def orders(self, user: str, before: str, size: int) -> Sequence[Order]:
        mine = [order for (of, id_), order in self.by_id.items() if of == user and (not before or id_ < before)]
        return sorted(mine, key=lambda order: order.id, reverse=True)[:size]

    async def add_event(self, event: PaymentEvent) -> None:
        self.told.setdefault((event.user, event.order), {})[event.id] = event

    async def events(self, user: str, order: str) -> Sequence[PaymentEvent]:
        return list(self.told.get((user, order), {}).values())

    async def put_grant(self, grant: Grant, revision: int) -> None:
        if self.grants.get(grant.name, (0, grant))[0] < revision:
            self.grants[grant.name] = revision, grant


class MemoryUsageStore:
    """Usage in dictionaries."""

    def __init__(self) -> None:
        self.lengths: dict[str, timedelta] = {}
        self.rows: dict[tuple[str, datetime, str, str], timedelta] = {}
        self.videos: dict[VideoName, timedelta] = {}
        self.deleted: set[VideoName] = set()

    async def planned(self, video: VideoName, job: str, length: timedelta) -> None:
        self.lengths[job] = length

    async def encoded(self, video: VideoName, job: str, day: datetime) -> None:
        self.rows[video.organization, day, "encoded", job] = self.lengths[job]
        self.videos[video] = self.lengths[job]

    async def gone(self, video: VideoName) -> None:
        self.deleted.add(video)

    async def watched(self, session: SessionName, day: datetime, total: timedelta) -> None:
        key = (session.organization, day, "delivered", session.id)
        self.rows[key] = max(total, self.rows.get(key, total))

    async def stored(self, organization: str) -> timedelta:
        mine = [length for video, length in self.videos.items() if video.organization == organization]
        return sum(mine, timedelta()) if not self.deleted & self.videos.keys() else timedelta()

    async def days(self, organization: str, days: Sequence[datetime]) -> Mapping[datetime, Day]:
        def total(day: datetime, kind: str) -> timedelta:
            return sum(
                (v for (o, d, k, _), v in self.rows.items() if (o, d, k) == (organization, day, kind)), timedelta()
            )

        found = {day: Day(day, total(day, "encoded"), total(day, "delivered")) for day in days}
        return {day: used for day, used in found.items() if used.encoded or used.delivered}
