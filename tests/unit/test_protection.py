"""Which key encrypts which track of a plan."""

from __future__ import annotations

import pytest
from media_fakes import VIDEO, FakeKeys, digest

from reelmesh.media.v1.media_pb2 import Protection, Track
from reelmesh.transcode.plan import Plan, PlanError, PlannedTask, PlanSettings
from reelmesh.transcode.planning import Planning
from reelmesh.transcode.protection import label_of, protected
from reelmesh.worker.v1.task_pb2 import AudioWork, Inspection, VideoRendition, VideoWork

CBCS = Protection.SCHEME_CBCS


def track(width: int, height: int) -> Track:
    made = Track(id=f"v{height}")
    made.video.width, made.video.height = width, height
    return made


def sound() -> Track:
    made = Track(id="a0")
    made.audio.channels = 2
    return made


@pytest.mark.parametrize(
    ("width", "height", "label"),
    [
        (426, 240, "SD"),
        (1024, 576, "SD"),
        (1026, 578, "HD"),
        (1080, 1920, "HD"),
        (1920, 1080, "HD"),
        (1922, 1082, "UHD"),
        (3840, 2160, "UHD"),
    ],
)
def test_labels(width: int, height: int, label: str) -> None:
    assert label_of(track(width, height)) == label


async def test_every_track_and_task_gets_the_key_of_its_label() -> None:
    renditions = [VideoRendition(track="v1080"), VideoRendition(track="v240")]
    plan = Plan(
        tracks=(track(1920, 1080), track(426, 240), sound()),
        tasks=(
            PlannedTask("video-00000", VideoWork(renditions=renditions)),
            PlannedTask("audio-0", AudioWork(track="a0")),
        ),
        origin=0.0,
        duration=2.0,
        frames=50,
    )
    made = await protected(plan, VIDEO, FakeKeys(), CBCS)
    assert [each.protection.label for each in made.tracks] == ["HD", "SD", "AUDIO"]
    assert [each.protection.key_id for each in made.tracks] == [digest("HD"), digest("SD"), digest("AUDIO")]
    assert all(each.protection.pssh for each in made.tracks)
    picture, voice = (task.work for task in made.tasks)
    assert isinstance(picture, VideoWork)
    assert isinstance(voice, AudioWork)
    used = [*(rendition.protection for rendition in picture.renditions), voice.protection]
    assert [each.label for each in used] == ["HD", "SD", "AUDIO"]
    assert {each.iv for each in used} == {digest("iv")}
    assert not any(each.pssh for each in used)
    assert not plan.tracks[0].HasField("protection")


async def test_a_source_that_cannot_be_planned_gets_no_keys() -> None:
    class NoIndex:
        async def get(self, key: str) -> bytes | None:
            raise AssertionError(key)

    keys = FakeKeys()
    with pytest.raises(PlanError):
        await Planning(NoIndex(), PlanSettings(), keys, CBCS).make(Inspection(), VIDEO)
    assert keys.asked == []
