from __future__ import annotations

import os
from pathlib import Path

import pytest
from media_fakes import FakeObjects

from reelmesh.media.v1.media_pb2 import ByteRange, SourceManifest
from reelmesh.worker.errors import MediaError, Reason
from reelmesh.worker.source import HeadCache, Source, coalesce

DATA = os.urandom(100_000)


def source(store: FakeObjects, cache: HeadCache | None = None) -> Source:
    return Source("s", store.add_source("s", DATA, part=7_000), store, cache=cache, piece=3_000)


async def test_reads_across_parts_and_counts() -> None:
    store = FakeObjects()
    opened = source(store)
    assert await opened.read(6_990, 7_020) == DATA[6_990:14_010]
    assert [size for _, _, size in store.reads] == [10, 7_000, 10]
    assert opened.bytes_read == 7_020
    assert await opened.read(99_990, 100) == DATA[99_990:]


async def test_fetches_a_sparse_file(tmp_path: Path) -> None:
    opened = source(FakeObjects())
    ranges = [ByteRange(offset=20_000, size=5_000), ByteRange(offset=10, size=90), ByteRange(offset=200, size=100)]
    await opened.fetch(tmp_path / "file", ranges, gap=100)
    held = (tmp_path / "file").read_bytes()
    assert len(held) == len(DATA)
    assert held[10:300] == DATA[10:300]  # joined over the hole
    assert held[20_000:25_000] == DATA[20_000:25_000]
    assert not any(held[300:20_000])
    assert not any(held[25_000:])
    assert opened.bytes_read == 290 + 5_000


async def test_fetches_the_whole_file_without_ranges(tmp_path: Path) -> None:
    opened = source(FakeObjects())
    await opened.fetch(tmp_path / "file", None)
    assert (tmp_path / "file").read_bytes() == DATA
    assert opened.bytes_read == len(DATA)


async def test_what_every_task_needs_is_read_once(tmp_path: Path) -> None:
    store, cache = FakeObjects(), HeadCache()
    always = [ByteRange(offset=0, size=500), ByteRange(offset=50_000, size=100)]
    counts = []
    for number in range(2):
        opened = source(store, cache)
        await opened.fetch(tmp_path / str(number), [ByteRange(offset=60_000, size=10)], always=always)
        counts.append(opened.bytes_read)
        assert (tmp_path / str(number)).read_bytes()[50_000:50_100] == DATA[50_000:50_100]
    assert counts == [610, 10]


def test_the_cache_is_bounded() -> None:
    cache = HeadCache(max_bytes=100)
    for offset in range(0, 300, 20):
        cache.put("s", offset, bytes(20))
    cache.put("s", 1_000, bytes(30))  # more than a quarter
    assert cache.get("s", 0, 20) is None
    assert cache.get("s", 280, 20) is not None
    assert cache.get("s", 1_000, 30) is None


async def test_a_missing_part_is_told(tmp_path: Path) -> None:
    store = FakeObjects()
    opened = source(store)
    del store.objects["s/7000"]
    with pytest.raises(MediaError) as caught:
        await opened.fetch(tmp_path / "file", None)
    assert caught.value.reason == Reason.SOURCE_MISSING


async def test_a_shorter_part_is_told(tmp_path: Path) -> None:
    store = FakeObjects()
    opened = source(store)
    store.objects["s/7000"] = b"short"
    with pytest.raises(MediaError) as caught:
        await opened.fetch(tmp_path / "file", None)
    assert caught.value.reason == Reason.SOURCE_UNREADABLE
    assert caught.value.retryable


def test_parts_must_add_up() -> None:
    manifest = SourceManifest(total_size=30)
    manifest.parts.add(key="a", offset=0, size=10)
    with pytest.raises(MediaError):
        Source("s", manifest, FakeObjects())
    manifest.parts.add(key="b", offset=11, size=19)
    with pytest.raises(MediaError):
        Source("s", manifest, FakeObjects())


def test_coalesce() -> None:
    assert coalesce([(10, 5), (0, 5), (15, 5), (30, 5), (12, 2)], 0) == [(0, 5), (10, 10), (30, 5)]
    assert coalesce([(10, 5), (0, 5)], 5) == [(0, 15)]
    assert coalesce([(0, 100), (10, 5), (104, 1)], 4) == [(0, 105)]
