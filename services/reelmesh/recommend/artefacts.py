"""What a trained model is, and how it is kept: files in the object store that never change.

A model's files lie under models/{organization}/{model}/{attempt}/. manifest.json names the others with their sizes and
SHA-256; its own SHA-256 is kept with the model's state, so that no damage passes unseen. It is written last, and
everything is read again before it counts. No file says anything of a viewer but viewers.bin, the pseudonyms of those
whom the model learned from, in order: it is there to prove that someone is not among them, and goes before the others.
"""

from __future__ import annotations

import asyncio
import bisect
import hashlib
import io
import json
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reelmesh.mesh.names import ModelName
from reelmesh.mesh.pseudonyms import SIZE

FORMAT = 1
"""Version of what is written here."""
MANIFEST, VIEWERS = "manifest.json", "viewers.bin"
ARRAYS: Mapping[str, type[np.generic]] = {
    "titles": np.uint8,
    "factors": np.float32,
    "popularity": np.float32,
    "neighbours": np.int32,
    "likeness": np.float32,
}
"""Arrays of a model, each in NAME.npy, and what they hold."""

_OWN = frozenset({"format", "titles", "factors", "regularization", "alpha", "viewers", "files"})

Floats = NDArray[np.float32]
Integers = NDArray[np.int32]


class ArtefactDamaged(Exception):
    """What is kept of a model is not what was written, or not whole."""


class ObjectStore(Protocol):
    """Where files lie; stores/objects.py has it. All may raise Unavailable."""

    async def put(self, key: str, data: bytes) -> None:
        """Store an object whole."""

    async def get(self, key: str) -> bytes | None:
        """Return an object, or None when there is none."""

    def list(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys below a prefix."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove objects."""


@dataclass(frozen=True, slots=True, eq=False)
class Artefact:
    """A trained model of n titles: nothing in it is of one viewer."""

    titles: tuple[str, ...]
    """Ids of films and series, for which their episodes count; the same place in each array is the same title."""
    factors: Floats
    """Vectors of titles, (n, f)."""
    popularity: Floats
    """Viewers who watched each title, (n,)."""
    neighbours: Integers
    """Places of the titles most watched by the same viewers, the most alike first, (n, m); -1 where there are fewer."""
    likeness: Floats
    """How alike those are: cosine of who watched, (n, m)."""
    regularization: float
    """What the vectors were held back by, which a viewer's vector has to be too."""
    alpha: float
    """How much more confident a strength (interactions.py) of 1 makes: confidence is 1 + alpha · strength."""
    facts: Mapping[str, Any]
    """What else the manifest says: parameters, versions, data, evaluation."""


def pack(artefact: Artefact, viewers: bytes) -> dict[str, bytes]:
    """Return the files of a model by name; the manifest is the last. `viewers` are pseudonyms in order."""
    arrays: dict[str, NDArray[Any]] = {
        "titles": np.frombuffer(b"".join(uuid.UUID(each).bytes for each in artefact.titles), np.uint8).reshape(-1, 16),
        "factors": artefact.factors,
        "popularity": artefact.popularity,
        "neighbours": artefact.neighbours,
        "likeness": artefact.likeness,
    }
    files = {f"{name}.npy": _saved(array.astype(ARRAYS[name], copy=False)) for name, array in arrays.items()}
    files[VIEWERS] = viewers
    manifest = {
        "format": FORMAT,
        "titles": len(artefact.titles),
        "factors": int(artefact.factors.shape[1]),
        "regularization": artefact.regularization,
        "alpha": artefact.alpha,
        "viewers": len(viewers) // SIZE,
        **artefact.facts,
        "files": {name: {"bytes": len(data), "sha256": checksum_of(data)} for name, data in files.items()},
    }
    files[MANIFEST] = json.dumps(manifest, indent=2, sort_keys=True).encode()
    return files


def unpack(files: Mapping[str, bytes], checksum: str) -> Artefact:
    """Return a model from its files, viewers.bin aside; `checksum` is its manifest's. Raises ArtefactDamaged."""
    manifest = manifest_of(files.get(MANIFEST), checksum)
    arrays = {}
    for name, kind in ARRAYS.items():
        data = checked(manifest, f"{name}.npy", files.get(f"{name}.npy"))
        try:
            arrays[name] = np.load(io.BytesIO(data), allow_pickle=False)
        except ValueError as error:
            raise ArtefactDamaged(f"{name}.npy cannot be read") from error
        if arrays[name].dtype != kind or len(arrays[name]) != manifest["titles"]:
            raise ArtefactDamaged(f"{name}.npy has another shape than the manifest says")
    facts = {key: value for key, value in manifest.items() if key not in _OWN}
    return Artefact(
        titles=tuple(str(uuid.UUID(bytes=row.tobytes())) for row in arrays["titles"]),
        factors=arrays["factors"],
        popularity=arrays["popularity"],
        neighbours=arrays["neighbours"],
        likeness=arrays["likeness"],
        regularization=float(manifest["regularization"]),
        alpha=float(manifest["alpha"]),
        facts=facts,
    )


def manifest_of(data: bytes | None, checksum: str) -> dict[str, Any]:
    """Read a manifest. Raises ArtefactDamaged where it is not the one of that checksum, or of a later format."""
    if data is None or checksum_of(data) != checksum:
        raise ArtefactDamaged(f"{MANIFEST} is {'damaged' if data else 'missing'}")
    manifest: dict[str, Any] = json.loads(data)
    if manifest["format"] != FORMAT:
        raise ArtefactDamaged(f"{MANIFEST} is of format {manifest['format']}, which this version does not read")
    return manifest


def checked(manifest: Mapping[str, Any], name: str, data: bytes | None) -> bytes:
    """Return a file where it is as its manifest says. Raises ArtefactDamaged."""
    if data is None or checksum_of(data) != manifest["files"][name]["sha256"]:
        raise ArtefactDamaged(f"{name} is {'missing' if data is None else 'damaged'}")
    return data


def checksum_of(data: bytes) -> str:
    """Return the SHA-256 of a file, in hex."""
    return hashlib.sha256(data).hexdigest()


def among(viewers: bytes, pseudonym: bytes) -> bool:
    """Say whether a pseudonym is among those of viewers.bin."""
    places = range(len(viewers) // SIZE)
    place = bisect.bisect_left(places, pseudonym, key=lambda at: viewers[at * SIZE : at * SIZE + SIZE])
    return viewers[place * SIZE : place * SIZE + SIZE] == pseudonym


class Artefacts:
    """Keeps models in the object store."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    async def save(self, name: ModelName, attempt: int, files: Mapping[str, bytes]) -> str:
        """Keep the files of a model, read them again, and return the checksum of its manifest.

        Raises ArtefactDamaged where they are not what was written, and Unavailable.
        """
        folder, checksum = _folder(name, attempt), checksum_of(files[MANIFEST])
        for file, data in files.items():
            await self._objects.put(folder + file, data)
        await self.load(name, attempt, checksum)
        await self.viewers(name, attempt, checksum)
        return checksum

    async def load(self, name: ModelName, attempt: int, checksum: str) -> Artefact:
        """Return a model. Raises ArtefactDamaged, Unavailable."""
        return await asyncio.to_thread(unpack, await self._files(name, attempt), checksum)

    async def files(self, name: ModelName, attempt: int, checksum: str) -> Mapping[str, bytes]:
        """Return the files of a model, viewers.bin aside. Raises ArtefactDamaged, Unavailable."""
        found = await self._files(name, attempt)
        await asyncio.to_thread(unpack, found, checksum)
        return found

    async def _files(self, name: ModelName, attempt: int) -> Mapping[str, bytes]:
        folder = _folder(name, attempt)
        wanted = [MANIFEST, *(f"{array}.npy" for array in ARRAYS)]
        found = {file: await self._objects.get(folder + file) for file in wanted}
        return {file: data for file, data in found.items() if data is not None}

    async def viewers(self, name: ModelName, attempt: int, checksum: str) -> bytes | None:
        """Return the pseudonyms that a model learned from; None where the list was removed.

        Raises ArtefactDamaged, Unavailable.
        """
        folder = _folder(name, attempt)
        manifest = manifest_of(await self._objects.get(folder + MANIFEST), checksum)
        data = await self._objects.get(folder + VIEWERS)
        return None if data is None else checked(manifest, VIEWERS, data)

    async def forget_viewers(self, name: ModelName) -> None:
        """Remove the pseudonyms that a model learned from. Raises Unavailable."""
        await self._objects.delete([key for key in await self._keys(name) if key.endswith(f"/{VIEWERS}")])

    async def remove(self, name: ModelName) -> None:
        """Remove all files of a model. Raises Unavailable."""
        await self._objects.delete(await self._keys(name))

    async def _keys(self, name: ModelName) -> list[str]:
        return [key async for key in self._objects.list(f"models/{name.organization}/{name.id}/")]


def _folder(name: ModelName, attempt: int) -> str:
    return f"models/{name.organization}/{name.id}/{attempt}/"


def _saved(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
