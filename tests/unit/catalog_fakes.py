"""The catalog's stores in memory, and values to fill them with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from reelmesh.catalog.model import Deletion, Video
from reelmesh.events.v1.media_event_pb2 import (
    JobFailed,
    JobPlanned,
    JobPlayable,
    JobSucceeded,
    MediaEvent,
    UploadCompleted,
)
from reelmesh.media.v1.media_pb2 import Track
from reelmesh.mesh.names import VideoName

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class TickingClock:
    """A clock that goes on by a millisecond each time it is read."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        self.time += timedelta(milliseconds=1)
        return self.time


class CountingIds:
    """Ids in order."""

    def __init__(self) -> None:
        self.count = 0

    def new(self) -> str:
        self.count += 1
        return id_of(self.count)


def id_of(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012x}"


def upload(number: int) -> str:
    return f"organizations/acme/uploads/{id_of(number)}"


def job(number: int) -> str:
    return f"organizations/acme/jobs/{id_of(number)}"


VIDEO = VideoName("acme", id_of(900))


class MemoryVideoStore:
    """Videos in dictionaries; conditional as on Cassandra."""

    def __init__(self) -> None:
        self.videos: dict[VideoName, Video] = {}
        self.buried: set[VideoName] = set()
        self.requests: dict[tuple[str, str], str] = {}
        self.notes: list[Deletion] = []
        self.events: list[Deletion] = []
        self.writes = 0

    async def claim(self, organization: str, request_id: str, video_id: str) -> str:
        return self.requests.setdefault((organization, request_id), video_id)

    async def create(self, video: Video) -> bool:
        if video.name in self.videos or video.name in self.buried:
            return False
        self.videos[video.name] = video
        self.writes += 1
        return True

    async def load(self, name: VideoName) -> Video | None:
        return self.videos.get(name)

    async def replace(self, old: Video, new: Video) -> bool:
        there = self.videos.get(old.name)
        if there is None or there.revision != old.revision:
            return False
        self.videos[old.name] = new
        self.writes += 1
        return True

    async def page(self, organization: str, before: str, size: int) -> tuple[Sequence[Video], str]:
        names = sorted((n for n in self.videos if n.organization == organization), key=lambda n: n.id, reverse=True)
        found = [self.videos[n] for n in names if not before or n.id < before]
        return found[:size], found[size - 1].name.id if len(found) > size else ""

    async def intend(self, deletion: Deletion) -> None:
        self.notes.append(deletion)

    async def bury(self, video: Video, deletion: Deletion) -> bool:
        there = self.videos.get(video.name)
        if there is None or there.revision != video.revision:
            return False
        del self.videos[video.name]
        self.buried.add(video.name)
        return True

    async def announce(self, deletion: Deletion) -> None:
        self.events.append(deletion)
        self.notes.remove(deletion)

    async def forget(self, deletion: Deletion) -> None:
        self.notes.remove(deletion)

    async def intended(self, day: datetime) -> Sequence[Deletion]:
        return [note for note in self.notes if note.time.date() == day.date()]


@dataclass
class Events:
    """Makes events of one video, each a second after the one before."""

    video: VideoName = VIDEO
    seconds: int = field(default=0)

    def _event(self) -> MediaEvent:
        self.seconds += 1
        event = MediaEvent(id=id_of(5000 + self.seconds), video=str(self.video))
        event.time.FromDatetime(START + timedelta(seconds=self.seconds))
        return event

    def uploaded(self, number: int, title: str = "", display_name: str = "") -> MediaEvent:
        event = self._event()
        event.upload_completed.CopyFrom(UploadCompleted(upload=upload(number), title=title, display_name=display_name))
        return event

    def planned(self, number: int, seconds: int = 60) -> MediaEvent:
        event = self._event()
        event.job_planned.CopyFrom(JobPlanned(job=job(number), tracks=[Track(id=f"v{number}", timescale=24000)]))
        event.job_planned.duration.FromSeconds(seconds)
        return event

    def playable(self, number: int) -> MediaEvent:
        event = self._event()
        track = Track(id=f"v{number}", timescale=24000, codec="avc1.64001f")
        event.job_playable.CopyFrom(JobPlayable(job=job(number), tracks=[track]))
        return event

    def succeeded(self, number: int) -> MediaEvent:
        event = self._event()
        event.job_succeeded.CopyFrom(JobSucceeded(job=job(number)))
        return event

    def failed(self, number: int, reason: str = "SOURCE_UNREADABLE", *, cancelled: bool = False) -> MediaEvent:
        event = self._event()
        event.job_failed.CopyFrom(JobFailed(job=job(number), reason=reason, cancelled=cancelled))
        return event
