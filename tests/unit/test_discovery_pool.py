from __future__ import annotations

import asyncio
import threading

import pytest
from discovery_fakes import eventually

from reelmesh.discovery.errors import TooBusy
from reelmesh.discovery.pool import Pool


async def test_so_much_is_done_at_once_so_much_waits_and_the_rest_is_refused() -> None:
    pool, go, began = Pool(2, 1), threading.Event(), []

    def work() -> int:
        began.append(1)
        assert go.wait(5)
        return 7

    tasks = [asyncio.create_task(pool.run(work)) for _ in range(3)]
    await eventually(lambda: len(began) == 2)
    with pytest.raises(TooBusy) as caught:
        await pool.run(work)
    assert caught.value.retry_after is not None
    go.set()
    assert await asyncio.gather(*tasks) == [7, 7, 7]
    assert await pool.run(work) == 7, "there is room again"
    await pool.close()


async def test_who_is_cancelled_while_waiting_is_never_begun_and_gives_its_place_up() -> None:
    pool, go, began = Pool(1, 1), threading.Event(), []

    def work() -> None:
        began.append(1)
        assert go.wait(5)

    first = asyncio.create_task(pool.run(work))
    await eventually(lambda: len(began) == 1)
    second = asyncio.create_task(pool.run(work))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait({second})
    third = asyncio.create_task(pool.run(lambda: None))
    go.set()
    await asyncio.gather(first, third)
    assert len(began) == 1
    await pool.close()


async def test_what_the_work_raises_is_raised() -> None:
    pool = Pool(0, 0)
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda: 1 // 0)
    await pool.close()
