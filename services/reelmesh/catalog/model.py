"""A video as the catalog knows it. Values only."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, IntEnum

from reelmesh.media.v1.media_pb2 import Track
from reelmesh.mesh.names import JobName, UploadName, VideoName


class State(Enum):
    """Where a video stands; the contract says what each means."""

    DRAFT = "DRAFT"
    PROCESSING = "PROCESSING"
    PLAYABLE = "PLAYABLE"
    READY = "READY"
    FAILED = "FAILED"


class JobState(IntEnum):
    """How far a job got, as its events tell; a larger one is the better thing to show."""

    FAILED = 0
    PLANNED = 1
    PLAYABLE = 2
    SUCCEEDED = 3


SHOWN_AS = {
    JobState.FAILED: State.FAILED,
    JobState.PLANNED: State.PROCESSING,
    JobState.PLAYABLE: State.PLAYABLE,
    JobState.SUCCEEDED: State.READY,
}


@dataclass(frozen=True, slots=True)
class Person:
    """Someone who made a video or is in it."""

    name: str
    role: str = ""
    character: str = ""


@dataclass(frozen=True, slots=True)
class Artwork:
    """A picture of a video."""

    kind: str
    uri: str
    width: int = 0
    """Pixels."""
    height: int = 0
    """Pixels."""


@dataclass(frozen=True, slots=True)
class Details:
    """What people write about a video: exactly the fields that an update may name."""

    title: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    people: tuple[Person, ...] = ()
    genres: tuple[str, ...] = ()
    artwork: tuple[Artwork, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """A job of a video, as far as the catalog was told."""

    id: str
    state: JobState
    tracks: tuple[Track, ...] = ()
    duration: timedelta | None = None
    """Length of what it makes; None until it is planned."""
    failure_reason: str = ""
    failed_time: datetime | None = None
    """When it last failed; what was said before then does not bring it back."""


@dataclass(frozen=True, slots=True)
class Video:
    """A video. What is shown of it follows from its jobs and is not kept beside them."""

    name: VideoName
    create_time: datetime
    update_time: datetime
    details: Details = field(default_factory=Details)
    upload: str = ""
    """Id of the newest upload that completed."""
    jobs: Mapping[str, Job] = field(default_factory=dict)
    """Jobs that may still matter, by id."""
    revision: int = 1
    """Grows by one with every change."""

    @property
    def shown(self) -> Job | None:
        """The job whose result is played: the furthest one, and of those equally far the newest."""
        return max(self.jobs.values(), key=lambda job: (job.state, job.id), default=None)

    @property
    def state(self) -> State:
        """Where the video stands."""
        if self.shown is not None:
            return SHOWN_AS[self.shown.state]
        return State.PROCESSING if self.upload else State.DRAFT

    @property
    def job_name(self) -> str:
        """Resource name of the job that is shown; empty when there is none."""
        return str(JobName(self.name.organization, self.shown.id)) if self.shown is not None else ""

    @property
    def upload_name(self) -> str:
        """Resource name of the source's upload; empty when there is none."""
        return str(UploadName(self.name.organization, self.upload)) if self.upload else ""

    @property
    def etag(self) -> str:
        """Another one with every change. A hash, so that nobody is tempted to count with it."""
        return hashlib.blake2b(f"{self.name} {self.revision}".encode(), digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class Deletion:
    """A deletion that was decided on, kept until its event is in the outbox."""

    name: VideoName
    event_id: str
    time: datetime
