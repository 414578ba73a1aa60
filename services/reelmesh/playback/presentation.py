"""The one model of what can be played: tracks and segments, from which every manifest is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from fractions import Fraction

from reelmesh.media.v1 import media_pb2
from reelmesh.mesh.names import VideoName
from reelmesh.playback import protection
from reelmesh.playback.protection import Protection
from reelmesh.transcode.v1.segment_index_pb2 import SegmentIndex, TrackSegments

NOMINAL_SEGMENT_SECONDS = 4
"""What the encoder aims at; an early or a last segment is shorter."""


_LINES = ((576, "SD"), (1080, "HD"))
"""Most lines of a picture with a label, along its shorter side; the keys of transcode's tracks are cut the same way."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A media segment."""

    number: int
    """Position in the track, from 0."""
    start: int
    """Presentation time in the track's timescale."""
    duration: int
    """In the track's timescale."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Format of a video track."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    frame_rate: Fraction
    """Frames per second."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Format of an audio track."""

    channels: int
    sample_rate: int
    """Samples per second."""


@dataclass(frozen=True, slots=True)
class Track:
    """A track of which at least the first segment can be fetched."""

    id: str
    codec: str
    """As RFC 6381 writes it."""
    timescale: int
    """Ticks per second."""
    declared_peak: int
    """Bits per second that the encoder promised not to exceed; 0 when it promised nothing."""
    language: str
    """BCP 47; empty when nobody knows."""
    format: Picture | Sound
    segments: tuple[Segment, ...]
    """From number 0 without a gap."""
    protection: Protection | None = None
    """How its samples are encrypted; None where they are clear."""

    @property
    def label(self) -> str:
        """What a viewing must be allowed to show it: "AUDIO", "SD", "HD" or "UHD", by its key, else by its size."""
        if self.protection is not None:
            return self.protection.label
        if isinstance(self.format, Sound):
            return "AUDIO"
        lines = min(self.format.width, self.format.height)
        return next((label for most, label in _LINES if lines <= most), "UHD")

    @property
    def end(self) -> Fraction:
        """Where the last listed segment ends, in seconds."""
        last = self.segments[-1]
        return Fraction(last.start + last.duration, self.timescale)

    @property
    def longest(self) -> Fraction:
        """Duration of the longest listed segment, in seconds."""
        return Fraction(max(segment.duration for segment in self.segments), self.timescale)

    @property
    def average_bitrate(self) -> int:
        """Of all that is listed, in bits per second, rounded up."""
        return self._bitrate(
            sum(segment.size for segment in self.segments), sum(segment.duration for segment in self.segments)
        )

    def peak_bitrate(self, target: int) -> int:
        """Return the largest bitrate that a player may meet, in bits per second, rounded up.

        As RFC 8216, section 4.1, has it: of any run of segments that lasts between 0.5 and 1.5 times the target
        duration (`target`, in seconds). So a last segment of a few frames, which begins with a whole key frame, does
        not make the rendition look dearer than it is. Never less than what the encoder declared.
        """
        least, most = target * self.timescale / 2, target * self.timescale * 3 / 2
        peak = max(self.declared_peak, self.average_bitrate)
        for first in range(len(self.segments)):
            size = duration = 0
            for segment in self.segments[first : first + 64]:
                size += segment.size
                duration += segment.duration
                if duration > most:
                    break
                if duration >= least:
                    peak = max(peak, self._bitrate(size, duration))
        return peak

    def _bitrate(self, size: int, duration: int) -> int:
        return -(-size * 8 * self.timescale // duration)


@dataclass(frozen=True, slots=True)
class Presentation:
    """What can be played of a video now. It only grows, until it is complete."""

    video: VideoName
    job: str
    prefix: str
    """Folder in the media store."""
    revision: int
    """Grows with every change of one job's presentation."""
    complete: bool
    duration: timedelta
    """Of the whole, known before all of it is there."""
    tracks: tuple[Track, ...]

    def within(self, labels: frozenset[str]) -> Presentation:
        """Return what is left for a viewing of tracks with these labels."""
        return replace(self, tracks=tuple(track for track in self.tracks if track.label in labels))

    @property
    def protected(self) -> bool:
        """True when some of it is encrypted: players need licenses."""
        return any(track.protection for track in self.tracks)

    @property
    def videos(self) -> list[Track]:
        """Tracks of the picture, in order of quality."""
        return [track for track in self.tracks if isinstance(track.format, Picture)]

    @property
    def audios(self) -> list[Track]:
        """Tracks of the sound."""
        return [track for track in self.tracks if isinstance(track.format, Sound)]

    @property
    def segment_count(self) -> int:
        """Segments of all tracks together."""
        return sum(len(track.segments) for track in self.tracks)

    @property
    def target_duration(self) -> int:
        """Seconds that no segment exceeds once rounded (RFC 8216, 4.3.3.1); the same for all tracks and all time.

        A playlist must never change it, so it comes from what the encoder aims at and not from what happens to be
        listed; a source of less than one frame a second may still force a larger one from the start.
        """
        longest = max((track.longest for track in self.tracks), default=Fraction(0))
        return max(NOMINAL_SEGMENT_SECONDS, int(longest + Fraction(1, 2)))

    def track(self, id_: str) -> Track | None:
        """Return a track; None when there is none of that id, or nothing of it can be played yet."""
        return next((track for track in self.tracks if track.id == id_), None)


def from_proto(index: SegmentIndex) -> Presentation:
    """Read a segment index. Tracks of which nothing can be played yet are left out."""
    read = [_track(entry) for entry in index.tracks]
    tracks = tuple(track for track in read if track is not None)
    return Presentation(
        video=VideoName.parse(index.video),
        job=index.job,
        prefix=index.prefix,
        revision=index.revision,
        complete=index.complete,
        duration=index.duration.ToTimedelta(),
        tracks=tracks if index.complete else _abreast(tracks),
    )


def _abreast(tracks: Sequence[Track]) -> tuple[Track, ...]:
    """Return the tracks of a growing presentation with no more sound than there is picture.

    Sound is encoded sooner. Were it listed so far, a player at the end of the picture would play on without it
    (Chromium for three seconds) and count what is only heard as what can be watched.
    """
    ends = [track.end for track in tracks if isinstance(track.format, Picture)]
    if not ends:
        return tuple(tracks)
    return tuple(track if isinstance(track.format, Picture) else _until(min(ends), track) for track in tracks)


def _until(end: Fraction, track: Track) -> Track:
    """Return a track with the segments that lie before `end` (seconds) for the most part, one at least.

    For the most part, because a sound's segments end within one of its frames of where the picture's do.
    """
    count = sum(2 * segment.start + segment.duration < 2 * end * track.timescale for segment in track.segments)
    return replace(track, segments=track.segments[: max(1, count)])


def _track(entry: TrackSegments) -> Track | None:
    track = entry.track
    segments = tuple(_from_the_start(entry.segments))
    # The codec is known from the first encoded segment on.
    if not segments or not track.codec:
        return None
    return Track(
        id=track.id,
        codec=track.codec,
        timescale=track.timescale,
        declared_peak=track.peak_bitrate,
        language="" if track.language == "und" else track.language,
        format=_format(track),
        segments=segments,
        protection=protection.from_proto(track.protection) if track.HasField("protection") else None,
    )


def _format(track: media_pb2.Track) -> Picture | Sound:
    if track.HasField("audio"):
        return Sound(track.audio.channels, track.audio.sample_rate)
    rate = track.video.frame_rate
    frame_rate = Fraction(rate.numerator, rate.denominator) if rate.denominator else Fraction(0)
    return Picture(track.video.width, track.video.height, frame_rate)


def _from_the_start(segments: Sequence[media_pb2.Segment]) -> Sequence[Segment]:
    """Return the segments up to the first gap: a player could not cross it."""
    found: list[Segment] = []
    for segment in segments:
        if segment.number != len(found) or (found and segment.start != found[-1].start + found[-1].duration):
            break
        found.append(Segment(segment.number, segment.start, segment.duration, segment.size))
    return found
