from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from reelmesh.discovery.v1.discovery_service_pb2 import BrowseRequest, TitleSummary, ViewerContext
from reelmesh.mesh.errors import Unavailable
from reelmesh.recommend.lists import SECONDS, Lists
from reelmesh.recommend.viewing import Found, Viewer

POPULAR, NEW = BrowseRequest.ORDER_POPULAR, BrowseRequest.ORDER_NEW


class Discovery:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.away = False

    async def browse(self, viewer: Viewer, order: BrowseRequest.Order.ValueType, size: int) -> Sequence[TitleSummary]:
        self.asked.append((viewer.context.territory, order))
        await self.may_answer.wait()
        if self.away:
            raise Unavailable("away")
        return [TitleSummary(title=f"{len(self.asked)}")]

    async def named(self, viewer: Viewer, titles: Sequence[str]) -> Found:
        return {}


def viewer(territory: str = "DE") -> Viewer:
    return Viewer("acme", "", ViewerContext(territory=territory), signed_in=False, member=False)


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def discovery() -> Discovery:
    return Discovery()


async def test_a_list_is_asked_for_once_for_all(discovery: Discovery, time: Time) -> None:
    lists = Lists(discovery, time)
    discovery.may_answer.clear()
    asking = [asyncio.ensure_future(lists.browse(viewer(), POPULAR, 5)) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()
    discovery.may_answer.set()
    answers = await asyncio.gather(*asking[1:])
    assert [[each.title for each in answer] for answer in answers] == [["1"], ["1"]]
    assert len(discovery.asked) == 1


async def test_it_is_asked_for_again_after_a_while_and_for_others(discovery: Discovery, time: Time) -> None:
    lists = Lists(discovery, time)
    await lists.browse(viewer(), POPULAR, 5)
    time.now = SECONDS - 0.1
    await lists.browse(viewer(), POPULAR, 5)
    assert len(discovery.asked) == 1
    time.now = SECONDS
    await lists.browse(viewer(), POPULAR, 5)
    await lists.browse(viewer("FR"), POPULAR, 5)
    await lists.browse(viewer(), NEW, 5)
    assert discovery.asked == [("DE", POPULAR), ("DE", POPULAR), ("FR", POPULAR), ("DE", NEW)]


async def test_what_was_not_told_is_not_remembered(discovery: Discovery, time: Time) -> None:
    lists = Lists(discovery, time)
    discovery.away = True
    with pytest.raises(Unavailable):
        await lists.browse(viewer(), POPULAR, 5)
    discovery.away = False
    assert [each.title for each in await lists.browse(viewer(), POPULAR, 5)] == ["2"]
