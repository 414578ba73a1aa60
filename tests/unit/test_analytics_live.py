"""Streams of analytics: counts that are shared, events that are buffered, files that are written."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.csv
import pytest
from sqlalchemy import Executable

from reelmesh.analytics.live import Concurrents
from reelmesh.analytics.tail import BATCH, BUFFER, Arrived, Tail
from reelmesh.mesh.errors import Unavailable
from reelmesh.telemetry.v1.event_pb2 import TelemetryEvent
from reelmesh.telemetry.v1.record_pb2 import TelemetryRecord
from reelmesh_tools.client import writing

SESSION = "0198c0de-0000-7000-8000-000000000001"


class _Clock:
    def now(self) -> datetime:
        return datetime(2026, 11, 26, tzinfo=UTC)


class _Reader:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers: asyncio.Queue[list[tuple[str, int]] | Exception] = asyncio.Queue()

    async def rows(self, query: Executable) -> Sequence[Sequence[Any]]:
        self.asked += 1
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def arrow(self, query: Executable) -> AsyncGenerator[pyarrow.RecordBatch, None]:
        raise AssertionError("nothing is exported")
        yield


async def test_watchers_of_an_organization_share_each_count() -> None:
    reader = _Reader()
    concurrents = Concurrents(reader, _Clock(), interval=0)
    watchers = [concurrents.watch("acme") for _ in range(3)]
    for number in (1, 2):
        waiting = [asyncio.create_task(anext(watcher)) for watcher in watchers]
        await asyncio.sleep(0)
        reader.answers.put_nowait([("v1", number)])
        assert [count.videos for count in await asyncio.gather(*waiting)] == [{"v1": number}] * 3
    assert reader.asked <= 3
    late = concurrents.watch("acme")
    assert (await anext(late)).videos == {"v1": 2}, "who comes later is told at once"
    for watcher in (*watchers, late):
        await watcher.aclose()
    asked = reader.asked
    reader.answers.put_nowait([])
    await asyncio.sleep(0.01)
    assert reader.asked == asked, "nobody watches, so nothing is counted"


async def test_a_count_that_fails_is_told_to_all_and_the_next_watcher_begins_anew() -> None:
    reader = _Reader()
    concurrents = Concurrents(reader, _Clock(), interval=0)
    watchers = [concurrents.watch("acme") for _ in range(2)]
    waiting = [asyncio.create_task(anext(watcher)) for watcher in watchers]
    await asyncio.sleep(0)
    reader.answers.put_nowait(Unavailable("away"))
    for each in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(each, Unavailable)
    reader.answers.put_nowait([("v1", 7)])
    again = concurrents.watch("acme")
    assert (await anext(again)).videos == {"v1": 7}
    await again.aclose()


def record(events: int, organization: str = "acme", session: str = SESSION) -> tuple[str, bytes]:
    made = TelemetryRecord(organization=organization, session=uuid.UUID(session).bytes)
    made.events.extend(TelemetryEvent(sequence=number) for number in range(events))
    return session, made.SerializeToString()


class _Source:
    """Records that come when they are put; counts its readers."""

    def __init__(self) -> None:
        self.batches: asyncio.Queue[list[tuple[str, bytes]] | Exception] = asyncio.Queue()
        self.readers = 0
        self.begun = 0

    async def __call__(self) -> AsyncGenerator[Sequence[tuple[str, bytes]], None]:
        self.readers += 1
        self.begun += 1
        try:
            yield []
            while True:
                batch = await self.batches.get()
                if isinstance(batch, Exception):
                    raise batch
                yield batch
                self.batches.task_done()
        finally:
            self.readers -= 1


def numbers(events: Sequence[Arrived]) -> list[int]:
    return [each.event.sequence for each in events]


async def test_followers_get_what_is_theirs_from_one_reader() -> None:
    source = _Source()
    tail = Tail(source)
    all_of_acme, one_session, other = tail.follow("acme"), tail.follow("acme", SESSION), tail.follow("other")
    for follower in (all_of_acme, one_session, other):
        assert await anext(follower) == ((), 0)
    assert source.begun == 1
    another = "0198c0de-0000-7000-8000-000000000002"
    source.batches.put_nowait([record(2, session=another), record(3), record(1, "other"), ("x", b"\xff not a record")])
    assert numbers((await anext(all_of_acme))[0]) == [0, 1, 0, 1, 2]
    assert numbers((await anext(one_session))[0]) == [0, 1, 2]
    assert numbers((await anext(other))[0]) == [0]
    for follower in (all_of_acme, one_session, other):
        await follower.aclose()
    await asyncio.sleep(0)
    assert source.readers == 0, "nobody follows, so nothing is read"


async def test_a_slow_follower_misses_the_oldest_and_is_told_how_many() -> None:
    source = _Source()
    tail = Tail(source)
    follower = tail.follow("acme")
    await anext(follower)
    source.batches.put_nowait([record(BUFFER + 10)])
    source.batches.put_nowait([record(5)])
    await source.batches.join()
    told, missed = await anext(follower)
    assert (missed, len(told), told[0].event.sequence) == (15, BATCH, 15)
    rest = [each for _ in range(BUFFER // BATCH - 1) for each in (await anext(follower))[0]]
    assert numbers([*told, *rest])[-5:] == [0, 1, 2, 3, 4]
    await follower.aclose()


async def test_a_reader_that_fails_ends_who_follows_and_the_next_begins_anew() -> None:
    source = _Source()
    tail = Tail(source)
    follower = tail.follow("acme")
    await anext(follower)
    source.batches.put_nowait(Unavailable("away"))
    with pytest.raises(Unavailable):
        await anext(follower)
    again = tail.follow("acme")
    assert await anext(again) == ((), 0)
    assert source.begun == 2
    await again.aclose()


def stream(table: pyarrow.Table, part: int) -> list[bytes]:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    data = sink.getvalue().to_pybytes()
    return [data[start : start + part] for start in range(0, len(data), part)]


def test_an_export_is_written_as_arrow_or_as_csv(tmp_path: Path) -> None:
    ids = [uuid.UUID(int=number).bytes for number in range(20)]
    schema = pyarrow.schema(
        [
            ("id", pyarrow.binary(16)),
            ("time", pyarrow.timestamp("ms", tz="UTC")),
            ("arms", pyarrow.list_(pyarrow.string())),
            ("value", pyarrow.float64()),
        ]
    )
    times = [datetime(2026, 11, 26, 1, 2, 3, tzinfo=UTC)] * 20
    table = pyarrow.table([ids, times, [["a:b", "c:'d"]] * 20, [0.5] * 20], schema=schema)
    assert writing.write(stream(table, 100), tmp_path / "a.arrow", csv=False) == 20
    assert pyarrow.ipc.open_stream((tmp_path / "a.arrow").read_bytes()).read_all().equals(table)
    assert writing.write(stream(table, 100), tmp_path / "a.csv", csv=True) == 20
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] == '"id","time","arms","value"'
    assert lines[2] == '"00000000-0000-0000-0000-000000000001",2026-11-26 01:02:03.000Z,"a:b c:\'d",0.5'
    assert lines[1].startswith('"",'), "an id of zeros is none"


def test_an_export_that_breaks_leaves_no_file(tmp_path: Path) -> None:
    def broken() -> Any:
        yield stream(pyarrow.table({"a": [1, 2, 3]}), 50)[0]
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        writing.write(broken(), tmp_path / "a.csv", csv=True)
    assert list(tmp_path.iterdir()) == []
