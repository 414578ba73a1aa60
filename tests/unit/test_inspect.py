from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import pytest
from media_fakes import FakeObjects, sandbox

from reelmesh.worker.errors import MediaError, Reason
from reelmesh.worker.inspect import Inspector
from reelmesh.worker.layout import looks_like_mp4, looks_like_text, walk
from reelmesh.worker.sandbox import Limits
from reelmesh.worker.source import Source
from reelmesh.worker.timing import choose_rate
from reelmesh.worker.v1.task_pb2 import InspectWork


def box(kind: bytes, size: int, *, stated: int | None = None, wide: bool = False) -> bytes:
    stated = size if stated is None else stated
    head = struct.pack(">I4sQ", 1, kind, stated) if wide else struct.pack(">I4s", stated, kind)
    return head.ljust(size, b"\x11")


class Memory:
    def __init__(self, data: bytes) -> None:
        self.data, self.size, self.reads = data, len(data), 0

    async def read(self, offset: int, size: int) -> bytes:
        self.reads += 1
        return self.data[offset : offset + size]


async def layout(*boxes: bytes) -> tuple[tuple[int, int], ...]:
    found = await walk(Memory(b"".join(boxes)))
    assert found is not None
    return found.outside


async def test_walks_boxes_and_leaves_the_media_out() -> None:
    ftyp, moov = box(b"ftyp", 24), box(b"moov", 500)
    assert await layout(ftyp, moov, box(b"mdat", 9_000)) == ((0, 24), (24, 500), (524, 64))
    assert await layout(ftyp, box(b"mdat", 9_000, wide=True), moov) == ((0, 24), (24, 64), (9_024, 500))
    assert await layout(ftyp, moov, box(b"mdat", 9_000, stated=0)) == ((0, 24), (24, 500), (524, 64))


async def test_sizes_beyond_the_end() -> None:
    ftyp, moov = box(b"ftyp", 24), box(b"moov", 500)
    assert (await layout(ftyp, moov, box(b"mdat", 9_000, stated=1 << 62, wide=True)))[-1] == (524, 64)
    for broken in (box(b"mdat", 9_000, stated=10_000), box(b"moov", 100, stated=101)):
        with pytest.raises(MediaError) as caught:
            await walk(Memory(ftyp + broken))
        assert caught.value.reason == Reason.SOURCE_TRUNCATED


async def test_sizes_too_small_end_the_walk() -> None:
    ftyp, moov = box(b"ftyp", 24), box(b"moov", 500)
    assert (await layout(ftyp, moov, box(b"free", 100, stated=4)))[-1] == (524, 100)
    assert (await layout(ftyp, moov, box(b"free", 100, stated=3, wide=True)))[-1] == (524, 100)
    assert (await layout(ftyp, moov, b"\0\0\0"))[-1] == (524, 3)
    with pytest.raises(MediaError) as caught:
        await walk(Memory(ftyp + box(b"free", 100, stated=4)))
    assert caught.value.reason == Reason.SOURCE_UNREADABLE


async def test_a_flood_of_boxes_is_not_walked() -> None:
    flood = Memory(box(b"ftyp", 24) + box(b"free", 8) * 100_000)
    assert await walk(flood) is None
    assert flood.reads <= 1_024


async def test_fragmented_files_are_told_apart() -> None:
    found = await walk(Memory(box(b"ftyp", 24) + box(b"moov", 500) + box(b"moof", 80) + box(b"mdat", 200)))
    assert found is not None
    assert found.fragmented


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", True),
        (b"ffconcat version 1.0\r\nfile /etc/passwd\r\n", True),
        ("\ufeffein Text über etwas".encode(), True),
        ("abgeschnitten \N{EURO SIGN}".encode()[:-1], True),
        (box(b"ftyp", 32), False),
        (b"\x1aE\xdf\xa3 webm", False),
        (b"G@\x11\x10", False),
    ],
)
def test_text_is_told_apart(head: bytes, text: bool) -> None:
    assert looks_like_text(head) is text
    assert looks_like_mp4(head) is (head[4:8] == b"ftyp")


def ticks(rate: Fraction, frames: int, per_second: int) -> list[int]:
    return [int(place / rate * per_second) for place in range(frames)]


@pytest.mark.parametrize(
    ("rate", "per_second"),
    [
        (Fraction(24), 12_288),
        (Fraction(30_000, 1_001), 1_000),
        (Fraction(30_000, 1_001), 90_000),
        (Fraction(179, 6), 11_456),
        (Fraction(25, 2), 25_000),
        (Fraction(15_000, 1_001), 1_000),
        (Fraction(60), 1_000),
        (Fraction(1), 16_384),
    ],
)
def test_even_spacing_gives_the_exact_rate(rate: Fraction, per_second: int) -> None:
    assert choose_rate(ticks(rate, 900, per_second), Fraction(1, per_second), rate) == (rate, False)


def test_a_high_rate_is_divided() -> None:
    assert choose_rate(ticks(Fraction(120), 500, 90_000), Fraction(1, 90_000), Fraction(120)) == (Fraction(60), False)
    assert choose_rate(ticks(Fraction(90), 500, 90_000), Fraction(1, 90_000), None) == (Fraction(45), False)


def test_jitter_is_not_a_variable_rate() -> None:
    jittery = [place * 1_500 + (place * 7_919 % 400) for place in range(600)]
    assert choose_rate(jittery, Fraction(1, 90_000), Fraction(810_000, 13_487)) == (Fraction(60), False)


def test_dropped_frames_keep_the_rate_of_the_camera() -> None:
    some = [tick for place, tick in enumerate(ticks(Fraction(25), 500, 90_000)) if place % 17]
    assert choose_rate(some, Fraction(1, 90_000), None) == (Fraction(25), True)


def test_a_variable_rate_is_snapped_upwards() -> None:
    wild = [place * place * 37 for place in range(300)]
    rate, variable = choose_rate(wild, Fraction(1, 90_000), Fraction(90_000))
    average = Fraction(299 * 90_000, wild[-1])
    assert variable
    assert rate in {Fraction(24_000, 1_001), Fraction(24), Fraction(25), Fraction(30_000, 1_001)} or rate >= average


def test_a_single_picture_has_any_rate() -> None:
    assert choose_rate([5], Fraction(1, 1_000), None) == (Fraction(25), False)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.SOURCE_EMPTY),
        (b"#EXTM3U\nhttp://127.0.0.1/\n", Reason.SOURCE_NOT_MEDIA),
        (bytes(range(256)) * 40, Reason.SOURCE_UNREADABLE),
        (box(b"ftyp", 24) + box(b"mdat", 900, stated=2_000), Reason.SOURCE_TRUNCATED),
        (box(b"ftyp", 24) + box(b"moov", 900), Reason.SOURCE_UNREADABLE),
    ],
)
async def test_what_is_no_media_is_told(data: bytes, reason: Reason, tmp_path: Path) -> None:
    store = FakeObjects()
    source = Source("s", store.add_source("s", data), store)
    with pytest.raises(MediaError) as caught:
        await Inspector(sandbox(), Limits(wall_seconds=20)).inspect(source, tmp_path, InspectWork())
    assert caught.value.reason == reason
    assert not caught.value.retryable
