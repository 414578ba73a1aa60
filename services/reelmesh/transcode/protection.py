"""Which key encrypts which track. No I/O: keys are asked for through a Protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from reelmesh.media.v1 import media_pb2
from reelmesh.mesh.names import VideoName
from reelmesh.transcode.plan import Plan, PlannedTask
from reelmesh.worker.v1.task_pb2 import AudioWork, VideoWork

SCHEMES = {
    "cbcs": media_pb2.Protection.SCHEME_CBCS,
    "cenc": media_pb2.Protection.SCHEME_CENC,
}
"""Schemes by their names in ISO/IEC 23001-7."""
_LINES = ((576, "SD"), (1080, "HD"))
"""Most lines of a picture that a key is good for. A license may withhold the keys of what lies above."""


class KeyDesk(Protocol):
    """Where keys are made; peers.py asks the drm service."""

    async def create(
        self, video: VideoName, labels: Sequence[str], scheme: media_pb2.Protection.Scheme.ValueType
    ) -> Sequence[media_pb2.Protection]:
        """Return how to encrypt with the key of each label; the same however often it is asked.

        Raises PlanError, Unavailable.
        """


def label_of(track: media_pb2.Track) -> str:
    """Return what the key of a track is for: its shorter side counts, so that a portrait film is as any other."""
    if track.HasField("audio"):
        return "AUDIO"
    lines = min(track.video.width, track.video.height)
    return next((label for most, label in _LINES if lines <= most), "UHD")


async def protected(plan: Plan, video: VideoName, desk: KeyDesk, scheme: media_pb2.Protection.Scheme.ValueType) -> Plan:
    """Return `plan` with every track encrypted. Raises PlanError, Unavailable."""
    labels = list(dict.fromkeys(label_of(track) for track in plan.tracks))
    keys = {key.label: key for key in await desk.create(video, labels, scheme)}
    tracks = {track.id: _with(track, keys[label_of(track)]) for track in plan.tracks}
    bare = {id_: _bare(track.protection) for id_, track in tracks.items()}
    return replace(plan, tracks=tuple(tracks.values()), tasks=tuple(_encrypting(task, bare) for task in plan.tasks))


def _with(track: media_pb2.Track, key: media_pb2.Protection) -> media_pb2.Track:
    made = media_pb2.Track()
    made.CopyFrom(track)
    made.protection.CopyFrom(key)
    return made


def _bare(protection: media_pb2.Protection) -> media_pb2.Protection:
    """Return it without what only manifests carry."""
    made = media_pb2.Protection()
    made.CopyFrom(protection)
    del made.pssh[:]
    return made


def _encrypting(task: PlannedTask, keys: Mapping[str, media_pb2.Protection]) -> PlannedTask:
    if isinstance(task.work, AudioWork):
        sound = AudioWork()
        sound.CopyFrom(task.work)
        sound.protection.CopyFrom(keys[sound.track])
        return replace(task, work=sound)
    picture = VideoWork()
    picture.CopyFrom(task.work)
    for rendition in picture.renditions:
        rendition.protection.CopyFrom(keys[rendition.track])
    return replace(task, work=picture)
