"""Billing's stores on a real Cassandra."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest

from reelmesh.billing.model import Audience, Grant, GrantKind, GrantName, Kind, PolicyName, Terms
from reelmesh.billing.policies import Policies
from reelmesh.billing.store import CassandraDeviceStore, CassandraGrantStore, CassandraPolicyStore
from reelmesh.mesh.clock import SystemClock, TimeOrderedIds
from reelmesh.mesh.names import VideoName
from reelmesh.stores.cassandra import Cassandra
from reelmesh.stores.migrations import migrate

pytestmark = pytest.mark.stack

CLOCK = SystemClock()
IDS = TimeOrderedIds(CLOCK)


@pytest.fixture
async def migrated(cassandra: Cassandra) -> Cassandra:
    await migrate(cassandra, "billing", {"class": "SimpleStrategy", "replication_factor": 1})
    return cassandra


@pytest.fixture
def organization() -> str:
    return f"test-{uuid.uuid4()}"


async def test_many_change_a_policy_and_every_change_is_a_version(migrated: Cassandra, organization: str) -> None:
    policies = Policies(CassandraPolicyStore(migrated), CLOCK, Terms())
    name = PolicyName(organization, "house")
    heights = [240, 480, 576, 720]
    made = await asyncio.gather(
        *(policies.set(name, Terms(Kind.FREE, Audience.ANYONE, max_height=height)) for height in heights)
    )
    assert sorted(policy.version for policy in made) == [1, 2, 3, 4]
    assert [await policies.get(name, policy.version) for policy in made] == made
    assert (await policies.get(name)).version == 4
    assert [policy.name for policy in (await policies.list(organization, 10, ""))[0]] == [name]
    video = VideoName(organization, IDS.new())
    assert str(await policies.of(video)) == "installation"
    await policies.assign(video, name)
    assert (await policies.of(video)).version == 4


async def test_a_grant_comes_back_as_it_was_and_what_happens_once_happens_once(
    migrated: Cassandra, organization: str
) -> None:
    store = CassandraGrantStore(migrated)
    user, now = f"users/{uuid.uuid4()}", CLOCK.now()
    video = VideoName(organization, IDS.new())
    grant = Grant(
        GrantName(organization, user, IDS.new()),
        GrantKind.RENTAL,
        now,
        video=video,
        expire_time=now + timedelta(days=30),
        rental_period=timedelta(days=2),
    )
    assert await store.load(grant.name) is None
    assert await store.add(grant) == grant
    assert await store.add(replace(grant, kind=GrantKind.GIFT)) == grant
    await asyncio.gather(*(store.begin(grant.name, now + timedelta(seconds=n)) for n in range(8)))
    begun = await store.load(grant.name)
    assert begun is not None
    assert begun.first_play_time is not None
    await store.begin(grant.name, now + timedelta(days=1))
    await store.revoke(grant.name, now)
    await store.revoke(grant.name, now + timedelta(days=1))
    assert await store.load(grant.name) == replace(begun, revoke_time=now)
    later = replace(grant, name=replace(grant.name, id=IDS.new()), kind=GrantKind.GIFT, video=None)
    await store.add(later)
    assert [each.name for each in await store.all(organization, user)] == [later.name, grant.name]


async def test_devices_are_remembered(migrated: Cassandra, organization: str) -> None:
    store = CassandraDeviceStore(migrated)
    for device in ("a", "b", "a"):
        await store.note(organization, "users/1", device)
    assert await store.used(organization, "users/1") == {"a", "b"}
    assert await store.used(organization, "users/2") == frozenset()
