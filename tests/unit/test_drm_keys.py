"""Content keys: made once, wrapped at rest, never shown."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from drm_fakes import OTHER, VIDEO, Clock, MemoryKeyStore, content_keys, wrapper

from reelmesh.drm import wrapping
from reelmesh.drm.deletions import Deletions
from reelmesh.drm.errors import KeysUnknown, SchemeMismatch, WrappingKeyMissing
from reelmesh.drm.keys import REMEMBERED_SECONDS
from reelmesh.drm.model import KeyRow, Scheme
from reelmesh.drm.recent import Recent
from reelmesh.drm.wrapping import LocalWrapper
from reelmesh.events.v1.media_event_pb2 import JobFailed, MediaEvent, VideoDeleted
from reelmesh.mesh.names import VideoName
from reelmesh.stores.events import MEDIA_EVENTS, Record
from reelmesh_tools.stack import keys as stack_keys

LABELS = ["AUDIO", "SD", "HD"]


async def test_keys_are_made_once() -> None:
    keys = content_keys(MemoryKeyStore(), Clock())
    made = await keys.create(VIDEO, LABELS, Scheme.CBCS)
    assert [key.label for key in made] == LABELS
    assert {(len(key.key_id), len(key.value), len(key.iv)) for key in made} == {(16, 16, 16)}
    assert len({key.value for key in made} | {key.key_id for key in made} | {key.iv for key in made}) == 9
    assert await keys.create(VIDEO, LABELS[::-1], Scheme.CBCS) == made[::-1]
    assert list((await keys.of(VIDEO)).values()) == sorted(made, key=lambda key: key.label)


async def test_missing_labels_are_added() -> None:
    keys = content_keys(MemoryKeyStore(), Clock())
    (sound,) = await keys.create(VIDEO, ["AUDIO"], Scheme.CENC)
    assert sound.iv == b""
    assert (await keys.of(VIDEO)).keys() == {"AUDIO"}
    again, more = await keys.create(VIDEO, ["AUDIO", "UHD"], Scheme.CENC)
    assert (again, more.label) == (sound, "UHD")
    assert (await keys.of(VIDEO)).keys() == {"AUDIO", "UHD"}, "what was remembered is forgotten"


async def test_two_who_race_get_the_same_keys() -> None:
    class Slow(MemoryKeyStore):
        """Both read before either adds."""

        def __init__(self) -> None:
            super().__init__()
            self.barrier = asyncio.Barrier(2)

        async def load(self, video: VideoName) -> Sequence[KeyRow]:
            found = await super().load(video)
            if self.loads <= 2:
                await self.barrier.wait()
            return found

    store = Slow()
    first, second = content_keys(store, Clock()), content_keys(store, Clock())
    made = await asyncio.gather(*(keys.create(VIDEO, LABELS, Scheme.CBCS) for keys in (first, second)))
    assert made[0] == made[1]
    assert store.loads == 3


async def test_another_scheme_is_refused() -> None:
    keys = content_keys(MemoryKeyStore(), Clock())
    await keys.create(VIDEO, ["SD"], Scheme.CBCS)
    with pytest.raises(SchemeMismatch):
        await keys.create(VIDEO, ["SD"], Scheme.CENC)
    with pytest.raises(KeysUnknown):
        await keys.of(OTHER)


async def test_keys_are_remembered_for_moments() -> None:
    store, clock = MemoryKeyStore(), Clock()
    keys = content_keys(store, clock)
    await keys.create(VIDEO, ["SD"], Scheme.CBCS)
    store.loads = 0
    for _ in range(3):
        await keys.of(VIDEO)
    assert store.loads == 1
    clock.advance(REMEMBERED_SECONDS)
    await keys.of(VIDEO)
    assert store.loads == 2


async def test_no_value_is_kept_or_shown() -> None:
    store = MemoryKeyStore()
    (key,) = await content_keys(store, Clock()).create(VIDEO, ["SD"], Scheme.CBCS)
    (row,) = store.rows[VIDEO]
    assert key.value not in row.wrapped.data
    shown = f"{key!r} {key} {[key]}"
    for secret in (repr(key.value), key.value.hex(), base64.b64encode(key.value).decode()):
        assert secret not in shown


async def test_a_wrapped_key_belongs_to_its_row() -> None:
    store = MemoryKeyStore()
    keys = content_keys(store, Clock())
    await keys.create(VIDEO, ["SD", "HD"], Scheme.CBCS)
    low, high = store.rows[VIDEO]
    for changed in (
        replace(low, wrapped=high.wrapped),
        replace(low, key_id=high.key_id),
        replace(low, label="UHD"),
        replace(low, video=OTHER),
        replace(low, wrapped=replace(low.wrapped, data=low.wrapped.data[:-1] + bytes([low.wrapped.data[-1] ^ 1]))),
    ):
        store.rows[changed.video] = [changed]
        with pytest.raises(InvalidTag):
            await keys.of(changed.video)


async def test_rewrapping_walks_all_videos_in_pages() -> None:
    store, clock = MemoryKeyStore(), Clock()
    versions = {"1": b"a" * 32}
    keys = content_keys(store, clock, LocalWrapper(lambda: versions))
    made = {video: await keys.create(video, LABELS, Scheme.CBCS) for video in (VIDEO, OTHER)}
    assert (await keys.rewrap("", 10)).changed == 0
    versions["2"] = b"b" * 32
    first = await keys.rewrap("", 1)
    assert (first.version, first.examined, first.changed) == ("2", 3, 3)
    second = await keys.rewrap(first.further, 2)
    assert (second.changed, second.further) == (3, "")
    assert {row.wrapped.version for rows in store.rows.values() for row in rows} == {"2"}
    del versions["1"]
    fresh = content_keys(store, clock, LocalWrapper(lambda: versions))
    for video, before in made.items():
        assert [(await fresh.of(video))[label] for label in LABELS] == before


async def test_keys_go_with_their_video() -> None:
    store = MemoryKeyStore()
    keys = content_keys(store, Clock())
    for video in (VIDEO, OTHER):
        await keys.create(video, LABELS, Scheme.CBCS)
        await keys.of(video)
    deletions = Deletions(keys)
    for event in (
        MediaEvent(id="1", video=str(OTHER), job_failed=JobFailed()),
        MediaEvent(id="2", video=str(VIDEO), video_deleted=VideoDeleted()),
        MediaEvent(id="2", video=str(VIDEO), video_deleted=VideoDeleted()),
    ):
        await deletions.handle(Record(MEDIA_EVENTS, event.video, event.SerializeToString()))
    with pytest.raises(KeysUnknown):
        await keys.of(VIDEO)
    assert len(await keys.of(OTHER)) == 3


async def test_wrapping_keys_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    stack_keys.ensure_wrapping(folder)
    local = LocalWrapper(wrapping.folder(folder))
    old = await local.wrap(b"value", b"context")
    assert (old.version, (folder / "0001").stat().st_mode & 0o777) == ("0001", 0o600)
    stack_keys.ensure_wrapping(folder)
    assert stack_keys.add_wrapping(folder) == "0002"
    (folder / ".0003.half").write_bytes(b"")  # being written
    new = await local.wrap(b"value", b"context")
    assert (await local.newest(), new.version) == ("0002", "0002")
    stack_keys.add_wrapping(folder)
    newer = await LocalWrapper(wrapping.folder(folder)).wrap(b"value", b"context")
    for wrapped in (old, new, newer):  # the last by a key that was added since
        assert await local.unwrap(wrapped, b"context") == b"value"
    (folder / "0001").unlink()
    with pytest.raises(WrappingKeyMissing):
        await LocalWrapper(wrapping.folder(folder)).unwrap(old, b"context")


async def test_wrapping_keys_of_a_variable() -> None:
    environment = {"KEYS": f"a:{base64.b64encode(b'a' * 32).decode()},b:{base64.b64encode(b'b' * 32).decode()}"}
    local = LocalWrapper(wrapping.variable("KEYS", environment))
    wrapped = await local.wrap(b"value", b"")
    assert wrapped.version == "b"
    assert await wrapper(b=b"b" * 32).unwrap(wrapped, b"") == b"value"


@pytest.mark.parametrize("value", ["", "a", "a:AAAA", "a:%%%"])
def test_a_variable_without_keys(value: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        LocalWrapper(wrapping.variable("KEYS", {"KEYS": value}))


def test_a_folder_without_keys(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no wrapping key"):
        LocalWrapper(wrapping.folder(tmp_path))
    (tmp_path / "1").write_bytes(b"short")
    with pytest.raises(ValueError, match="is not 32 bytes"):
        LocalWrapper(wrapping.folder(tmp_path))


def test_what_is_remembered_is_bounded() -> None:
    clock = Clock()
    recent: Recent[str, int] = Recent(2, 10, clock.monotonic)
    for number, name in enumerate("abc"):
        recent.put(name, number)
    assert [recent.get(name) for name in "abc"] == [None, 1, 2]
    clock.advance(5)
    recent.put("b", 3)
    clock.advance(5)
    assert [recent.get(name) for name in "abc"] == [None, 3, None]
    recent.drop("b")
    assert recent.get("b") is None
