"""The segment index: what there is to play of a video now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from reelmesh.media.v1.media_pb2 import Segment
from reelmesh.mesh.names import JobName, VideoName
from reelmesh.transcode.errors import IndexUnknown
from reelmesh.transcode.job import Job, State
from reelmesh.transcode.v1.segment_index_pb2 import SegmentIndex, TrackSegments


class IndexStore(Protocol):
    """What the index needs of a database."""

    async def playable(self, video: VideoName) -> Sequence[Job]:
        """Return the jobs of a video that have something to play, newest first."""

    async def segments(self, name: JobName) -> Mapping[str, Sequence[Segment]]:
        """Return the segments of each track in order."""


async def read(store: IndexStore, video: VideoName) -> SegmentIndex:
    """Return what there is to play: of the newest finished job, or else of the newest playable one.

    Raises IndexUnknown.
    """
    jobs = await store.playable(video)
    chosen = next((job for job in jobs if job.state is State.READY), None) or next(
        (job for job in jobs if job.playable_time is not None), None
    )
    if chosen is None or chosen.playable_time is None:
        raise IndexUnknown("nothing of this video can be played yet")
    segments = await store.segments(chosen.name)
    index = SegmentIndex(
        video=str(video),
        job=str(chosen.name),
        prefix=chosen.prefix,
        revision=chosen.revision,
        complete=chosen.state is State.READY,
        tracks=[TrackSegments(track=t, segments=from_the_start(segments.get(t.id, ()))) for t in chosen.tracks],
    )
    index.duration.FromNanoseconds(int(chosen.duration * 1e9))
    index.start_time.FromDatetime(chosen.playable_time)
    return index


def from_the_start(segments: Sequence[Segment]) -> Sequence[Segment]:
    """Return the segments up to the first that is missing: chunks may be done out of order."""
    for position, segment in enumerate(segments):
        if segment.number != position:
            return segments[:position]
    return segments
