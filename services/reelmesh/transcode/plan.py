"""Plans a transcode: which renditions, which chunks, and which bytes of the source each chunk needs. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from reelmesh.media.v1.media_pb2 import AudioFormat, Rational, Track, VideoFormat
from reelmesh.transcode.chunks import Chunk, split
from reelmesh.transcode.ladder import LadderSettings, Rung, rungs
from reelmesh.transcode.spans import PacketSpans, sound_ranges
from reelmesh.worker.v1.task_pb2 import (
    AudioStream,
    AudioWork,
    Inspection,
    SourceIndex,
    VideoRendition,
    VideoStream,
    VideoWork,
)

_MIN_TIMESCALE = 10_000
_INEXACT_SEEK = 0.5
"""How much too early, in seconds, to seek in a container without an index: its demuxer searches by decoding time and
may land behind the key frame."""
_PICTURE_PEAK = 1.2
"""Peak of a segment against the ceiling of the rate: the buffer holds 0.6 s, a segment lasts 2 s or more; and boxes."""
_SOUND_PEAK = 1.25


class PlanError(Exception):
    """The source cannot be planned; `reason` is stable, `message` a sentence for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class PlanSettings:
    """What an operator may choose."""

    ladder: LadderSettings = field(default_factory=LadderSettings)
    """The renditions of the picture."""
    gop_seconds: float = 2.0
    """From one key frame to the next, rounded to whole frames."""
    segment_gops: int = 2
    """GOPs in a segment; the first chunk is one segment of one GOP, so that playback starts early."""
    chunk_seconds: float = 12.0
    """How long a chunk should be; the key frames of the source decide within limits."""
    sound_channels: int = 2
    """Channels of the sound."""
    sound_rate: int = 48_000
    """Samples per second of the sound."""
    sound_bitrate: int = 128_000
    """Bits per second of a sound track."""
    max_sound_tracks: int = 8
    """Sound streams of the source beyond these are left out."""


@dataclass(frozen=True)
class PlannedTask:
    """One task of the plan."""

    id: str
    """"video-00000", "audio-0"."""
    work: VideoWork | AudioWork
    """What to do."""


@dataclass(frozen=True)
class Plan:
    """All that a job has to do, and what comes out of it."""

    tracks: tuple[Track, ...]
    """The tracks, best picture first, then the sound; codecs are empty until something is encoded."""
    tasks: tuple[PlannedTask, ...]
    """The tasks in the order in which they are best started."""
    origin: float
    """Source time in seconds that is zero in the presentation: the first frame's."""
    duration: float
    """Length of the presentation in seconds."""
    frames: int
    """Frames of every rendition."""


def plan(inspection: Inspection, index: SourceIndex | None, settings: PlanSettings) -> Plan:
    """Plan the best picture stream and all sound streams of a source.

    Without an index every task needs the whole source. Raises PlanError.
    """
    if not inspection.video:
        raise PlanError("SOURCE_NO_VIDEO", "the file has no picture stream")
    picture = inspection.video[0]
    rate = Fraction(picture.frame_rate.numerator, picture.frame_rate.denominator)
    frames = _total_frames(picture, rate)
    gop = max(1, round(settings.gop_seconds * rate))
    segment = gop * settings.segment_gops
    ladder = rungs(picture.width, picture.height, rate, settings.ladder)
    spans = PacketSpans.of(index, picture.index) if index else None
    keys = spans.key_times if spans else list(picture.key_times)
    chunks = split(
        frames,
        rate,
        gop=gop,
        segment=segment,
        origin=picture.start,
        keys=keys,
        target=settings.chunk_seconds,
        margin=0.0 if spans else _INEXACT_SEEK,
    )
    video = [
        PlannedTask(f"video-{place:05d}", _video_work(chunk, picture, rate, ladder, gop, index, spans))
        for place, chunk in enumerate(chunks)
    ]
    duration = float(frames / rate)
    sounds = list(inspection.audio[: settings.max_sound_tracks])
    audio = []
    for place, sound in enumerate(sounds):
        work = _audio_work(f"a{place}", sound, picture.start, duration, index, settings)
        work.segment_seconds_first, work.segment_seconds = float(gop / rate), float(segment / rate)
        audio.append(PlannedTask(f"audio-{place}", work))
    tracks = [_video_track(rung, rate) for rung in ladder]
    tracks += [_audio_track(f"a{place}", sound, settings) for place, sound in enumerate(sounds)]
    return Plan(
        tracks=tuple(tracks),
        tasks=(*video[:1], *audio, *video[1:]),  # what playback starts with goes first
        origin=picture.start,
        duration=duration,
        frames=frames,
    )


def timescale(rate: Fraction) -> int:
    """Return ticks per second, at least 10,000, in which a frame at `rate` frames per second is a whole number."""
    scale = rate.numerator
    while scale < _MIN_TIMESCALE:
        scale *= 2
    return scale


def _total_frames(picture: VideoStream, rate: Fraction) -> int:
    frames = max(1, round(picture.duration * rate))
    if not picture.variable_rate and abs(frames - picture.frames) <= 1 + picture.frames // 1000:
        return max(1, picture.frames)  # every frame of the source once; its stated duration may be rounded
    return frames


def _video_work(
    chunk: Chunk,
    picture: VideoStream,
    rate: Fraction,
    ladder: list[Rung],
    gop: int,
    index: SourceIndex | None,
    spans: PacketSpans | None,
) -> VideoWork:
    work = VideoWork(
        stream=picture.index,
        origin=picture.start,
        frame_rate=Rational(numerator=rate.numerator, denominator=rate.denominator),
        timescale=timescale(rate),
        first_frame=chunk.first_frame,
        frames=chunk.frames,
        last=chunk.last,
        gop_frames=gop,
        segment_frames=chunk.segment_frames,
        first_segment=chunk.first_segment,
        seek=chunk.seek,
        renditions=[
            VideoRendition(
                track=rung.track, width=rung.width, height=rung.height, crf=rung.crf, max_bitrate=rung.max_bitrate
            )
            for rung in ladder
        ],
    )
    if index and spans:
        start = picture.start + float(chunk.first_frame / rate)
        end = picture.start + float((chunk.first_frame + chunk.frames) / rate)
        work.always.extend(index.always)
        work.ranges.extend(spans.ranges(start, end, frame=float(1 / rate)))
    return work


def _audio_work(
    track: str,
    sound: AudioStream,
    origin: float,
    duration: float,
    index: SourceIndex | None,
    settings: PlanSettings,
) -> AudioWork:
    work = AudioWork(
        stream=sound.index,
        origin=origin,
        duration=duration,
        track=track,
        channels=settings.sound_channels,
        sample_rate=settings.sound_rate,
        bitrate=settings.sound_bitrate,
    )
    if index:
        work.always.extend(index.always)
        work.ranges.extend(sound_ranges(index, sound.index, until=origin + duration))
    return work


def _video_track(rung: Rung, rate: Fraction) -> Track:
    return Track(
        id=rung.track,
        timescale=timescale(rate),
        peak_bitrate=round(rung.max_bitrate * _PICTURE_PEAK),
        video=VideoFormat(
            width=rung.width,
            height=rung.height,
            frame_rate=Rational(numerator=rate.numerator, denominator=rate.denominator),
        ),
        language="und",
    )


def _audio_track(track: str, sound: AudioStream, settings: PlanSettings) -> Track:
    return Track(
        id=track,
        timescale=settings.sound_rate,
        peak_bitrate=round(settings.sound_bitrate * _SOUND_PEAK),
        audio=AudioFormat(channels=settings.sound_channels, sample_rate=settings.sound_rate),
        language=sound.language or "und",
    )
