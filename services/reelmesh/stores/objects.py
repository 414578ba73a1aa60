"""The door to the object store: one client for a local folder, S3, GCS and Azure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from reelmesh.mesh.errors import Unavailable

Buffer = bytes | bytearray | memoryview


class Objects:
    """Objects under one URL. A failure other than absence is raised as `Unavailable`."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @classmethod
    def at(cls, url: str) -> Objects:
        """Open the store at `url`; a local folder is made when it is not there."""
        if url.startswith("file://"):
            return cls(LocalStore(Path(urlsplit(url).path), mkdir=True))
        return cls(from_url(url))

    async def put(self, key: str, data: Buffer | Sequence[Buffer]) -> None:
        """Store an object whole, in place of one that is there; readers see the old or the new, never a part."""
        pieces = iter([data] if isinstance(data, bytes | bytearray | memoryview) else data)
        try:
            await obstore.put_async(self._store, key, pieces, use_multipart=False)
        except (BaseError, OSError) as error:
            raise Unavailable("the object store does not answer") from error

    async def get(self, key: str) -> bytes | None:
        """Return an object, or None when there is none."""
        try:
            return bytes(await (await obstore.get_async(self._store, key)).bytes_async())
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise Unavailable("the object store does not answer") from error

    async def read(self, key: str, offset: int, size: int) -> bytes:
        """Return `size` bytes of an object from `offset` on. Raises FileNotFoundError, Unavailable."""
        try:
            return bytes(await obstore.get_range_async(self._store, key, start=offset, length=size))
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as error:
            raise Unavailable("the object store does not answer") from error

    async def list(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys below `prefix`, in no order. Raises Unavailable."""
        try:
            async for page in obstore.list(self._store, prefix):
                for meta in page:
                    yield meta["path"]
        except (BaseError, OSError) as error:
            raise Unavailable("the object store does not answer") from error

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; one that is not there is no error. Raises Unavailable."""
        for start in range(0, len(keys), 1000):
            try:
                await obstore.delete_async(self._store, keys[start : start + 1000])
            except FileNotFoundError:
                for key in keys[start : start + 1000]:
                    await self._delete_one(key)
            except (BaseError, OSError) as error:
                raise Unavailable("the object store does not answer") from error

    async def _delete_one(self, key: str) -> None:
        try:
            await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise Unavailable("the object store does not answer") from error
