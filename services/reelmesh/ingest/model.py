"""An upload: what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from reelmesh.mesh.names import UploadName, VideoName


class State(Enum):
    """Where an upload stands."""

    ACTIVE = "ACTIVE"
    FINISHING = "FINISHING"
    """All bytes are checked, and the event that says so is about to be written; clients see it as ACTIVE."""
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


def folder_of(name: UploadName) -> str:
    """Return the prefix of an upload's objects in the raw store."""
    return f"{name.organization}/{name.id}"


@dataclass(frozen=True, slots=True)
class NewUpload:
    """What a client asks for."""

    display_name: str
    title: str
    total_size: int | None
    """Bytes; None when the client does not know."""
    crc32c: int | None
    """CRC-32C of the whole file; None when the client does not know."""
    video: VideoName | None
    """The video it becomes the source of; None makes one."""
    protected: bool | None = None
    """Whether its presentation is encrypted; None leaves that to the installation."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload as it stands."""

    name: UploadName
    display_name: str
    title: str
    total_size: int | None
    declared_crc32c: int | None
    video: VideoName
    create_time: datetime
    expire_time: datetime
    state: State = State.ACTIVE
    persisted_size: int = 0
    """Bytes that are durable, from the start without a gap."""
    persisted_crc32c: int = 0
    """CRC-32C of the durable bytes."""
    writer: str = ""
    """Who may append."""
    failure_reason: str = ""
    protected: bool = False
    """Whether its presentation is encrypted."""

    @property
    def folder(self) -> str:
        """Prefix of its objects in the raw store."""
        return folder_of(self.name)

    @property
    def source(self) -> str:
        """Key of its SourceManifest."""
        return f"{self.folder}/source.binpb"


def shown(upload: Upload) -> Upload:
    """Return `upload` as clients see it: FINISHING is a matter of ours."""
    return replace(upload, state=State.ACTIVE) if upload.state is State.FINISHING else upload
