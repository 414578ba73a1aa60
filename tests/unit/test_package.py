from __future__ import annotations

import struct
from pathlib import Path

import pytest

from reelmesh.worker import boxes
from reelmesh.worker.boxes import Sample, box
from reelmesh.worker.errors import MediaError, Reason
from reelmesh.worker.package import PictureFile, SoundStream

SYNC, OTHER = 0x0200_0000, 0x0101_0000
TICKS = 512


def full(kind: bytes, content: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags) + content)


def moov(entry: bytes, timescale: int, *, extra: bytes = b"") -> bytes:
    stsd = full(b"stsd", struct.pack(">I", 1) + entry)
    mdhd = full(b"mdhd", struct.pack(">4I", 0, 0, timescale, 0))
    track = box(b"trak", extra + box(b"mdia", mdhd + box(b"minf", box(b"stbl", stsd))))
    trex = full(b"trex", struct.pack(">5I", 1, 1, 0, 0, 0))
    return box(b"moov", track + box(b"mvex", trex))


AVC = box(b"avc1", bytes(78) + box(b"avcC", bytes([1, 0x64, 0x00, 0x28, 0xFF])))


def aac(object_type: int = 2) -> bytes:
    specific = bytes([5, 0x80, 0x80, 0x80, 2, object_type << 3 | 1, 0x90])
    decoder = bytes([4, 0x80, 0x80, 0x80, 13 + len(specific), 0x40]) + bytes(12) + specific
    descriptor = bytes([3, 0x80, 0x80, 0x80, 3 + len(decoder), 0, 1, 0]) + decoder
    return box(b"mp4a", bytes(28) + full(b"esds", descriptor))


def gop(first: int, count: int, *, shift: int = 0) -> bytes:
    """A fragment of `count` frames with two pairs of them in another order than shown."""
    order = list(range(count))
    for place in range(1, count - 1, 3):
        order[place], order[place + 1] = order[place + 1], order[place]
    samples, data = [], []
    for place, shown in enumerate(order):
        data.append(bytes([first + shown & 0xFF]) * (10 + shown))
        composition = (shown - place) * TICKS + shift
        samples.append(Sample(TICKS, len(data[-1]), OTHER if place else SYNC, composition))
    return boxes.write_segment(7, first * TICKS, samples, data)


def picture(path: Path, *fragments: bytes, header: bytes | None = None) -> PictureFile:
    path.write_bytes(box(b"ftyp", b"isom\0\0\0\0") + (header or moov(AVC, 12_288)) + b"".join(fragments))
    return PictureFile(path)


def segments(file: PictureFile, *, first: int, frames: int, each: int = 48, number: int = 4) -> list[bytes]:
    made = list(
        file.segments(
            file.init(), first_frame=first, frames=frames, frame_ticks=TICKS, segment_frames=each, number=number
        )
    )
    assert [one.segment.number for one in made] == list(range(number, number + len(made)))
    assert sum(one.segment.samples for one in made) == frames
    start = first * TICKS
    for one in made:
        assert one.segment.start == start
        assert one.segment.size == len(one.data)
        start += one.segment.duration
    return [one.data for one in made]


def test_joins_fragments_into_segments(tmp_path: Path) -> None:
    file = picture(tmp_path / "v", gop(100, 24), gop(124, 24), gop(148, 24), gop(172, 5))
    made = segments(file, first=100, frames=77)
    assert len(made) == 2
    for place, data in enumerate(made):
        (kind, moof), (other, mdat) = boxes.BoxSplitter().feed(data)
        assert (kind, other) == (b"moof", b"mdat")
        assert boxes.find(boxes.payload(moof), b"mfhd")[4:] == struct.pack(">I", 5 + place)
        fragment = boxes.read_fragment(moof, mdat, (0, 0, 0))
        assert fragment.start == (100 + 48 * place) * TICKS
        assert sum(sample.size for sample in fragment.samples) == len(fragment.data)
    moof, mdat = (data for _, data in boxes.BoxSplitter().feed(made[0]))
    first = boxes.read_fragment(moof, mdat, (0, 0, 0))
    assert [sample.sync for sample in first.samples].count(True) == 2
    assert {sample.composition for sample in first.samples} == {0, TICKS, -TICKS}


def test_init_segments(tmp_path: Path) -> None:
    one, other = picture(tmp_path / "1", gop(0, 4)).init(), picture(tmp_path / "2", gop(9, 3)).init()
    assert one.header.codec == "avc1.640028"
    assert one.header.timescale == 12_288
    assert one.sha256 == other.sha256
    assert one.data[4:12] == b"ftypcmf2"


@pytest.mark.parametrize(
    "fragments",
    [
        [gop(100, 24)],  # too few
        [gop(100, 24), gop(124, 25)],  # too many
        [gop(100, 24), gop(125, 24)],  # a gap
        [gop(99, 24), gop(123, 24)],  # too early
        [gop(100, 24), gop(124, 24, shift=TICKS)],  # shown late
        [],
    ],
)
def test_wrong_frames_are_told(tmp_path: Path, fragments: list[bytes]) -> None:
    with pytest.raises(MediaError) as caught:
        segments(picture(tmp_path / "v", *fragments), first=100, frames=48)
    assert caught.value.reason == Reason.FRAME_COUNT_MISMATCH


def test_a_segment_begins_with_a_key_frame(tmp_path: Path) -> None:
    late = boxes.write_segment(1, 0, [Sample(TICKS, 3, OTHER, 0)], [b"abc"])
    with pytest.raises(MediaError) as caught:
        segments(picture(tmp_path / "v", late), first=0, frames=1)
    assert caught.value.reason == Reason.FRAME_COUNT_MISMATCH


@pytest.mark.parametrize("cut", [1, 30, 500])
def test_a_cut_file_is_told(tmp_path: Path, cut: int) -> None:
    file = picture(tmp_path / "v", gop(0, 48))
    (tmp_path / "v").write_bytes((tmp_path / "v").read_bytes()[:-cut])
    with pytest.raises(MediaError):
        segments(file, first=0, frames=48)


def test_an_edit_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError) as caught:
        picture(tmp_path / "v", gop(0, 4), header=moov(AVC, 12_288, extra=box(b"edts", b""))).init()
    assert caught.value.reason == Reason.ENCODE_FAILED


def sound(packets: int, *, start: int = 0) -> bytes:
    data = [bytes([place & 0xFF]) * 20 for place in range(packets)]
    samples = [Sample(1_024, 20, SYNC, 0)] * packets
    return boxes.write_segment(1, start * 1_024, samples, data)


def test_sound_is_cut_while_it_flows() -> None:
    stream = SoundStream(first_seconds=2.0, segment_seconds=4.0)
    flow = box(b"ftyp", b"isom\0\0\0\0") + moov(aac(), 48_000)
    flow += b"".join(sound(12, start=start) for start in range(0, 960, 12))  # 20.48 s
    made, seen = [], []
    for at in range(0, len(flow), 777):
        for init, one in stream.feed(flow[at : at + 777]):
            assert init.header.codec == "mp4a.40.2"
            assert init.data[4:12] == b"ftypcmfc"
            made.append(one)
            seen.append(at)
    made += [one for _, one in stream.finish()]
    assert seen[0] < len(flow) / 6
    assert [one.segment.number for one in made] == list(range(len(made)))
    ends = [(one.segment.start + one.segment.duration) / 48_000 for one in made]
    for end, wished in zip(ends, [2, 6, 10, 14, 18], strict=False):
        assert abs(end - wished) <= 512 / 48_000
    assert ends[-1] == 20.48
    assert sum(one.segment.samples for one in made) == 960


def test_a_tiny_rest_of_sound_joins_the_last_segment() -> None:
    stream = SoundStream(first_seconds=2.0, segment_seconds=4.0)
    flow = moov(aac(), 48_000) + sound(94 + 187 + 3)
    made = [*stream.feed(flow), *stream.finish()]
    assert [one.segment.samples for _, one in made] == [94, 190]


@pytest.mark.parametrize("flow", [sound(5), moov(aac(), 48_000) + sound(5, start=2), moov(AVC, 1)[:-3]])
def test_broken_sound_is_told(flow: bytes) -> None:
    stream = SoundStream(first_seconds=2.0, segment_seconds=4.0)
    with pytest.raises(MediaError) as caught:
        _ = [*stream.feed(flow), *stream.finish()]
    assert caught.value.reason == Reason.ENCODE_FAILED


def test_object_types() -> None:
    assert boxes.read_header(boxes.payload(moov(aac(5), 48_000))).codec == "mp4a.40.5"
