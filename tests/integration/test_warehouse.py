"""The door to ClickHouse, on chDB."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import ColumnElement, Executable, func, literal, literal_column, select, text

from reelmesh.mesh.errors import Unavailable
from reelmesh.stores.warehouse import Refused, Warehouse


def numbers(count: int, *columns: str) -> Executable:
    wanted: list[ColumnElement[object]] = [literal_column(column) for column in columns or ("number",)]
    return select(*wanted).select_from(func.numbers(count))


async def test_values_are_bound_and_never_part_of_the_text(warehouse: Warehouse) -> None:
    quoted = "it's \\ %s {a:String} \n"
    assert await warehouse.rows(select(literal(quoted))) == [(quoted,)]


async def test_a_wrong_statement_is_told_apart_from_a_server_that_cannot(warehouse: Warehouse) -> None:
    with pytest.raises(Refused) as refused:
        await warehouse.rows(select(literal_column("no_such_column")))
    assert refused.value.code == 47
    with pytest.raises(Unavailable, match="memory limit"):
        await warehouse.rows(
            numbers(10**9, "groupArray(number)"), {"max_memory_usage": 10_000_000, "max_untracked_memory": 0}
        )


async def test_queries_do_not_wait_for_each_other(warehouse: Warehouse) -> None:
    slow = asyncio.create_task(warehouse.rows(numbers(3, "sleepEachRow(0.5)"), {"max_block_size": 1}))
    await asyncio.sleep(0.1)  # until it runs; there is no event for that
    await warehouse.ping()
    assert not slow.done()
    await slow


async def test_an_answer_of_any_size_streams_as_arrow(warehouse: Warehouse) -> None:
    rows = [batch.num_rows async for batch in warehouse.arrow(numbers(500_000, "number", "'x' AS name"))]
    assert sum(rows) == 500_000
    assert max(rows) < 100_000


async def test_a_stream_may_be_left_early_and_may_fail(warehouse: Warehouse) -> None:
    stream = warehouse.arrow(numbers(10**10))
    assert (await anext(stream)).num_rows > 0
    await stream.aclose()
    with pytest.raises(Refused):
        async for _ in warehouse.arrow(numbers(10**6, "throwIf(number = 500000)")):
            pass
    with pytest.raises(Refused):
        await anext(warehouse.arrow(text("SELECT nonsense FROM nowhere")))
    await warehouse.ping()


async def test_a_server_that_is_not_there_is_unavailable(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(Unavailable):
        await Warehouse.open("clickhouse://default:@127.0.0.1:9/reelmesh", tmp_path_factory.mktemp("unused"))
