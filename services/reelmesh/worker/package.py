"""Turns what the encoders wrote into the init segments and media segments of CMAF tracks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reelmesh.media.v1.media_pb2 import Segment
from reelmesh.worker import boxes
from reelmesh.worker.errors import MediaError, Reason

_PICTURE_BRANDS = b"cmf2\0\0\0\0iso6cmfccmf2mp41"
_SOUND_BRANDS = b"cmfc\0\0\0\0iso6cmfcmp41"
"""CMAF's structural brands (ISO/IEC 23000-19, 7.2): cmf2 for signed composition times without an edit list."""
_AAC_SAMPLES = 1024
_MERGED_PACKETS = 12
"""A rest of sound up to this many packets (a quarter of a second) joins the segment before it."""


@dataclass(frozen=True)
class InitSegment:
    """The init segment of a track."""

    data: bytes
    """The segment."""
    sha256: bytes
    """Its digest; equal for all chunks of a track."""
    header: boxes.Header
    """Codec, timescale and defaults."""


@dataclass(frozen=True)
class PackagedSegment:
    """One media segment, ready to be stored."""

    segment: Segment
    """What the segment index says about it."""
    data: bytes
    """The object."""


class PictureFile:
    """The fragmented MP4 of one rendition of a chunk on disk; read fragment by fragment, a segment in memory at most.

    Raises MediaError with FRAME_COUNT_MISMATCH when it does not hold exactly the frames that were asked for, each at
    its time, with a key frame at the start of every segment; ENCODE_FAILED when it is not such a file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def init(self) -> InitSegment:
        """Return the init segment."""
        moov = next((box for kind, box in boxes_of(self._path) if kind == b"moov"), None)
        if moov is None:
            raise MediaError(Reason.ENCODE_FAILED, "the encoder wrote no movie box", retryable=True)
        return _init(moov, _PICTURE_BRANDS)

    def segments(
        self, init: InitSegment, *, first_frame: int, frames: int, frame_ticks: int, segment_frames: int, number: int
    ) -> Iterator[PackagedSegment]:
        """Yield the segments in order, the first one with `number`; fragments that share a segment are joined.

        `first_frame` and `frames` say which frames of the presentation the chunk holds, `frame_ticks` how long one is.
        """
        held: list[boxes.Fragment] = []
        done = 0
        for fragment in self._fragments(init):
            if not fragment.samples or not fragment.samples[0].sync:
                raise _mismatch("a fragment does not begin with a key frame")
            count = sum(len(other.samples) for other in held)
            if count and count + len(fragment.samples) > segment_frames:
                yield _picture_segment(held, number, first_frame + done, frame_ticks)
                held, done, number = [], done + count, number + 1
            held.append(fragment)
        count = sum(len(other.samples) for other in held)
        if count:
            yield _picture_segment(held, number, first_frame + done, frame_ticks)
        if done + count != frames:
            raise _mismatch(f"{done + count} frames where {frames} should be")

    def _fragments(self, init: InitSegment) -> Iterator[boxes.Fragment]:
        moof = b""
        for kind, box in boxes_of(self._path):
            if kind == b"moof":
                moof = box
            elif kind == b"mdat":
                try:
                    yield boxes.read_fragment(moof, box, init.header.defaults)
                except boxes.BoxError as error:
                    raise _broken(error) from error


class SoundStream:
    """Cuts the fragmented MP4 that flows out of a sound encoder into segments of wished lengths.

    Segments end at the packet nearest to `first_seconds`, then every `segment_seconds` behind that, so that they stay
    aligned with the picture's however long the presentation is.
    """

    def __init__(self, *, first_seconds: float, segment_seconds: float) -> None:
        self._first = first_seconds
        self._each = segment_seconds
        self._splitter = boxes.BoxSplitter()
        self._moof = b""
        self._samples: list[tuple[boxes.Sample, bytes]] = []
        self._packets = 0
        self._time = 0
        self._number = 0
        self._init: InitSegment | None = None

    def feed(self, data: bytes) -> Iterator[tuple[InitSegment, PackagedSegment]]:
        """Take more output of the encoder; yield init segment and segment for each complete one. Raises MediaError."""
        try:
            for kind, box in self._splitter.feed(data):
                if kind == b"moov":
                    self._init = _init(box, _SOUND_BRANDS)
                elif kind == b"moof":
                    self._moof = box
                elif kind == b"mdat":
                    init = self._take(box)
                    yield from self._complete(init)
        except boxes.BoxError as error:
            raise _broken(error) from error

    def finish(self) -> Iterator[tuple[InitSegment, PackagedSegment]]:
        """Yield what is left. Raises MediaError."""
        try:
            self._splitter.finish()
        except boxes.BoxError as error:
            raise _broken(error) from error
        if self._init and self._samples:
            yield self._init, self._cut(len(self._samples))

    def _take(self, mdat: bytes) -> InitSegment:
        if self._init is None:
            raise boxes.BoxError("media data before the movie box")
        fragment = boxes.read_fragment(self._moof, mdat, self._init.header.defaults)
        at = 0
        expected = self._time + sum(sample.duration for sample, _ in self._samples)
        if fragment.start != expected:
            raise boxes.BoxError(f"sound at {fragment.start} where {expected} should be")
        for sample in fragment.samples:
            self._samples.append((sample, fragment.data[at : at + sample.size]))
            at += sample.size
        return self._init

    def _complete(self, init: InitSegment) -> Iterator[tuple[InitSegment, PackagedSegment]]:
        while True:
            end = (self._first + self._number * self._each) * init.header.timescale / _AAC_SAMPLES
            count = max(1, round(end) - self._packets)
            if len(self._samples) < count + _MERGED_PACKETS:
                return
            yield init, self._cut(count)

    def _cut(self, count: int) -> PackagedSegment:
        taken, self._samples = self._samples[:count], self._samples[count:]
        samples = [sample for sample, _ in taken]
        data = boxes.write_segment(self._number + 1, self._time, samples, [piece for _, piece in taken])
        segment = Segment(
            number=self._number,
            start=self._time,
            duration=sum(sample.duration for sample in samples),
            size=len(data),
            samples=count,
        )
        self._number += 1
        self._packets += count
        self._time += segment.duration
        return PackagedSegment(segment, data)


def boxes_of(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield (type, whole box) of a file, one box in memory. Raises MediaError when it is no sequence of boxes."""
    splitter = boxes.BoxSplitter()
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 18):
                yield from splitter.feed(piece)
        splitter.finish()
    except (OSError, boxes.BoxError) as error:
        raise _broken(error) from error


def _picture_segment(
    fragments: list[boxes.Fragment], number: int, first_frame: int, frame_ticks: int
) -> PackagedSegment:
    samples = [sample for fragment in fragments for sample in fragment.samples]
    start = first_frame * frame_ticks
    time, shown = fragments[0].start, []
    for fragment in fragments:
        if fragment.start != time:
            raise _mismatch(f"segment {number} has a gap")
        for sample in fragment.samples:
            shown.append(time + sample.composition)
            time += sample.duration
    if sorted(shown) != list(range(start, start + len(samples) * frame_ticks, frame_ticks)):
        raise _mismatch(f"segment {number} does not hold frames {first_frame} to {first_frame + len(samples) - 1}")
    # The number of a segment is also that of its fragment, so that fragments are counted on from chunk to chunk.
    data = boxes.write_segment(number + 1, fragments[0].start, samples, [part.data for part in fragments])
    segment = Segment(
        number=number, start=start, duration=len(samples) * frame_ticks, size=len(data), samples=len(samples)
    )
    return PackagedSegment(segment, data)


def _init(moov: bytes, brands: bytes) -> InitSegment:
    try:
        header = boxes.read_header(boxes.payload(moov))
    except (boxes.BoxError, IndexError) as error:
        raise _broken(error) from error
    data = boxes.box(b"ftyp", brands) + moov
    return InitSegment(data, hashlib.sha256(data).digest(), header)


def _mismatch(message: str) -> MediaError:
    return MediaError(Reason.FRAME_COUNT_MISMATCH, message, retryable=True)


def _broken(error: Exception) -> MediaError:
    return MediaError(Reason.ENCODE_FAILED, f"the encoder's output is broken: {error}", retryable=True)
