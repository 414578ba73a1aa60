"""A model is kept whole or not at all."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import numpy as np
import pytest

from reelmesh.mesh.names import ModelName
from reelmesh.recommend.artefacts import (
    ARRAYS,
    MANIFEST,
    VIEWERS,
    Artefact,
    ArtefactDamaged,
    Artefacts,
    among,
    checksum_of,
    pack,
    unpack,
)
from reelmesh.stores.objects import Objects

NAME = ModelName("acme", "0198c0de-0000-7000-8000-000000000001")


def artefact(titles: int = 5) -> Artefact:
    chance = np.random.default_rng(1)
    return Artefact(
        titles=tuple(str(uuid.UUID(int=number)) for number in range(titles)),
        factors=chance.random((titles, 4), dtype=np.float32),
        popularity=np.arange(titles, dtype=np.float32),
        neighbours=np.full((titles, 2), -1, np.int32),
        likeness=np.zeros((titles, 2), np.float32),
        regularization=0.05,
        alpha=20,
        facts={"seed": 7},
    )


def pseudonyms(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(16) for number in sorted(numbers))


def same(one: Artefact, other: Artefact) -> bool:
    arrays = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ARRAYS if name != "titles")
    return (
        arrays
        and one.titles == other.titles
        and (one.regularization, one.alpha)
        == (
            other.regularization,
            other.alpha,
        )
    )


async def test_a_model_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    artefacts = Artefacts(Objects.at(tmp_path.as_uri()))
    checksum = await artefacts.save(NAME, 1, pack(artefact(), pseudonyms(3, 9)))
    found = await artefacts.load(NAME, 1, checksum)
    assert same(found, artefact())
    assert found.facts == {"seed": 7}
    assert await artefacts.viewers(NAME, 1, checksum) == pseudonyms(3, 9)
    folder = tmp_path / "models" / "acme" / NAME.id / "1"
    manifest = json.loads((folder / MANIFEST).read_bytes())
    assert (manifest["titles"], manifest["factors"], manifest["viewers"]) == (5, 4, 2)
    assert set(manifest["files"]) == {*(f"{name}.npy" for name in ARRAYS), VIEWERS}
    assert {file.name for file in folder.iterdir()} == {MANIFEST, *manifest["files"]}


@pytest.mark.parametrize("file", [MANIFEST, *(f"{name}.npy" for name in ARRAYS)])
async def test_damage_is_seen(tmp_path: Path, file: str) -> None:
    artefacts = Artefacts(Objects.at(tmp_path.as_uri()))
    checksum = await artefacts.save(NAME, 1, pack(artefact(), b""))
    path = tmp_path / "models" / "acme" / NAME.id / "1" / file
    whole = bytearray(path.read_bytes())
    whole[-9] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ArtefactDamaged, match="damaged"):
        await artefacts.load(NAME, 1, checksum)
    path.unlink()
    with pytest.raises(ArtefactDamaged, match="missing"):
        await artefacts.load(NAME, 1, checksum)


async def test_viewers_are_forgotten_and_the_model_stays(tmp_path: Path) -> None:
    artefacts = Artefacts(Objects.at(tmp_path.as_uri()))
    checksum = await artefacts.save(NAME, 2, pack(artefact(), pseudonyms(3)))
    await artefacts.forget_viewers(NAME)
    assert await artefacts.viewers(NAME, 2, checksum) is None
    assert same(await artefacts.load(NAME, 2, checksum), artefact())
    await artefacts.remove(NAME)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


async def test_a_list_of_viewers_that_was_changed_proves_nothing(tmp_path: Path) -> None:
    artefacts = Artefacts(Objects.at(tmp_path.as_uri()))
    checksum = await artefacts.save(NAME, 2, pack(artefact(), pseudonyms(3, 4)))
    (tmp_path / "models" / "acme" / NAME.id / "2" / VIEWERS).write_bytes(pseudonyms(4))
    with pytest.raises(ArtefactDamaged, match=VIEWERS):
        await artefacts.viewers(NAME, 2, checksum)


def test_what_a_later_version_wrote_is_not_read() -> None:
    files = pack(artefact(), b"")
    later = json.dumps({**json.loads(files[MANIFEST]), "format": 2}).encode()
    with pytest.raises(ArtefactDamaged, match="format 2"):
        unpack({**files, MANIFEST: later}, checksum_of(later))


def test_a_viewer_is_found_among_many() -> None:
    numbers = range(0, 3000, 3)
    listed = pseudonyms(*numbers)
    assert all(among(listed, number.to_bytes(16)) == (number in numbers) for number in range(-0, 3003))
    assert not among(b"", pseudonyms(1))
