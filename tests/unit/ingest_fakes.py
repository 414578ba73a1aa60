"""What the tests of uploads put in the place of Cassandra and the object store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from reelmesh.ingest import errors
from reelmesh.ingest.expiry import Expiry
from reelmesh.ingest.model import NewUpload, State, Upload
from reelmesh.ingest.parts import Part
from reelmesh.ingest.uploads import Uploads
from reelmesh.mesh.clock import TimeOrderedIds
from reelmesh.mesh.names import UploadName


class SetClock:
    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


class MemoryStore:
    """Uploads in a dict, with the same conditions as the one on Cassandra."""

    def __init__(self) -> None:
        self.uploads: dict[UploadName, Upload] = {}
        self.recorded: dict[UploadName, list[Part]] = {}
        self.requests: dict[str, str] = {}
        self.events: list[UploadName] = []
        self.days: dict[str, set[UploadName]] = {}

    async def claim(self, organization: str, request_id: str, upload_id: str) -> str:
        return self.requests.setdefault(f"{organization} {request_id}", upload_id)

    async def create(self, upload: Upload) -> Upload:
        self.days.setdefault(str(upload.expire_time.date()), set()).add(upload.name)
        return self.uploads.setdefault(upload.name, upload)

    async def load(self, name: UploadName) -> Upload:
        if name not in self.uploads:
            raise errors.UploadUnknown("no such upload")
        return self.uploads[name]

    async def take_over(self, upload: Upload, writer: str) -> Upload:
        self.uploads[upload.name] = replace(self.uploads[upload.name], writer=writer)
        return self.uploads[upload.name]

    async def append(self, upload: Upload, parts: Sequence[Part], crc32c: int, expire_time: datetime) -> Upload:
        now = self.uploads[upload.name]
        if now.writer != upload.writer or now.persisted_size != parts[0].offset or now.state is not State.ACTIVE:
            raise errors.WriterReplaced("replaced")
        self.recorded.setdefault(upload.name, []).extend(parts)
        size = parts[-1].offset + parts[-1].size
        grown = replace(now, persisted_size=size, persisted_crc32c=crc32c, expire_time=expire_time)
        self.uploads[upload.name] = grown
        return grown

    async def settle(self, upload: Upload, state: State, failure_reason: str = "") -> Upload:
        now = self.uploads[upload.name]
        if now.state is State.ACTIVE and now.writer == upload.writer and now.persisted_size == upload.persisted_size:
            self.uploads[upload.name] = replace(now, state=state, failure_reason=failure_reason)
        return self.uploads[upload.name]

    async def parts(self, name: UploadName) -> Sequence[Part]:
        return self.recorded.get(name, [])

    async def finish(self, upload: Upload) -> Upload:
        self.events.append(upload.name)
        self.uploads[upload.name] = replace(self.uploads[upload.name], state=State.SUCCEEDED)
        return self.uploads[upload.name]

    async def due(self, day: datetime) -> Sequence[UploadName]:
        return sorted(self.days.get(str(day.date()), ()), key=str)

    async def look_again(self, name: UploadName, day: datetime, at: datetime | None) -> None:
        self.days[str(day.date())].discard(name)
        if at is not None:
            self.days.setdefault(str(at.date()), set()).add(name)

    async def list(self, organization: str, size: int, before: str) -> Sequence[Upload]:
        found = sorted((u for u in self.uploads.values()), key=lambda u: u.name.id, reverse=True)
        return [u for u in found if not before or u.name.id < before][:size]


class MemoryParts:
    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    async def put(self, key: str, data: Sequence[bytes]) -> None:
        self.objects[key] = b"".join(data)

    async def list(self, prefix: str) -> AsyncIterator[str]:
        for key in list(self.objects):
            if key.startswith(f"{prefix}/"):
                yield key

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.objects.pop(key, None)


class NoManifest:
    async def write(self, upload: Upload, parts: Sequence[Part]) -> None:
        return


class World:
    def __init__(
        self, store: MemoryStore | None = None, parts: MemoryParts | None = None, *, protected: bool = False
    ) -> None:
        self.clock = SetClock()
        self.store = store or MemoryStore()
        self.parts = parts or MemoryParts()
        ids = TimeOrderedIds(self.clock)
        self.uploads = Uploads(
            self.store,
            self.parts,
            NoManifest(),
            self.clock,
            ids,
            max_bytes=1 << 30,
            idle=timedelta(days=7),
            protected=protected,
        )
        self.expiry = Expiry(self.uploads, self.store, self.clock, timedelta(seconds=60))

    async def create(self, size: int | None = None, crc32c: int | None = None) -> Upload:
        return await self.uploads.create("acme", NewUpload("a.mp4", "", size, crc32c, None), "")

    def bytes_of(self, upload: Upload) -> bytes:
        return b"".join(self.parts.objects[part.key] for part in self.store.recorded.get(upload.name, []))
