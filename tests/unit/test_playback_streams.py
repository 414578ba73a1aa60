from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from playback_fakes import CountingIds, ManualClock, MemorySlotStore

from reelmesh.mesh.names import SessionName
from reelmesh.playback.errors import StreamLimit
from reelmesh.playback.streams import Streams
from reelmesh.playback.watcher import place_of

LAPSE = timedelta(seconds=90)
ANN = "users/ann"
IDS = CountingIds()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def streams(clock: ManualClock) -> Streams:
    return Streams(MemorySlotStore(), clock, LAPSE)


def names(count: int) -> list[SessionName]:
    return [SessionName("acme", IDS.new()) for _ in range(count)]


@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_of_many_at_once_as_many_as_the_limit_get_a_slot(streams: Streams, limit: int) -> None:
    answers = await asyncio.gather(*(streams.hold(n, ANN, limit) for n in names(20)), return_exceptions=True)
    assert sum(isinstance(answer, StreamLimit) for answer in answers) == 20 - limit
    assert sum(answer == [] for answer in answers) == limit


async def test_viewers_and_organizations_do_not_take_each_other_s(streams: Streams) -> None:
    first, second = names(2)
    await streams.hold(first, ANN, 1)
    await streams.hold(second, "users/ben", 1)
    await streams.hold(SessionName("other", second.id), ANN, 1)
    with pytest.raises(StreamLimit):
        await streams.hold(second, ANN, 1)


async def test_a_slot_that_is_kept_stays_and_one_that_is_not_is_free(streams: Streams, clock: ManualClock) -> None:
    first, second, third = names(3)
    await streams.hold(first, ANN, 2)
    await streams.hold(second, ANN, 2)
    clock.advance(89)
    await streams.hold(first, ANN, 2)
    assert await streams.holds(second, ANN, 2)
    clock.advance(1)
    assert not await streams.holds(second, ANN, 2)
    await streams.hold(third, ANN, 2)
    with pytest.raises(StreamLimit):
        await streams.hold(second, ANN, 2)
    assert await streams.holds(first, ANN, 2)


async def test_taking_over_ends_the_oldest(streams: Streams, clock: ManualClock) -> None:
    first, second, third = names(3)
    for name in (first, second):
        await streams.hold(name, ANN, 2)
        clock.advance(1)
    await streams.hold(first, ANN, 2)  # being kept does not make it younger
    assert await streams.hold(third, ANN, 2, take_over=True) == [first]
    with pytest.raises(StreamLimit):
        await streams.hold(first, ANN, 2)
    assert await streams.hold(third, ANN, 2, take_over=True) == [], "it has a place already"
    assert await streams.hold(first, ANN, 1, take_over=True) == [second, third], "the plan has become smaller"


async def test_slots_are_freed(streams: Streams) -> None:
    first, second = names(2)
    await streams.hold(first, ANN, 1)
    await streams.free(second, ANN)
    with pytest.raises(StreamLimit):
        await streams.hold(second, ANN, 1)
    await streams.free(first, ANN)
    assert await streams.hold(second, ANN, 1) == []


@pytest.mark.parametrize(("user", "limit"), [("", 1), (ANN, 0)])
async def test_who_is_not_counted_needs_none(streams: Streams, user: str, limit: int) -> None:
    for name in names(3):
        await streams.hold(name, user, limit)
        assert await streams.holds(name, user, limit)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("192.0.2.1", "a"), ("192.0.2.200", "a"), True),
        (("192.0.2.1", "a"), ("192.0.3.1", "a"), False),
        (("192.0.2.1", "a"), ("192.0.2.1", "b"), False),
        (("2001:db8:1:2::3", "a"), ("2001:db8:1:ffff::1", "a"), True),
        (("2001:db8:1::1", "a"), ("2001:db8:2::1", "a"), False),
        (("", "a"), ("", "a"), True),
    ],
)
def test_places(one: tuple[str, str], other: tuple[str, str], same: bool) -> None:
    assert (place_of(*one) == place_of(*other)) is same
    assert one[0] not in place_of(*one) or not one[0]
