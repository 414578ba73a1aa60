"""Uploads on Cassandra, and their manifests in the raw store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from reelmesh.events.v1.media_event_pb2 import MediaEvent, UploadCompleted
from reelmesh.ingest import errors
from reelmesh.ingest.model import State, Upload
from reelmesh.ingest.parts import Part
from reelmesh.media.v1.media_pb2 import SourceManifest, SourcePart
from reelmesh.mesh.clock import Clock, derived_id
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import UploadName, VideoName
from reelmesh.stores.cassandra import Cassandra, Row, Statement
from reelmesh.stores.events import MEDIA_EVENTS, Record
from reelmesh.stores.migrations import keyspace_of
from reelmesh.stores.objects import Objects
from reelmesh.stores.outbox import Outbox

REQUEST_TTL = timedelta(days=1)
"""How long a request_id is remembered."""

_KS = keyspace_of("ingest")
_THIS = "WHERE organization = ? AND upload = ?"
_COLUMNS = (
    "display_name, title, total_size, declared_crc32c, video, create_time, expire_time, state, persisted_size, "
    "persisted_crc32c, writer, failure_reason, finish_time, protected"
)


class CassandraUploadStore:
    """Uploads in the keyspace of ingest. See schema.cql for the shape."""

    def __init__(self, cassandra: Cassandra, outbox: Outbox, clock: Clock) -> None:
        self._cassandra = cassandra
        self._outbox = outbox
        self._clock = clock

    async def claim(self, organization: str, request_id: str, upload_id: str) -> str:
        """Return the upload that `request_id` made first: `upload_id`, or an earlier one."""
        ttl = int(REQUEST_TTL.total_seconds())
        earlier = await self._cassandra.apply(
            Statement(
                f"INSERT INTO {_KS}.requests (organization, request_id, upload) VALUES (?, ?, ?) "
                f"IF NOT EXISTS USING TTL {ttl}",
                (organization, request_id, upload_id),
            )
        )
        return upload_id if earlier is None else str(earlier.upload)

    async def create(self, upload: Upload) -> Upload:
        """Create it, or return the one of that name."""
        name = upload.name
        # The lists come first: a name in them without an upload is harmless, an upload in no list is lost.
        of_video = Statement(
            f"INSERT INTO {_KS}.uploads_by_video (organization, video, upload) VALUES (?, ?, ?)",
            (name.organization, upload.video.id, name.id),
        )
        await self._cassandra.batch([self._listed(name), of_video, self._due(name, upload.expire_time)])
        await self._cassandra.apply(
            Statement(
                f"UPDATE {_KS}.uploads SET display_name = ?, title = ?, total_size = ?, declared_crc32c = ?, "
                "video = ?, create_time = ?, expire_time = ?, state = ?, persisted_size = 0, persisted_crc32c = 0, "
                f"writer = '', failure_reason = '', protected = ? {_THIS} IF state = null",
                (
                    upload.display_name,
                    upload.title,
                    upload.total_size,
                    upload.declared_crc32c,
                    str(upload.video),
                    upload.create_time,
                    upload.expire_time,
                    upload.state.value,
                    upload.protected,
                    name.organization,
                    name.id,
                ),
            )
        )
        return await self.load(name)

    async def load(self, name: UploadName) -> Upload:
        """Return an upload. Raises UploadUnknown."""
        rows = await self._cassandra.execute(
            f"SELECT {_COLUMNS} FROM {_KS}.uploads {_THIS} LIMIT 1", name.organization, name.id
        )
        if not rows or rows[0].state is None:
            raise errors.UploadUnknown("there is no such upload")
        return _upload(name, rows[0])

    async def list(self, organization: str, size: int, before: str) -> Sequence[Upload]:
        """Return up to `size` uploads, newest first, older than the id `before` when it is not empty."""
        older, bound = (" AND upload < ?", (before,)) if before else ("", ())
        rows = await self._cassandra.execute(
            f"SELECT upload FROM {_KS}.uploads_by_organization WHERE organization = ?{older} LIMIT ?",
            organization,
            *bound,
            size,
        )
        found = []
        for row in rows:
            try:
                found.append(await self.load(UploadName(organization, row.upload)))
            except errors.UploadUnknown:
                continue  # its creation was cut short
        return found

    async def take_over(self, upload: Upload, writer: str) -> Upload:
        """Make `writer` the only one that may append. Raises the error that its state calls for."""
        stands = await self._cassandra.apply(
            Statement(
                f"UPDATE {_KS}.uploads SET writer = ? {_THIS} IF state = 'ACTIVE'",
                (writer, upload.name.organization, upload.name.id),
            )
        )
        if stands is not None:
            raise errors.WriterReplaced("the upload was settled by someone else")
        # Read after the take-over: what an older writer stored until then counts.
        return await self.load(upload.name)

    async def append(self, upload: Upload, parts: Sequence[Part], crc32c: int, expire_time: datetime) -> Upload:
        """Record durable parts at the end. Raises WriterReplaced when another writer has taken over."""
        name = upload.name
        grown = replace(
            upload,
            persisted_size=parts[-1].offset + parts[-1].size,
            persisted_crc32c=crc32c,
            expire_time=expire_time,
        )
        try:
            stands = await self._cassandra.apply(
                Statement(
                    f"UPDATE {_KS}.uploads SET persisted_size = ?, persisted_crc32c = ?, expire_time = ? {_THIS} "
                    "IF writer = ? AND state = 'ACTIVE' AND persisted_size = ?",
                    (
                        grown.persisted_size,
                        grown.persisted_crc32c,
                        expire_time,
                        name.organization,
                        name.id,
                        upload.writer,
                        parts[0].offset,
                    ),
                ),
                *(
                    Statement(
                        f"INSERT INTO {_KS}.uploads "
                        "(organization, upload, part_offset, part_size, part_key, part_crc32c) "
                        "VALUES (?, ?, ?, ?, ?, ?)",
                        (name.organization, name.id, part.offset, part.size, part.key, part.crc32c),
                    )
                    for part in parts
                ),
            )
        except Unavailable:
            # It may have been applied all the same.
            current = await self.load(name)
            if current.writer == upload.writer and current.persisted_size == grown.persisted_size:
                return current
            raise
        if stands is not None:
            if stands.writer == upload.writer and stands.persisted_size == grown.persisted_size:
                return grown  # a lost answer made the driver say it twice
            raise errors.WriterReplaced("a newer writer has taken over")
        return grown

    async def settle(self, upload: Upload, state: State, failure_reason: str = "") -> Upload:
        """Move from ACTIVE to `state` unless it grew or was settled meanwhile; return it as it stands."""
        await self._cassandra.apply(
            Statement(
                f"UPDATE {_KS}.uploads SET state = ?, failure_reason = ? {_THIS} "
                "IF state = 'ACTIVE' AND writer = ? AND persisted_size = ?",
                (
                    state.value,
                    failure_reason,
                    upload.name.organization,
                    upload.name.id,
                    upload.writer,
                    upload.persisted_size,
                ),
            )
        )
        return await self.load(upload.name)

    async def parts(self, name: UploadName) -> Sequence[Part]:
        """Return its parts in order."""
        rows = await self._cassandra.execute(
            f"SELECT part_offset, part_size, part_key, part_crc32c FROM {_KS}.uploads {_THIS}",
            name.organization,
            name.id,
        )
        return [
            Part(row.part_key, row.part_offset, row.part_size, row.part_crc32c)
            for row in rows
            if row.part_offset is not None
        ]

    async def finish(self, upload: Upload) -> Upload:
        """Mark a FINISHING upload SUCCEEDED and write its event, in one logged batch."""
        name = upload.name
        event = MediaEvent(
            id=derived_id(name.id, "upload.completed"),
            video=str(upload.video),
            upload_completed=UploadCompleted(
                upload=str(name),
                source=upload.source,
                total_size=upload.persisted_size,
                display_name=upload.display_name,
                title=upload.title,
                protected=upload.protected,
            ),
        )
        event.time.FromDatetime(self._clock.now())
        record = Record(MEDIA_EVENTS, event.video, event.SerializeToString())
        # finish_time is never part of a lightweight transaction, whose timestamps do not mix with a batch's.
        done = Statement(
            f"UPDATE {_KS}.uploads SET finish_time = ? {_THIS}", (self._clock.now(), name.organization, name.id)
        )
        await self._cassandra.batch([done, self._outbox.add(event.id, record)])
        self._outbox.wake()
        return await self.load(name)

    async def of_video(self, video: VideoName) -> Sequence[UploadName]:
        """Return the uploads that are, or were to be, sources of a video."""
        rows = await self._cassandra.execute(
            f"SELECT upload FROM {_KS}.uploads_by_video WHERE organization = ? AND video = ?",
            video.organization,
            video.id,
        )
        return [UploadName(video.organization, row.upload) for row in rows]

    async def due(self, day: datetime) -> Sequence[UploadName]:
        """Return the uploads that were to be looked at on `day`."""
        rows = await self._cassandra.execute(f"SELECT organization, upload FROM {_KS}.due WHERE day = ?", day.date())
        return [UploadName(row.organization, row.upload) for row in rows]

    async def look_again(self, name: UploadName, day: datetime, at: datetime | None) -> None:
        """Move an upload from `day` to the day of `at`, or from the list altogether."""
        if at is not None and at.date() == day.date():
            due = self._due(name, at)
            await self._cassandra.execute(due.cql, *due.parameters)
            return
        forget = Statement(
            f"DELETE FROM {_KS}.due WHERE day = ? AND organization = ? AND upload = ?",
            (day.date(), name.organization, name.id),
        )
        await self._cassandra.batch([forget] if at is None else [self._due(name, at), forget])

    @staticmethod
    def _listed(name: UploadName) -> Statement:
        return Statement(
            f"INSERT INTO {_KS}.uploads_by_organization (organization, upload) VALUES (?, ?)",
            (name.organization, name.id),
        )

    @staticmethod
    def _due(name: UploadName, at: datetime) -> Statement:
        return Statement(
            f"INSERT INTO {_KS}.due (day, organization, upload) VALUES (?, ?, ?)",
            (at.date(), name.organization, name.id),
        )


class ManifestWriter:
    """Writes a SourceManifest into the raw store."""

    def __init__(self, raw: Objects) -> None:
        self._raw = raw

    async def write(self, upload: Upload, parts: Sequence[Part]) -> None:
        """Store it under `upload.source`. Raises Unavailable."""
        manifest = SourceManifest(
            parts=[SourcePart(key=p.key, offset=p.offset, size=p.size, crc32c=p.crc32c) for p in parts],
            total_size=upload.persisted_size,
            crc32c=upload.persisted_crc32c,
        )
        await self._raw.put(upload.source, manifest.SerializeToString())


def _upload(name: UploadName, row: Row) -> Upload:
    state = State(row.state)
    if state is State.FINISHING and row.finish_time is not None:
        state = State.SUCCEEDED
    return Upload(
        name=name,
        display_name=row.display_name or "",
        title=row.title or "",
        total_size=row.total_size,
        declared_crc32c=row.declared_crc32c,
        video=VideoName.parse(row.video),
        create_time=row.create_time.replace(tzinfo=UTC),
        expire_time=row.expire_time.replace(tzinfo=UTC),
        state=state,
        persisted_size=row.persisted_size,
        persisted_crc32c=row.persisted_crc32c,
        writer=row.writer or "",
        failure_reason=row.failure_reason or "",
        protected=bool(row.protected),
    )
