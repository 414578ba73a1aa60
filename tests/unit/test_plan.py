from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest

from reelmesh.media.v1.media_pb2 import ByteRange, Rational
from reelmesh.transcode.chunks import LEAD, split
from reelmesh.transcode.ladder import LadderSettings, rungs
from reelmesh.transcode.plan import Plan, PlanError, PlanSettings, plan, timescale
from reelmesh.transcode.spans import PacketSpans
from reelmesh.worker.v1.task_pb2 import (
    AudioStream,
    AudioWork,
    Inspection,
    SourceIndex,
    StreamIndex,
    VideoStream,
    VideoWork,
)

SETTINGS = PlanSettings()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1920, 1080), [(1920, 1080), (1280, 720), (854, 480), (640, 360), (426, 240)]),
        ((3840, 2160), [(3840, 2160), (2560, 1440), (1920, 1080), (1280, 720), (640, 360)]),
        ((7680, 4320), [(3840, 2160), (2560, 1440), (1920, 1080), (1280, 720), (640, 360)]),
        ((2160, 3840), [(2160, 3840), (1440, 2560), (1080, 1920), (720, 1280), (360, 640)]),
        ((1920, 800), [(1920, 800), (1728, 720), (1152, 480), (864, 360), (576, 240)]),
        ((768, 432), [(768, 432), (640, 360), (426, 240)]),
        ((640, 360), [(640, 360), (426, 240), (256, 144)]),
        ((1924, 1082), [(1924, 1082), (1280, 720), (854, 480), (640, 360), (426, 240)]),
        ((176, 144), [(176, 144)]),
        ((321, 181), [(320, 180), (256, 144)]),
    ],
)
def test_ladder(size: tuple[int, int], expected: list[tuple[int, int]]) -> None:
    ladder = rungs(*size, Fraction(30), LadderSettings())
    assert [(rung.width, rung.height) for rung in ladder] == expected
    assert [rung.track for rung in ladder] == [f"v{min(shape)}" for shape in expected]
    bitrates = [rung.max_bitrate for rung in ladder]
    assert bitrates == sorted(bitrates, reverse=True)
    assert len(set(bitrates)) == len(bitrates)


def test_more_frames_may_take_more_bits() -> None:
    slow, film, fast = (rungs(1920, 1080, Fraction(rate), LadderSettings())[0].max_bitrate for rate in (10, 30, 60))
    assert slow < film == 5_500_000 < fast < 2 * film


@pytest.mark.parametrize(
    "rate", [Fraction(24), Fraction(25, 2), Fraction(179, 6), Fraction(30_000, 1_001), Fraction(1)]
)
def test_timescale(rate: Fraction) -> None:
    assert timescale(rate) >= 10_000
    assert (timescale(rate) / rate).denominator == 1


@pytest.mark.parametrize("frames", [1, 47, 48, 50, 60, 72, 73, 144, 500, 720, 1_000, 10_001])
@pytest.mark.parametrize("spacing", [0.5, 2.0, 10.0, 1e9])
def test_chunks_hold_every_frame_once(frames: int, spacing: float) -> None:
    rate, origin = Fraction(24), 1.5
    keys = [origin + spacing * place for place in range(int(frames / 24 / spacing) + 1)]
    chunks = split(frames, rate, gop=48, segment=96, origin=origin, keys=keys, target=12.0)
    assert sum(chunk.frames for chunk in chunks) == frames
    assert chunks[0].first_frame == 0
    assert chunks[0].seek == origin
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    for one, other in pairwise(chunks):
        assert other.first_frame == one.first_frame + one.frames
        assert one.frames % one.segment_frames == 0
        assert other.first_segment == one.first_segment + one.frames // one.segment_frames
        start = origin + other.first_frame / 24
        before = [key for key in keys if key <= start - LEAD] or [origin]
        assert other.seek == origin or before[-1] <= other.seek <= start - LEAD
    if len(chunks) > 1:
        assert chunks[0].frames == 48
        assert chunks[-1].frames > 24


def test_chunks_begin_behind_key_frames() -> None:
    """With key frames 10 s apart, little is decoded twice."""
    rate, keys = Fraction(25), [10.0 * place for place in range(60)]
    chunks = split(15_000, rate, gop=50, segment=100, origin=0.0, keys=keys, target=12.0)
    twice = sum(chunk.first_frame / 25 - max(key for key in keys if key <= chunk.first_frame / 25 - LEAD)
                for chunk in chunks[1:])  # fmt: skip
    assert twice / 600 < 0.2
    assert max(chunk.frames for chunk in chunks) <= 24 * 25


def test_dense_key_frames_give_even_chunks() -> None:
    chunks = split(
        15_000, Fraction(25), gop=50, segment=100, origin=0.0, keys=[p / 25 for p in range(15_000)], target=12
    )
    assert {chunk.frames for chunk in chunks[1:-1]} == {300}


def film(seconds: int = 60, *, gop: int = 10, reorder: bool = True) -> tuple[Inspection, SourceIndex]:
    """A film of 25 frames per second, with sound between the pictures, and its index."""
    video, audio = StreamIndex(stream=0), StreamIndex(stream=1)
    position = 1_000
    for place in range(seconds * 25):
        shown = place
        if reorder and place % 3 and place < seconds * 25 - 3:
            shown = place + (1 if place % 3 == 1 else -1)
        video.times.append(shown * 40_000)
        video.positions.append(position)
        video.sizes.append(20_000)
        if place % (gop * 25) == 0:
            video.keys.append(place)
        position += 20_000
        for sound in range(2):
            audio.times.append(place * 40_000 + sound * 20_000)
            audio.positions.append(position)
            audio.sizes.append(400)
            position += 400
    inspection = Inspection(
        container="mov",
        video=[
            VideoStream(
                index=0,
                width=1920,
                height=1080,
                frame_rate=Rational(numerator=25, denominator=1),
                duration=seconds,
                frames=seconds * 25,
                key_times=[float(key) for key in range(0, seconds, gop)],
            )
        ],
        audio=[AudioStream(index=1, channels=6, sample_rate=44_100, language="deu", duration=seconds)],
        index="index",
    )
    return inspection, SourceIndex(always=[ByteRange(offset=0, size=1_000)], streams=[video, audio])


def videos(made: Plan) -> list[VideoWork]:
    return [task.work for task in made.tasks if isinstance(task.work, VideoWork)]


def test_plan_of_a_film() -> None:
    inspection, index = film()
    made = plan(inspection, index, SETTINGS)
    assert [task.id for task in made.tasks][:3] == ["video-00000", "audio-0", "video-00001"]
    assert [track.id for track in made.tracks] == ["v1080", "v720", "v480", "v360", "v240", "a0"]
    assert made.tracks[-1].timescale == 48_000
    assert made.tracks[-1].language == "deu"
    assert (made.frames, made.duration, made.origin) == (1_500, 60.0, 0.0)
    size = index.streams[0].positions[-1] + 20_800
    read = sum(span.size for task in made.tasks for span in task.work.ranges) + 1_000
    assert read <= 1.3 * size
    sound = next(task.work for task in made.tasks if isinstance(task.work, AudioWork))
    assert (sound.segment_seconds_first, sound.segment_seconds, sound.duration) == (2.0, 4.0, 60.0)
    assert sum(span.size for span in sound.ranges) == sum(index.streams[1].sizes)


def test_ranges_hold_what_decoding_takes() -> None:
    inspection, index = film()
    stream = index.streams[0]
    for work in videos(plan(inspection, index, SETTINGS)):
        start, end = work.first_frame / 25, (work.first_frame + work.frames) / 25
        key = max((key for key in stream.keys if stream.times[key] <= (start - LEAD) * 1e6), default=0)
        last = max(place for place, time in enumerate(stream.times) if time <= end * 1e6)
        for place in range(key, last + 1):
            first, size = stream.positions[place], stream.sizes[place]
            assert any(span.offset <= first and first + size <= span.offset + span.size for span in work.ranges)
        assert not work.seek or stream.times[key] / 1e6 <= work.seek <= start - LEAD


def test_a_long_message_is_bounded() -> None:
    inspection, index = film(3_600)
    index.streams[0].sizes[:] = [20_000] * len(index.streams[0].sizes)
    for task in plan(inspection, index, SETTINGS).tasks:
        assert task.work.ByteSize() < 400_000


def test_without_an_index_tasks_need_the_whole_source() -> None:
    inspection, _ = film()
    made = plan(inspection, None, SETTINGS)
    assert not any(task.work.ranges or task.work.always for task in made.tasks)
    later = videos(made)[-1]
    assert 0 < later.seek < later.first_frame / 25 - LEAD


def test_a_stated_duration_never_changes_an_even_film() -> None:
    inspection, index = film()
    inspection.video[0].duration = 60.03
    assert plan(inspection, index, SETTINGS).frames == 1_500
    inspection.video[0].variable_rate = True
    assert plan(inspection, index, SETTINGS).frames == 1_501


def test_a_file_without_pictures_cannot_be_planned() -> None:
    with pytest.raises(PlanError) as caught:
        plan(Inspection(audio=[AudioStream(index=0)]), None, SETTINGS)
    assert caught.value.reason == "SOURCE_NO_VIDEO"


def test_an_index_without_the_stream() -> None:
    assert PacketSpans.of(SourceIndex(), 0) is None
