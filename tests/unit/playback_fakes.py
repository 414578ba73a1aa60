"""Playback's stores and peers in memory, and presentations to play."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from media_fakes import PSSH, digest

from reelmesh.media.v1.media_pb2 import Protection
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import SessionName, VideoName
from reelmesh.playback.delivery import Watched
from reelmesh.playback.errors import NotEntitled, NothingToPlay, VideoUnknown
from reelmesh.playback.model import Arm, Limits, Session, Standing
from reelmesh.playback.presentation import Presentation, from_proto
from reelmesh.playback.progress import Progress
from reelmesh.playback.streams import Slot, Slots
from reelmesh.playback.watcher import Watcher
from reelmesh.transcode.protection import SCHEMES, label_of
from reelmesh.transcode.v1.segment_index_pb2 import SegmentIndex

VIDEO = VideoName("acme", "0198c0de-0000-7000-8000-000000000001")
JOB = "organizations/acme/jobs/0198c0de-0000-7000-8000-000000000002"
PREFIX = f"acme/{VIDEO.id}/0198c0de-0000-7000-8000-000000000002"


def index(
    segments: int = 3,
    *,
    complete: bool = False,
    heights: Sequence[int] = (1080, 360),
    languages: Sequence[str] = ("und",),
    tail: bool = False,
    scheme: str = "",
) -> SegmentIndex:
    """An index as transcode makes it: 24000/1001 frames a second, first a segment of 2 s, then of 4 s.

    With `tail` the last picture segment has six frames and a key frame's weight; with a `scheme` the tracks are
    encrypted by it.
    """
    made = SegmentIndex(video=str(VIDEO), job=JOB, prefix=PREFIX, revision=segments, complete=complete)
    made.duration.FromTimedelta(timedelta(seconds=100))
    for height in heights:
        entry = made.tracks.add()
        entry.track.id = f"v{height}"
        entry.track.codec = "avc1.64001f"
        entry.track.timescale = 24000
        entry.track.video.width = height * 16 // 9
        entry.track.video.height = height
        entry.track.video.frame_rate.numerator = 24000
        entry.track.video.frame_rate.denominator = 1001
        position = 0
        for number in range(segments):
            duration = 48048 if number == 0 else 6006 if tail and number == segments - 1 else 96096
            size = height * 300 if duration == 6006 else height * 600 + number * 7
            entry.segments.add(number=number, start=position, duration=duration, size=size)
            position += duration
    for place, language in enumerate(languages):
        entry = made.tracks.add()
        entry.track.id = f"a{place}"
        entry.track.codec = "mp4a.40.2"
        entry.track.timescale = 48000
        entry.track.language = language
        entry.track.audio.channels = 2
        entry.track.audio.sample_rate = 48000
        position = 0
        for number in range(segments):
            duration = 96256 if number == 0 else 192512 if number % 2 else 191488
            entry.segments.add(number=number, start=position, duration=duration, size=duration // 3)
            position += duration
    for entry in made.tracks if scheme else ():
        label = label_of(entry.track)
        entry.track.protection.CopyFrom(
            Protection(scheme=SCHEMES[scheme], key_id=digest(label), label=label, iv=digest("iv"), pssh=PSSH)
        )
    return made


class FakeSource:
    """Where presentations come from; counts how often it is asked."""

    def __init__(self, made: SegmentIndex | None = None) -> None:
        self.made = made
        self.reads = 0

    async def read(self, video: VideoName) -> Presentation:
        self.reads += 1
        if self.made is None:
            raise NothingToPlay("nothing")
        return from_proto(self.made)


class FakeCatalog:
    """The catalog's word on each video."""

    def __init__(self) -> None:
        self.standings: dict[VideoName, Standing] = {}

    async def standing(self, video: VideoName) -> Standing:
        if video not in self.standings:
            raise VideoUnknown("unknown")
        return self.standings[video]


class ManualClock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class CountingIds:
    """Ids in order."""

    def __init__(self) -> None:
        self.count = 0

    def new(self) -> str:
        self.count += 1
        return f"00000000-0000-7000-8000-{self.count:012x}"


class MemorySessionStore:
    """Sessions in a dictionary."""

    def __init__(self) -> None:
        self.sessions: dict[SessionName, Session] = {}
        self.names: dict[tuple[str, str], SessionName] = {}

    async def add(self, session: Session) -> None:
        self.sessions[session.name] = session

    async def claim(self, session: Session) -> Session:
        return self.sessions.setdefault(session.name, session)

    async def name(self, request: str, new: SessionName) -> SessionName:
        return self.names.setdefault((new.organization, request), new)

    async def load(self, name: SessionName) -> Session | None:
        return self.sessions.get(name)

    async def ending(self, name: SessionName) -> str:
        return self.sessions[name].end_reason if name in self.sessions else ""

    async def note_place(self, session: Session, place: str) -> None:
        known = self.sessions[session.name]
        self.sessions[session.name] = replace(known, places=known.places | {place})

    async def end(self, session: Session, reason: str) -> None:
        self.sessions[session.name] = replace(self.sessions[session.name], end_reason=reason)


class MemoryDeliveryStore:
    """What was said of sessions, and what was counted of them."""

    def __init__(self) -> None:
        self.said: dict[SessionName, Watched] = {}
        self.counted: dict[SessionName, timedelta] = {}
        self.away = False

    async def watched(self, name: SessionName) -> Watched | None:
        return self.said.get(name)

    async def put_watched(self, session: Session, watched: Watched) -> None:
        self.said[session.name] = watched

    async def record(self, session: SessionName, create_time: datetime, total: timedelta) -> None:
        if self.away:
            raise Unavailable("away")
        self.counted[session] = total


class MemorySlotStore:
    """Slots in a dictionary."""

    def __init__(self) -> None:
        self.slots: dict[tuple[str, str], Slots] = {}

    async def load(self, organization: str, user: str) -> Slots:
        return self.slots.get((organization, user), Slots(0, ()))

    async def replace(self, organization: str, user: str, old: Slots, held: Sequence[Slot]) -> bool:
        await asyncio.sleep(0)  # others come in between
        if await self.load(organization, user) != old:
            return False
        self.slots[organization, user] = Slots(old.revision + 1, tuple(held))
        return True


class FakeEntitlements:
    """Billing's word: a reason to refuse, or limits. Remembers who began."""

    def __init__(self) -> None:
        self.reason = ""
        self.limits = Limits(0, ("AUDIO", "SD", "HD"), offline=False)
        self.begun: list[Watcher] = []

    async def begin(self, video: VideoName, watcher: Watcher) -> Limits:
        limits = await self.check(video, watcher)
        self.begun.append(watcher)
        return limits

    async def check(self, video: VideoName, watcher: Watcher) -> Limits:
        if self.reason:
            raise NotEntitled(self.reason, "organizations/acme/policies/default@1", ["organizations/acme/plans/gold"])
        return self.limits


class FakeExperiments:
    """Analytics' word: arms, or nothing while it is away. Remembers who was assigned."""

    def __init__(self) -> None:
        self.arms: Sequence[Arm] = ()
        self.away = False
        self.assigned: list[tuple[SessionName, str]] = []

    async def assign(self, session: SessionName, viewer: str) -> Sequence[Arm]:
        if self.away:
            raise Unavailable("away")
        self.assigned.append((session, viewer))
        return self.arms


class MemoryProgressStore:
    """Progress in a dictionary; the later of two writes wins."""

    def __init__(self) -> None:
        self.noted: dict[tuple[str, str, VideoName], Progress] = {}
        self.ended: dict[tuple[str, str, VideoName], Progress] = {}
        self.gone: set[VideoName] = set()

    async def load(self, organization: str, viewer: str, video: VideoName) -> Progress | None:
        return self.noted.get((organization, viewer, video))

    async def put(self, progress: Progress) -> None:
        key = (progress.organization, progress.viewer, progress.video)
        earlier = self.noted.get(key)
        if earlier is None or earlier.update_time <= progress.update_time:
            self.noted[key] = progress

    async def finish(self, progress: Progress) -> None:
        key = (progress.organization, progress.viewer, progress.video)
        self.noted.pop(key, None)
        self.ended[key] = progress

    async def all(self, organization: str, viewer: str) -> Sequence[Progress]:
        mine = [p for (o, v, _), p in self.noted.items() if (o, v) == (organization, viewer)]
        return [p for p in mine if p.video not in self.gone]

    async def finished(self, organization: str, viewer: str) -> Sequence[Progress]:
        return [p for (o, v, _), p in self.ended.items() if (o, v) == (organization, viewer)]

    async def remove_viewer(self, organization: str, viewer: str) -> None:
        self.ended = {key: p for key, p in self.ended.items() if key[:2] != (organization, viewer)}
        self.noted = {key: p for key, p in self.noted.items() if key[:2] != (organization, viewer)}

    async def bury(self, video: VideoName) -> None:
        self.gone.add(video)
