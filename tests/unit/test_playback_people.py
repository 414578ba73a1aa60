"""What a viewing is allowed, and what ends it, for people who signed in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from playback_fakes import (
    VIDEO,
    CountingIds,
    FakeCatalog,
    FakeEntitlements,
    FakeExperiments,
    FakeSource,
    ManualClock,
    MemoryDeliveryStore,
    MemoryProgressStore,
    MemorySessionStore,
    MemorySlotStore,
    index,
)

from reelmesh.mesh.errors import DomainError, Unavailable
from reelmesh.mesh.keys import KeyRing
from reelmesh.mesh.names import SessionName
from reelmesh.mesh.person import Role
from reelmesh.playback.cdn import GatewayTokens
from reelmesh.playback.delivery import Delivery
from reelmesh.playback.endings import REMEMBERED_SECONDS, Endings
from reelmesh.playback.errors import NothingToPlay, SessionEnded, TrackUnknown
from reelmesh.playback.index import Presentations
from reelmesh.playback.manifests import Manifests
from reelmesh.playback.model import Limits, Session, Standing, Times
from reelmesh.playback.progress import Watching
from reelmesh.playback.sessions import Sessions
from reelmesh.playback.streams import Streams
from reelmesh.playback.tokens import Tokens
from reelmesh.playback.watcher import Watcher

TIMES = Times(timedelta(hours=24), timedelta(seconds=60), timedelta(seconds=30), timedelta(hours=12))
ANN = Watcher("users/ann", Role.VIEWER, device="tv", place="home")
BEN = Watcher("users/ben", Role.VIEWER, place="home")
KEYS = KeyRing({"1": ec.generate_private_key(ec.SECP256R1())})


@dataclass
class World:
    """Sessions over memory."""

    store: MemorySessionStore = field(default_factory=MemorySessionStore)
    billing: FakeEntitlements = field(default_factory=FakeEntitlements)
    clock: ManualClock = field(default_factory=ManualClock)
    delivered: MemoryDeliveryStore = field(default_factory=MemoryDeliveryStore)
    source: FakeSource = field(default_factory=lambda: FakeSource(index(3)))

    def __post_init__(self) -> None:
        catalog = FakeCatalog()
        catalog.standings[VIDEO] = Standing.PLAYABLE
        self.sessions = Sessions(
            self.store,
            Watching(MemoryProgressStore()),
            catalog,
            self.billing,
            FakeExperiments(),
            Streams(MemorySlotStore(), self.clock, TIMES.keep + TIMES.grace),
            Delivery(self.delivered, self.delivered),
            Presentations(self.source, self.clock.monotonic),
            Tokens(KEYS, GatewayTokens(KEYS, "/media"), self.clock, timedelta(minutes=15)),
            self.clock,
            CountingIds(),
            TIMES,
            places=2,
        )

    async def start(self, watcher: Watcher = ANN, *, take_over: bool = False, request_id: str = "") -> Session:
        return await self.sessions.create("acme", VIDEO, watcher, request_id, take_over=take_over)

    def streams(self, limit: int) -> None:
        self.billing.limits = replace(self.billing.limits, concurrent_streams=limit)

    async def refused(self, name: SessionName, watcher: Watcher = ANN) -> tuple[str, str]:
        """Return why a session cannot be kept, and why it cannot be had."""
        reasons = []
        for ask in (self.sessions.keep, self.sessions.get):
            try:
                await ask(name, watcher)
            except DomainError as error:
                reasons.append(error.reason)
            else:
                reasons.append("")
        return reasons[0], reasons[1]


@pytest.fixture
def world() -> World:
    return World()


async def test_billing_is_asked_and_its_reason_is_passed_on(world: World) -> None:
    world.billing.reason = "SUBSCRIPTION_REQUIRED"
    with pytest.raises(DomainError) as caught:
        await world.start()
    assert caught.value.reason == "SUBSCRIPTION_REQUIRED"
    assert caught.value.metadata == {
        "policy": "organizations/acme/policies/default@1",
        "offers": "organizations/acme/plans/gold",
    }
    assert not world.store.sessions
    world.billing.reason = ""
    assert (await world.start()).viewer == ANN.user
    assert world.billing.begun == [ANN]


async def test_who_loses_the_right_to_watch_is_stopped_at_the_next_renewal(world: World) -> None:
    session = await world.start()
    assert await world.refused(session.name) == ("", "")
    world.billing.reason = "RENTAL_EXPIRED"
    assert await world.refused(session.name) == ("RENTAL_EXPIRED", "RENTAL_EXPIRED")


async def test_a_session_is_its_viewer_s(world: World) -> None:
    session = await world.start()
    assert await world.refused(session.name, BEN) == ("SESSION_UNKNOWN", "SESSION_UNKNOWN")
    assert await world.refused(session.name, Watcher()) == ("SESSION_UNKNOWN", "SESSION_UNKNOWN")
    for watcher in (BEN, Watcher(), replace(BEN, role=Role.EDITOR)):
        with pytest.raises(DomainError, match="no such session"):
            await world.sessions.end(session.name, watcher)
        with pytest.raises(DomainError, match="no such session"):
            await world.sessions.update_progress(session.name, watcher, timedelta())
    anonymous = await world.start(Watcher(name="ann"))
    assert await world.refused(anonymous.name, BEN) == ("", "")


async def test_a_repeated_request_is_answered_to_the_same_viewer_only(world: World) -> None:
    request_id = "0198c0de-0000-7000-8000-0000000000aa"
    world.streams(1)
    first = await world.start(request_id=request_id)
    assert (await world.start(request_id=request_id)).name == first.name
    assert (await world.start(BEN, request_id=request_id)).name != first.name


async def test_the_third_of_two_streams_is_refused_and_may_take_over(world: World) -> None:
    world.streams(2)
    first = await world.start()
    world.clock.advance(1)
    second = await world.start()
    with pytest.raises(DomainError) as caught:
        await world.start()
    assert caught.value.reason == "STREAM_LIMIT"
    third = await world.start(take_over=True)
    taken = ("STREAM_TAKEN_OVER", "STREAM_TAKEN_OVER")
    assert [await world.refused(each.name) for each in (first, second, third)] == [taken, ("", ""), ("", "")]


async def test_a_viewing_that_was_not_kept_must_find_a_place_again(world: World) -> None:
    world.streams(1)
    first = await world.start()
    world.clock.advance(90)
    with pytest.raises(DomainError) as caught:
        await world.sessions.get(first.name, ANN)
    assert caught.value.reason == "STREAM_LAPSED"
    assert await world.refused(first.name) == ("", ""), "nobody took it"
    world.clock.advance(90)
    await world.start()
    assert await world.refused(first.name) == ("STREAM_LIMIT", "STREAM_LAPSED")


@pytest.mark.parametrize("watcher", [ANN, Watcher("users/eve", Role.OWNER)])
async def test_a_viewing_is_ended_by_who_began_it_or_an_owner(world: World, watcher: Watcher) -> None:
    world.streams(1)
    session = await world.start()
    for _ in range(2):
        await world.sessions.end(session.name, watcher)
    assert await world.refused(session.name) == ("SESSION_ENDED", "SESSION_ENDED")
    assert (await world.start()).name != session.name, "its place is free"


async def test_a_session_kept_from_too_many_places_is_ended(world: World) -> None:
    world.streams(1)
    session = await world.start()
    for place in ("office", "home", "office"):
        assert await world.refused(session.name, replace(ANN, place=place)) == ("", "")
    shared = ("SESSION_SHARED", "SESSION_SHARED")
    assert await world.refused(session.name, replace(ANN, place="elsewhere")) == shared
    assert await world.refused(session.name) == shared
    assert await world.start()
    anonymous = await world.start(Watcher(name="ann"))
    for place in "abcd":
        assert await world.refused(anonymous.name, Watcher(place=place)) == ("", "")


async def test_licenses(world: World) -> None:
    assert (await world.start()).license_token == "", "nothing is encrypted"
    world.source.made = index(3, scheme="cbcs")
    world.clock.advance(60)
    session = await world.start()
    claims = KEYS.read(session.license_token, issuer="reelmesh.playback", audience="licenses")
    assert claims == {
        "iss": "reelmesh.playback",
        "aud": "licenses",
        "sub": str(session.name),
        "exp": int(world.clock.now().timestamp()) + 90,
        "video": str(VIDEO),
        "labels": ["AUDIO", "SD", "HD"],
        "seconds": 12 * 3600,
        "renew": 60,
        "persist": False,
        "viewer": "users/ann",
    }
    hour, zero = timedelta(hours=1), timedelta()
    world.billing.limits = Limits(0, ("AUDIO",), offline=True, license_duration=hour, license_renewal=zero)
    anonymous = await world.start(Watcher(name="ann"))
    claims = KEYS.read(anonymous.license_token, issuer="reelmesh.playback", audience="licenses")
    told = [claims[name] for name in ("labels", "seconds", "renew", "persist", "viewer")]
    assert told == [["AUDIO"], 3600, 0, True, ""]
    world.clock.advance(24 * 3600 - 60)
    late = await world.sessions.keep(session.name, ANN)
    claims = KEYS.read(late.license_token, issuer="reelmesh.playback", audience="licenses")
    assert claims["exp"] == int(session.expire_time.timestamp()), "no longer than the session"


async def test_manifests_of_an_ended_session_are_refused_soon(world: World) -> None:
    endings = Endings(world.store, world.clock.monotonic)
    session = await world.start()
    await endings.refuse(session.name)
    await world.sessions.end(session.name, ANN)
    await endings.refuse(session.name)  # remembered for a moment
    world.clock.advance(REMEMBERED_SECONDS)
    with pytest.raises(SessionEnded):
        await endings.refuse(session.name)


async def test_who_watches_goes_on_while_the_store_is_away() -> None:
    class Away(MemorySessionStore):
        async def ending(self, name: SessionName) -> str:
            raise Unavailable("away")

    await Endings(Away(), ManualClock().monotonic).refuse(SessionName("acme", "1"))


async def test_what_is_watched_is_counted_and_pauses_and_seeks_are_not(world: World) -> None:
    session = await world.start()

    async def at(position: float, after: float) -> float:
        world.clock.advance(after)
        await world.sessions.update_progress(session.name, ANN, timedelta(seconds=position))
        return world.delivered.counted[session.name].total_seconds()

    for position, after, expected in (
        (10, 10, 10),
        (10, 300, 10),  # paused
        (20, 10, 20),
        (90, 5, 25),  # sought forward: no more than the time that passed
        (30, 10, 25),  # sought back
        (40, 20, 35),  # waited for data
    ):
        assert await at(position, after) == expected
    world.delivered.away = True
    assert await at(50, 10) == 35
    world.delivered.away = False
    assert await at(60, 10) == 55, "told with the next total"


@pytest.mark.parametrize("scheme", ["", "cbcs"])
async def test_manifests_offer_what_the_viewing_allows(world: World, scheme: str) -> None:
    world.source.made = index(3, scheme=scheme, complete=True)
    presentations = Presentations(world.source, world.clock.monotonic)
    tokens = Tokens(KEYS, GatewayTokens(KEYS, "/media"), world.clock, timedelta(minutes=15))
    manifests = Manifests(presentations, tokens, Endings(world.store, world.clock.monotonic), world.clock, "/media")
    offered = {}
    for labels in (("AUDIO", "SD", "HD"), ("AUDIO", "SD")):
        world.billing.limits = replace(world.billing.limits, labels=labels)
        session = await world.start()
        playlist = (await manifests.hls_multivariant(VIDEO, session.token)).body
        mpd = (await manifests.dash(VIDEO, session.token)).body
        offered[labels] = {track for track in (b"v1080", b"v360", b"a0") if track in playlist and track in mpd}
        if "HD" not in labels:
            with pytest.raises(TrackUnknown):
                await manifests.hls_media(VIDEO, "v1080", session.token)
    assert offered == {("AUDIO", "SD", "HD"): {b"v1080", b"v360", b"a0"}, ("AUDIO", "SD"): {b"v360", b"a0"}}
    world.billing.limits = replace(world.billing.limits, labels=())
    with pytest.raises(NothingToPlay):
        await manifests.dash(VIDEO, (await world.start()).token)
