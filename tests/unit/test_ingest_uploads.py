"""The rules of resumable uploads, over a store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import google_crc32c
import pytest
from ingest_fakes import MemoryParts, MemoryStore, World

from reelmesh.ingest import errors
from reelmesh.ingest.appender import PARTS_AT_ONCE, UNRECORDED
from reelmesh.ingest.model import NewUpload, State, Upload
from reelmesh.ingest.parts import MAX_PART_BYTES, MIB, PART_BYTES, Part, Piece
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import VideoName


async def stream(*pieces: Piece) -> AsyncIterator[Piece]:
    for piece in pieces:
        yield piece


def pieces_of(data: bytes, start: int = 0, size: int = 2 * MIB, *, finish: bool = True) -> AsyncIterator[Piece]:
    offsets = range(start, len(data), size)
    return stream(
        *(
            Piece(o, data[o : o + size], google_crc32c.value(data[o : o + size]), finish and o + size >= len(data))
            for o in offsets
        )
    )


DATA = bytes(range(256)) * 4096 * 40  # 40 MiB


async def test_parts_have_8_to_16_mib_and_hold_every_byte() -> None:
    world = World()
    upload = await world.create(len(DATA))
    done = await world.uploads.write(upload.name, pieces_of(DATA))
    assert done.state is State.SUCCEEDED
    assert world.bytes_of(upload) == DATA
    sizes = [part.size for part in world.store.recorded[upload.name]]
    assert all(PART_BYTES <= size <= MAX_PART_BYTES for size in sizes[:-1])
    assert done.persisted_crc32c == google_crc32c.value(DATA)
    assert world.store.events == [upload.name]


async def test_parts_are_recorded_in_order_and_those_that_are_stored_meanwhile_together() -> None:
    class LaterFirst(MemoryParts):
        """Stores the first part only once the second is there."""

        def __init__(self) -> None:
            super().__init__()
            self.second = asyncio.Event()

        async def put(self, key: str, data: Sequence[bytes]) -> None:
            if "0000000000000000-" in key:
                await self.second.wait()
            await super().put(key, data)
            self.second.set()

    class Counting(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.appended: list[list[int]] = []

        async def append(self, upload: Upload, parts: Sequence[Part], crc32c: int, expire_time: datetime) -> Upload:
            self.appended.append([part.offset for part in parts])
            return await super().append(upload, parts, crc32c, expire_time)

    store = Counting()
    world = World(store, LaterFirst())
    upload = await world.create(len(DATA))
    done = await world.uploads.write(upload.name, pieces_of(DATA))
    assert done.persisted_size == len(DATA)
    assert world.bytes_of(upload) == DATA
    assert store.appended[0][:2] == [0, PART_BYTES], "one transaction for both"
    assert [offset for parts in store.appended for offset in parts] == [0, PART_BYTES, 2 * PART_BYTES]


async def test_a_database_that_hangs_stops_the_stream_after_a_few_parts() -> None:
    class Hanging(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.back = asyncio.Event()

        async def append(self, upload: Upload, parts: Sequence[Part], crc32c: int, expire_time: datetime) -> Upload:
            await self.back.wait()
            return await super().append(upload, parts, crc32c, expire_time)

    store, piece = Hanging(), bytes(2 * MIB)
    world = World(store)
    upload = await world.create(2 * MIB * 7 * 40)
    taken = 0

    async def pieces() -> AsyncIterator[Piece]:
        nonlocal taken
        for number in range(7 * 40):
            yield Piece(number * len(piece), piece, finish=number == 7 * 40 - 1)
            taken += 1

    writing = asyncio.create_task(world.uploads.write(upload.name, pieces()))
    before = -1
    while taken != before:
        before = taken
        await asyncio.sleep(0.05)  # until it stands still
    assert len(world.parts.objects) <= UNRECORDED + PARTS_AT_ONCE
    store.back.set()
    assert (await writing).state is State.SUCCEEDED
    assert sum(part.size for part in store.recorded[upload.name]) == 2 * MIB * 7 * 40


async def test_bytes_before_a_broken_connection_are_kept_to_the_byte() -> None:
    world = World()
    upload = await world.create(len(DATA))

    async def broken() -> AsyncIterator[Piece]:
        yield Piece(0, DATA[:1_000_001])
        raise ConnectionError("cut")

    with pytest.raises(ConnectionError):
        await world.uploads.write(upload.name, broken())
    assert (await world.uploads.get(upload.name)).persisted_size == 1_000_001
    await world.uploads.write(upload.name, pieces_of(DATA, 1_000_001))
    assert world.bytes_of(upload) == DATA


async def test_a_caller_that_goes_away_leaves_its_bytes() -> None:
    world = World()
    upload = await world.create(len(DATA))
    sent = asyncio.Event()

    async def hanging() -> AsyncIterator[Piece]:
        yield Piece(0, DATA[: 3 * MIB])
        sent.set()
        await asyncio.Event().wait()

    writing = asyncio.create_task(world.uploads.write(upload.name, hanging()))
    await sent.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert (await world.uploads.get(upload.name)).persisted_size == 3 * MIB


async def test_bytes_that_are_there_are_skipped() -> None:
    world = World()
    upload = await world.create(len(DATA))
    await world.uploads.write(upload.name, stream(Piece(0, DATA[: 5 * MIB])))
    await world.uploads.write(upload.name, pieces_of(DATA, 3 * MIB))
    assert world.bytes_of(upload) == DATA


async def test_a_gap_says_where_to_go_on() -> None:
    world = World()
    upload = await world.create(len(DATA))
    with pytest.raises(errors.OffsetMismatch) as caught:
        await world.uploads.write(upload.name, stream(Piece(0, b"abc"), Piece(5, b"x")))
    assert caught.value.metadata == {"persisted_size": "3"}
    assert (await world.uploads.get(upload.name)).persisted_size == 3


async def test_a_damaged_piece_persists_nothing_of_itself() -> None:
    world = World()
    upload = await world.create(len(DATA))
    with pytest.raises(errors.ChecksumMismatch):
        await world.uploads.write(upload.name, stream(Piece(0, b"good"), Piece(4, b"bad", crc32c=1)))
    assert (await world.uploads.get(upload.name)).persisted_size == 4


async def test_a_wrong_checksum_of_the_file_fails_the_upload_and_removes_its_bytes() -> None:
    world = World()
    upload = await world.create(3, crc32c=1)
    with pytest.raises(errors.ChecksumMismatch):
        await world.uploads.write(upload.name, stream(Piece(0, b"abc", finish=True)))
    failed = await world.uploads.get(upload.name)
    assert (failed.state, failed.failure_reason) == (State.FAILED, "CHECKSUM_MISMATCH")
    assert not world.parts.objects
    with pytest.raises(errors.UploadFailed):
        await world.uploads.write(upload.name, stream(Piece(0, b"abc")))


@pytest.mark.parametrize(
    ("size", "pieces", "error", "kept"),
    [
        (None, [Piece(0, b"", finish=True)], errors.EmptyUpload, 0),
        (5, [Piece(0, b"abc", finish=True)], errors.SizeMismatch, 3),
        (2, [Piece(0, b"abc", finish=True)], errors.SizeExceeded, 0),
        (4, [Piece(0, b"abc"), Piece(3, b"de")], errors.SizeExceeded, 3),
        (None, [Piece(9, b"abc")], errors.OffsetMismatch, 0),
    ],
)
async def test_wrong_sizes_are_refused_and_nothing_is_lost(
    size: int | None, pieces: list[Piece], error: type[Exception], kept: int
) -> None:
    world = World()
    upload = await world.create(size)
    with pytest.raises(error):
        await world.uploads.write(upload.name, stream(*pieces))
    assert (await world.uploads.get(upload.name)).persisted_size == kept
    assert (await world.uploads.get(upload.name)).state is State.ACTIVE


async def test_a_second_writer_fences_the_first() -> None:
    world = World()
    upload = await world.create(len(DATA))
    go = asyncio.Event()

    async def first() -> AsyncIterator[Piece]:
        yield Piece(0, b"A" * MIB)
        await go.wait()
        yield Piece(MIB, b"A" * (20 * MIB))

    writing = asyncio.create_task(world.uploads.write(upload.name, first()))
    await asyncio.sleep(0)
    await world.uploads.write(upload.name, pieces_of(DATA))
    go.set()
    with pytest.raises(errors.WriterReplaced):
        await writing
    assert world.bytes_of(upload) == DATA


async def test_a_finished_upload_is_returned_again() -> None:
    world = World()
    upload = await world.create()
    once = await world.uploads.write(upload.name, stream(Piece(0, b"abc", finish=True)))
    again = await world.uploads.write(upload.name, stream(Piece(0, b"abc", finish=True)))
    assert once == again
    assert world.store.events == [upload.name]


async def test_a_request_id_returns_the_first_upload() -> None:
    world = World()
    new = NewUpload("a.mp4", "", None, None, None)
    first = await world.uploads.create("acme", new, "r")
    second = await world.uploads.create("acme", replace(new, display_name="b.mp4"), "r")
    other = await world.uploads.create("other", new, "r")
    assert first == second
    assert other.name != first.name


@pytest.mark.parametrize(
    ("default", "asked", "protected"),
    [
        (False, None, False),
        (True, None, True),
        (False, True, True),
        (True, False, False),
    ],
)
async def test_who_does_not_ask_gets_the_default_protection(
    *, default: bool, asked: bool | None, protected: bool
) -> None:
    world = World(protected=default)
    upload = await world.uploads.create("acme", NewUpload("a.mp4", "", None, None, None, asked), "")
    assert (await world.uploads.get(upload.name)).protected is protected


async def test_the_video_must_be_of_the_same_organization() -> None:
    world = World()
    video = VideoName("other", "01920000-0000-7000-8000-000000000000")
    with pytest.raises(errors.WrongOrganization):
        await world.uploads.create("acme", NewUpload("a", "", None, None, video), "")


async def test_a_store_that_fails_once_loses_nothing_that_was_acknowledged() -> None:
    class Flaky(MemoryParts):
        failures = 1

        async def put(self, key: str, data: Sequence[bytes]) -> None:
            if len(self.objects) == 1 and self.failures:
                self.failures -= 1
                raise Unavailable("disk")
            await super().put(key, data)

    world = World(parts=Flaky())
    upload = await world.create(len(DATA))
    with pytest.raises(Unavailable):
        await world.uploads.write(upload.name, pieces_of(DATA))
    durable = (await world.uploads.get(upload.name)).persisted_size
    assert durable == PART_BYTES
    await world.uploads.write(upload.name, pieces_of(DATA, durable))
    assert world.bytes_of(upload) == DATA


async def test_an_idle_upload_expires_and_its_bytes_go() -> None:
    world = World()
    upload = await world.create(10)
    await world.uploads.write(upload.name, stream(Piece(0, b"abc")))
    world.clock.time += timedelta(days=6)
    await world.expiry.sweep()
    assert (await world.uploads.get(upload.name)).state is State.ACTIVE
    world.clock.time += timedelta(days=2)
    with pytest.raises(errors.UploadExpired):
        await world.uploads.write(upload.name, stream(Piece(3, b"def")))
    await world.expiry.sweep()
    assert (await world.uploads.get(upload.name)).state is State.EXPIRED
    assert not world.parts.objects
    assert not any(world.store.days.values())


async def test_growing_puts_expiry_off() -> None:
    world = World()
    upload = await world.create(10)
    world.clock.time += timedelta(days=6)
    await world.uploads.write(upload.name, stream(Piece(0, b"abc")))
    world.clock.time += timedelta(days=2)
    await world.expiry.sweep()
    assert (await world.uploads.get(upload.name)).state is State.ACTIVE
    world.clock.time += timedelta(days=6)
    await world.expiry.sweep()
    assert (await world.uploads.get(upload.name)).state is State.EXPIRED


async def test_the_sweep_completes_what_a_crash_left_unannounced(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    upload = await world.create()

    async def crash(upload: Upload) -> Upload:
        raise Unavailable("killed")

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "finish", crash)
        with pytest.raises(Unavailable):
            await world.uploads.write(upload.name, stream(Piece(0, b"abc", finish=True)))
    assert (await world.uploads.get(upload.name)).state is State.FINISHING
    await world.expiry.sweep()  # the next one, not the one of the day on which it would have expired
    assert world.store.events == [upload.name]


async def test_cancelling_removes_the_bytes_and_refuses_more() -> None:
    world = World()
    upload = await world.create()
    await world.uploads.write(upload.name, stream(Piece(0, b"abc")))
    world.parts.objects[f"{upload.folder}/0000000000000003-of-a-writer-that-died"] = b"def"
    other = f"{upload.folder}0/0000000000000000-of-another-upload"
    world.parts.objects[other] = b"ghi"
    assert (await world.uploads.cancel(upload.name)).state is State.CANCELLED
    assert (await world.uploads.cancel(upload.name)).state is State.CANCELLED
    assert world.parts.objects.keys() == {other}
    with pytest.raises(errors.UploadCancelled):
        await world.uploads.write(upload.name, stream(Piece(3, b"d")))


async def test_a_finished_upload_cannot_be_cancelled() -> None:
    world = World()
    upload = await world.create()
    await world.uploads.write(upload.name, stream(Piece(0, b"abc", finish=True)))
    with pytest.raises(errors.UploadFinished):
        await world.uploads.cancel(upload.name)


async def test_pages_go_back_in_time() -> None:
    world = World()
    made = []
    for _ in range(5):
        world.clock.time += timedelta(seconds=1)
        made.append((await world.create()).name)
    first, further = await world.uploads.list("acme", 2, "")
    second, further_2 = await world.uploads.list("acme", 2, further)
    third, end = await world.uploads.list("acme", 2, further_2)
    assert [u.name for u in [*first, *second, *third]] == made[::-1]
    assert not end
