"""What comes at once goes together, and nobody waits for company."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from reelmesh.mesh.errors import Unavailable
from reelmesh.stores.gathering import Gathering


class Work:
    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.held = asyncio.Event()
        self.held.set()

    async def __call__(self, things: Sequence[int]) -> Sequence[str]:
        self.batches.append(list(things))
        await self.held.wait()
        if -1 in things:
            raise Unavailable("away")
        return [str(thing) for thing in things]


async def test_each_call_gets_its_own_answer() -> None:
    work = Work()
    gathering = Gathering(work, most=4)
    assert await gathering(1) == "1"
    assert await asyncio.gather(*map(gathering, range(10))) == [str(number) for number in range(10)]
    assert [len(batch) for batch in work.batches] == [1, 4, 4, 2]


async def test_what_comes_meanwhile_goes_with_the_next() -> None:
    work = Work()
    gathering = Gathering(work, most=100)
    work.held.clear()
    first = asyncio.create_task(gathering(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.create_task(gathering(number)) for number in (2, 3, 4)]
    await asyncio.sleep(0)
    others[1].cancel()
    work.held.set()
    assert await first == "1"
    assert [await others[0], await others[2]] == ["2", "4"]
    assert work.batches == [[1], [2, 4]]


async def test_things_that_lie_apart_go_side_by_side() -> None:
    work = Work()
    gathering = Gathering(work, most=100, apart=lambda number: number % 2)
    await asyncio.gather(*map(gathering, range(6)))
    assert sorted(work.batches) == [[0, 2, 4], [1, 3, 5]]


async def test_a_fault_is_told_to_those_who_went_together_and_to_nobody_else() -> None:
    work = Work()
    gathering = Gathering(work, most=2)
    found = await asyncio.gather(*map(gathering, (1, -1, 2, 3)), return_exceptions=True)
    assert [isinstance(each, Unavailable) for each in found] == [True, True, False, False]
    with pytest.raises(Unavailable):
        await gathering(-1)
    assert await gathering(5) == "5"
