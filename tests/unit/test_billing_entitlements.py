from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest
from billing_fakes import (
    ANN,
    NOW,
    VIDEO,
    CountingIds,
    ManualClock,
    MemoryDeviceStore,
    MemoryGrantStore,
    MemoryPolicyStore,
)

from reelmesh.billing.entitlements import Entitlements
from reelmesh.billing.errors import GrantUnknown, PolicyContradictory, PolicyUnknown
from reelmesh.billing.grants import Grants
from reelmesh.billing.messages import policy_to_proto, terms_from_proto
from reelmesh.billing.model import Audience, Grant, GrantKind, GrantName, Kind, Policy, PolicyName, Terms, Viewer
from reelmesh.billing.policies import Policies
from reelmesh.billing.service import EntitlementService
from reelmesh.billing.v1.entitlement_service_pb2 import CheckRequest, Watch
from reelmesh.mesh import person
from reelmesh.mesh.person import Person, Role

DEFAULT, HOUSE = PolicyName("acme", "default"), PolicyName("acme", "house")
GOLD = "organizations/acme/plans/gold"


@dataclass
class World:
    """Billing over memory."""

    clock: ManualClock
    store: MemoryGrantStore
    policies: Policies
    grants: Grants
    entitlements: Entitlements

    async def reason(self, viewer: Viewer) -> str:
        return (await self.entitlements.check(VIDEO, viewer)).reason


@pytest.fixture
def world() -> World:
    clock, store = ManualClock(), MemoryGrantStore()
    policies = Policies(MemoryPolicyStore(), clock, Terms())
    entitlements = Entitlements(policies, store, MemoryDeviceStore(), clock)
    return World(clock, store, policies, Grants(store, clock, CountingIds()), entitlements)


async def test_a_video_s_policy_stands_before_the_organization_s_and_that_before_the_installation_s(
    world: World,
) -> None:
    assert str(await world.policies.of(VIDEO)) == "installation"
    assert await world.reason(Viewer(ANN)) == "MEMBERS_ONLY"
    await world.policies.set(DEFAULT, Terms(audience=Audience.SIGNED_IN))
    assert await world.reason(Viewer(ANN)) == ""
    await world.policies.set(HOUSE, Terms(Kind.PURCHASE))
    await world.policies.assign(VIDEO, HOUSE)
    assert await world.reason(Viewer(ANN)) == "PURCHASE_REQUIRED"
    await world.policies.assign(VIDEO, None)
    assert await world.reason(Viewer(ANN)) == ""


async def test_every_change_is_a_version_and_old_ones_stay(world: World) -> None:
    first = await world.policies.set(HOUSE, Terms(max_height=576))
    assert await world.policies.set(HOUSE, Terms(max_height=576)) == first
    second = await world.policies.set(HOUSE, Terms(max_height=1080))
    assert (first.version, second.version) == (1, 2)
    assert await world.policies.get(HOUSE) == second
    assert await world.policies.get(HOUSE, 1) == first
    with pytest.raises(PolicyUnknown):
        await world.policies.get(HOUSE, 3)
    await world.policies.set(DEFAULT, Terms())
    page, further = await world.policies.list("acme", 1, "")
    assert ([policy.name for policy in page], further) == ([DEFAULT], "default")
    page, further = await world.policies.list("acme", 1, further)
    assert (page, further) == ([second], "")


@pytest.mark.parametrize(
    "terms",
    [
        Terms(Kind.SUBSCRIPTION),
        Terms(start_time=NOW, end_time=NOW),
        Terms(allowed_countries=("FR",), denied_countries=("FR",)),
        Terms(prices=("organizations/other/prices/p",)),
    ],
)
async def test_policies_that_contradict_themselves(world: World, terms: Terms) -> None:
    with pytest.raises(PolicyContradictory):
        await world.policies.set(HOUSE, terms)


async def test_a_foreign_or_missing_policy_governs_nothing(world: World) -> None:
    await world.policies.set(PolicyName("other", "house"), Terms())
    for name in (PolicyName("other", "house"), HOUSE):
        with pytest.raises(PolicyUnknown):
            await world.policies.assign(VIDEO, name)


def test_terms_cross_the_contract_unchanged() -> None:
    terms = Terms(
        Kind.SUBSCRIPTION,
        Audience.SIGNED_IN,
        (GOLD,),
        ("organizations/acme/prices/p",),
        ("FR",),
        ("DE",),
        NOW,
        NOW + timedelta(milliseconds=1),
        1080,
        True,
        2,
        3,
        timedelta(hours=1),
        timedelta(minutes=1),
    )
    assert terms_from_proto(policy_to_proto(Policy(HOUSE, 1, terms))) == terms


async def test_a_rental_runs_from_its_first_play(world: World) -> None:
    await world.policies.set(DEFAULT, Terms(Kind.RENTAL))
    name = GrantName("acme", ANN, "1")
    await world.store.add(
        Grant(
            name,
            GrantKind.RENTAL,
            NOW,
            video=VIDEO,
            rental_period=timedelta(days=2),
            expire_time=NOW.max.replace(tzinfo=NOW.tzinfo),
        )
    )
    world.clock.advance(days=20)
    assert await world.reason(Viewer(ANN)) == ""
    assert world.store.grants[name].first_play_time is None, "asking is not playing"
    await world.entitlements.begin(VIDEO, Viewer(ANN))
    world.clock.advance(days=1)
    await world.entitlements.begin(VIDEO, Viewer(ANN))
    world.clock.advance(hours=23)
    assert await world.reason(Viewer(ANN)) == ""
    world.clock.advance(hours=1)
    assert await world.reason(Viewer(ANN)) == "RENTAL_EXPIRED"


async def test_devices_count_once_they_play(world: World) -> None:
    await world.policies.set(DEFAULT, Terms(audience=Audience.SIGNED_IN, devices=2))
    for device in ("a", "b", "a"):
        assert (await world.entitlements.begin(VIDEO, Viewer(ANN, device=device))).allowed
    assert (await world.entitlements.begin(VIDEO, Viewer(ANN, device="c"))).reason == "DEVICE_LIMIT"
    assert await world.reason(Viewer(ANN, device="b")) == ""


async def test_gifts_are_given_once_and_taken_back(world: World) -> None:
    await world.policies.set(DEFAULT, Terms(Kind.SUBSCRIPTION, plans=(GOLD,)))
    request_id = "0198c0de-0000-7000-8000-0000000000aa"
    given = [await world.grants.give("acme", ANN, GOLD, None, None, request_id) for _ in range(2)]
    assert given[0] == given[1]
    assert await world.reason(Viewer(ANN)) == ""
    assert (await world.grants.list("acme", ANN, 10, ""))[0] == [given[0]]
    world.clock.advance(hours=1)
    assert (await world.grants.revoke(given[0].name)).revoke_time == world.clock.now()
    world.clock.advance(hours=1)
    assert (await world.grants.revoke(given[0].name)).revoke_time == NOW + timedelta(hours=1)
    assert await world.reason(Viewer(ANN)) == "SUBSCRIPTION_REQUIRED"
    with pytest.raises(GrantUnknown):
        await world.grants.revoke(GrantName("acme", ANN, "none"))


async def test_nobody_claims_a_role_for_themselves(world: World) -> None:
    service = EntitlementService(world.entitlements, world.grants)
    request = CheckRequest(user=ANN, watch=Watch(video=str(VIDEO)), role=Role.OWNER.value)  # type: ignore[arg-type]
    context: object = None
    person.begin(Person(ANN))
    assert (await service.Check(request, context)).decision.reason == "MEMBERS_ONLY"  # type: ignore[arg-type]
    person.begin(None)
    assert (await service.Check(request, context)).decision.allowed  # type: ignore[arg-type]
