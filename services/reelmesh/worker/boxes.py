"""Reads and writes the boxes of fragmented MP4 (ISO/IEC 14496-12), as much of them as our own encoders' output needs.

Sizes and times are as in the boxes: bytes, and ticks of the track's timescale.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

_MAX_BOX = 1 << 30
_NOT_SYNC = 0x0001_0000
_MOOF_BASE, _TFHD_DURATION, _TFHD_SIZE, _TFHD_FLAGS = 0x020000, 0x08, 0x10, 0x20
_TRUN_OFFSET, _TRUN_FIRST_FLAGS = 0x001, 0x004
_TRUN_DURATION, _TRUN_SIZE, _TRUN_FLAGS, _TRUN_COMPOSITION = 0x100, 0x200, 0x400, 0x800


class BoxError(Exception):
    """The bytes are not the boxes that they should be."""


@dataclass(frozen=True)
class Sample:
    """One frame of picture or packet of sound."""

    duration: int
    """Ticks."""
    size: int
    """Bytes."""
    flags: int
    """Sample flags (8.8.3.1)."""
    composition: int
    """Presentation time minus decoding time in ticks; may be negative."""

    @property
    def sync(self) -> bool:
        """Tell whether decoding can begin here."""
        return not self.flags & _NOT_SYNC


@dataclass(frozen=True)
class Header:
    """What a movie header box says about its only track."""

    timescale: int
    """Ticks per second."""
    codec: str
    """As RFC 6381 writes it."""
    defaults: tuple[int, int, int]
    """Duration, size and flags of samples that do not state them."""


@dataclass(frozen=True)
class Fragment:
    """A movie fragment of one track with its media data."""

    start: int
    """Decoding time of the first sample in ticks."""
    samples: tuple[Sample, ...]
    """In decoding order."""
    data: bytes
    """The samples' bytes, one after the other."""


class BoxSplitter:
    """Cuts a stream of bytes into whole top-level boxes."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Take more bytes; yield (type, whole box) for each box that is complete. Raises BoxError."""
        self._rest += data
        while len(self._rest) >= 8:
            size = int.from_bytes(self._rest[:4])
            if size == 1:
                if len(self._rest) < 16:
                    return
                size = int.from_bytes(self._rest[8:16])
            if not 8 <= size <= _MAX_BOX:
                raise BoxError(f"a box of {size} bytes")
            if len(self._rest) < size:
                return
            box = bytes(self._rest[:size])
            del self._rest[:size]
            yield box[4:8], box

    def finish(self) -> None:
        """Raise BoxError when bytes of an unfinished box are left."""
        if self._rest:
            raise BoxError("the last box is cut off")


def payload(box: bytes) -> bytes:
    """Return what is behind a box's header."""
    return box[16:] if int.from_bytes(box[:4]) == 1 else box[8:]


def children(data: bytes, start: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Yield (type, payload) of the boxes in `data` from `start` on. Raises BoxError."""
    while start + 8 <= len(data):
        size, header = int.from_bytes(data[start : start + 4]), 8
        if size == 1:
            size, header = int.from_bytes(data[start + 8 : start + 16]), 16
        if size < header or start + size > len(data):
            raise BoxError("a box leads beyond its parent")
        yield data[start + 4 : start + 8], data[start + header : start + size]
        start += size


def find(data: bytes, *path: bytes) -> bytes:
    """Return the payload of the first box along `path`. Raises BoxError when there is none."""
    for name in path:
        for kind, inner in children(data):
            if kind == name:
                data = inner
                break
        else:
            raise BoxError(f"no {name.decode()} box")
    return data


def read_header(moov: bytes) -> Header:
    """Read the payload of a movie box with one track. Raises BoxError."""
    tracks = [inner for kind, inner in children(moov) if kind == b"trak"]
    if len(tracks) != 1:
        raise BoxError(f"{len(tracks)} tracks where one should be")
    if any(kind == b"edts" for kind, _ in children(tracks[0])):
        raise BoxError("an edit list: players differ in heeding it")
    header = find(tracks[0], b"mdia", b"mdhd")
    at = 20 if header[0] == 1 else 12
    entry_kind, entry = next(children(find(tracks[0], b"mdia", b"minf", b"stbl", b"stsd"), 8))
    _, duration, size, flags = struct.unpack_from(">4I", find(moov, b"mvex", b"trex"), 8)
    return Header(int.from_bytes(header[at : at + 4]), _codec(entry_kind, entry), (duration, size, flags))


def read_fragment(moof: bytes, mdat: bytes, defaults: tuple[int, int, int]) -> Fragment:
    """Read a whole moof box and the mdat box that follows it. Raises BoxError."""
    traf = find(payload(moof), b"traf")
    base = find(traf, b"tfdt")
    start = int.from_bytes(base[4:12] if base[0] == 1 else base[4:8])
    defaults = _track_defaults(find(traf, b"tfhd"), defaults)
    data, expected = payload(mdat), len(moof) + len(mdat) - len(payload(mdat))
    samples: list[Sample] = []
    for kind, run in children(traf):
        if kind == b"trun":
            offset, added = _read_run(run, defaults)
            if offset is not None and offset != expected:
                raise BoxError("media data out of order")
            samples += added
            expected += sum(sample.size for sample in added)
    if sum(sample.size for sample in samples) != len(data):
        raise BoxError("samples and media data differ in size")
    return Fragment(start, tuple(samples), data)


def replaced(data: bytes, path: Sequence[bytes], change: Callable[[bytes], bytes]) -> bytes:
    """Return `data` with the payload of the box along `path` changed. Raises BoxError when there is none."""
    if not path:
        return change(data)
    made = list(children(data))
    place = next((place for place, (kind, _) in enumerate(made) if kind == path[0]), None)
    if place is None:
        raise BoxError(f"no {path[0].decode()} box")
    made[place] = path[0], replaced(made[place][1], path[1:], change)
    return b"".join(box(kind, inner) for kind, inner in made)


def write_segment(
    sequence: int,
    start: int,
    samples: Sequence[Sample],
    data: Sequence[bytes],
    more: Callable[[int], bytes] = lambda _: b"",
) -> bytes:
    """Return one moof and one mdat box that hold `samples`, whose bytes are `data`, from decoding time `start` on.

    `more` gives the last boxes of the track fragment; it is told where in the moof box they begin.
    """
    flags = [sample.flags for sample in samples]
    uniform = len(set(flags[1:])) <= 1
    duration = samples[0].duration if len({sample.duration for sample in samples}) == 1 else None
    composed = any(sample.composition for sample in samples)
    kinds = _TRUN_OFFSET | _TRUN_SIZE
    kinds |= _TRUN_FIRST_FLAGS if uniform else _TRUN_FLAGS
    kinds |= 0 if duration is not None else _TRUN_DURATION
    kinds |= _TRUN_COMPOSITION if composed else 0
    rows = []
    for sample in samples:
        row = [] if duration is not None else [sample.duration]
        row.append(sample.size)
        if not uniform:
            row.append(sample.flags)
        if composed:
            row.append(sample.composition & 0xFFFF_FFFF)
        rows.append(struct.pack(f">{len(row)}I", *row))
    tfhd = struct.pack(">2I", _MOOF_BASE | _TFHD_FLAGS | (_TFHD_DURATION if duration is not None else 0), 1)
    tfhd += b"" if duration is None else struct.pack(">I", duration)
    tfhd += struct.pack(">I", flags[-1])
    tfdt = struct.pack(">IQ", 1 << 24, start)

    def moof(offset: int) -> bytes:
        run = struct.pack(">3I", 1 << 24 | kinds, len(samples), offset)  # version 1: composition is signed
        run += struct.pack(">I", flags[0]) if uniform else b""
        head = box(b"mfhd", struct.pack(">2I", 0, sequence))
        track = box(b"tfhd", tfhd) + box(b"tfdt", tfdt) + box(b"trun", run + b"".join(rows))
        return box(b"moof", head + box(b"traf", track + more(16 + len(head) + len(track))))

    size = len(moof(0))
    return b"".join([moof(size + 8), struct.pack(">I4s", 8 + sum(map(len, data)), b"mdat"), *data])


def box(kind: bytes, content: bytes) -> bytes:
    """Return a box."""
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _track_defaults(tfhd: bytes, defaults: tuple[int, int, int]) -> tuple[int, int, int]:
    kinds = int.from_bytes(tfhd[1:4])
    at = 8 + (8 if kinds & 0x01 else 0) + (4 if kinds & 0x02 else 0)
    found = list(defaults)
    for place, bit in enumerate((_TFHD_DURATION, _TFHD_SIZE, _TFHD_FLAGS)):
        if kinds & bit:
            found[place] = int.from_bytes(tfhd[at : at + 4])
            at += 4
    return found[0], found[1], found[2]


def _read_run(run: bytes, defaults: tuple[int, int, int]) -> tuple[int | None, list[Sample]]:
    kinds, count = int.from_bytes(run[1:4]), int.from_bytes(run[4:8])
    at, offset, first = 8, None, None
    if kinds & _TRUN_OFFSET:
        offset, at = int.from_bytes(run[at : at + 4], signed=True), at + 4
    if kinds & _TRUN_FIRST_FLAGS:
        first, at = int.from_bytes(run[at : at + 4]), at + 4
    fields = [bit for bit in (_TRUN_DURATION, _TRUN_SIZE, _TRUN_FLAGS, _TRUN_COMPOSITION) if kinds & bit]
    if at + 4 * len(fields) * count > len(run):
        raise BoxError("a run shorter than its samples")
    samples = []
    for number in range(count):
        values = dict(zip(fields, struct.unpack_from(f">{len(fields)}I", run, at), strict=True))
        at += 4 * len(fields)
        composition = values.get(_TRUN_COMPOSITION, 0)
        samples.append(
            Sample(
                duration=values.get(_TRUN_DURATION, defaults[0]),
                size=values.get(_TRUN_SIZE, defaults[1]),
                flags=first if number == 0 and first is not None else values.get(_TRUN_FLAGS, defaults[2]),
                composition=composition - (1 << 32) if run[0] == 1 and composition >> 31 else composition,
            )
        )
    return offset, samples


def _codec(kind: bytes, entry: bytes) -> str:
    """Return RFC 6381's name: profile, constraints and level for AVC, object types for AAC."""
    if kind == b"avc1":
        return f"avc1.{find(entry[78:], b'avcC')[1:4].hex()}"
    if kind == b"mp4a":
        return f"mp4a.{_object_types(find(entry[28:], b'esds')[4:])}"
    raise BoxError(f"unknown sample entry {kind!r}")


def _object_types(descriptors: bytes) -> str:
    """Walk the descriptors of ISO/IEC 14496-1: ES (3), decoder configuration (4), decoder specific information (5)."""
    kind, inner = _descriptor(descriptors)
    flags = inner[2]
    at = 3 + (2 if flags & 0x80 else 0) + (1 + inner[3] if flags & 0x40 else 0) + (2 if flags & 0x20 else 0)
    decoder_kind, decoder = _descriptor(inner[at:])
    specific_kind, specific = _descriptor(decoder[13:])
    if (kind, decoder_kind, specific_kind) != (3, 4, 5) or not specific:
        raise BoxError("unexpected descriptors")
    audio = specific[0] >> 3
    if audio == 31:  # escape
        audio = 32 + ((specific[0] & 7) << 3 | specific[1] >> 5)
    return f"{decoder[0]:02x}.{audio}"


def _descriptor(data: bytes) -> tuple[int, bytes]:
    size, at = 0, 1
    while True:
        size = size << 7 | data[at] & 0x7F
        at += 1
        if not data[at - 1] & 0x80:
            return data[0], data[at : at + size]
