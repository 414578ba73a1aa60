"""The boxes of Common Encryption (ISO/IEC 23001-7): how a track, and each of its samples, is encrypted."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reelmesh.media.v1.media_pb2 import Protection
from reelmesh.worker import boxes

IV_BYTES = 8
"""Size of a sample's initialization vector in scheme cenc: the other half of the counter block counts blocks."""
_SUBSAMPLES = 0x02
_SCHEMES = {Protection.SCHEME_CBCS: b"cbcs", Protection.SCHEME_CENC: b"cenc"}
_ENTRIES = {b"avc1": b"encv", b"mp4a": b"enca"}
_FIELDS = {b"encv": 78, b"enca": 28}
"""Bytes of a sample entry's own fields, before the boxes in it."""
_PICTURE_PATTERN = 0x19
"""Of ten blocks one is encrypted, and nine are not; of sound every whole block is (10.4.2)."""
_SAMPLE_ENTRY = (b"trak", b"mdia", b"minf", b"stbl", b"stsd")


@dataclass(frozen=True, slots=True)
class Encryption:
    """How one sample is encrypted (7.1)."""

    iv: bytes = b""
    """Its initialization vector; empty where the track has a constant one."""
    subsamples: tuple[tuple[int, int], ...] = ()
    """Spans of (clear, protected) bytes, one behind the other; none where all of the sample is protected."""

    def to_bytes(self) -> bytes:
        """Return its sample auxiliary information."""
        if not self.subsamples:
            return self.iv
        spans = b"".join(struct.pack(">HI", *span) for span in self.subsamples)
        return self.iv + struct.pack(">H", len(self.subsamples)) + spans


def encrypted_moov(moov: bytes, protection: Protection) -> bytes:
    """Return the payload of a movie box that says how its track is encrypted. Raises BoxError."""
    return boxes.replaced(moov, _SAMPLE_ENTRY, lambda stsd: _encrypted_stsd(stsd, protection))


@dataclass(frozen=True, slots=True)
class TrackEncryption:
    """How the samples of a track are encrypted."""

    scheme: str
    """"cbcs" or "cenc"."""
    key_id: bytes
    iv_bytes: int
    """Size of a sample's initialization vector, 0 where it is constant."""


def read_moov(moov: bytes) -> TrackEncryption | None:
    """Read the payload of a movie box; None where its track is clear. Raises BoxError."""
    kind, entry = next(boxes.children(boxes.find(moov, *_SAMPLE_ENTRY), 8))
    if kind not in _FIELDS:
        return None
    sinf = boxes.find(entry[_FIELDS[kind] :], b"sinf")
    tenc = boxes.find(sinf, b"schi", b"tenc")
    return TrackEncryption(boxes.find(sinf, b"schm")[4:8].decode(), tenc[8:24], tenc[7])


def read_samples(moof: bytes, iv_bytes: int) -> list[Encryption]:
    """Read how the samples of a whole moof box are encrypted. Raises BoxError."""
    senc = boxes.find(boxes.payload(moof), b"traf", b"senc")
    found, at = [], 8
    for _ in range(int.from_bytes(senc[4:8])):
        iv, at = senc[at : at + iv_bytes], at + iv_bytes
        spans: list[tuple[int, int]] = []
        if senc[3] & _SUBSAMPLES:
            count, at = int.from_bytes(senc[at : at + 2]), at + 2
            if at + 6 * count > len(senc):
                raise boxes.BoxError("a senc box shorter than its samples")
            spans += struct.iter_unpack(">HI", senc[at : at + 6 * count])
            at += 6 * count
        found.append(Encryption(iv, tuple(spans)))
    return found


def states(moof: bytes, iv_bytes: int, sizes: Sequence[int]) -> bool:
    """Tell whether a whole moof box says for every sample, given their sizes, how all of its bytes are encrypted."""
    try:
        samples = read_samples(moof, iv_bytes)
        written = b"".join(sample.to_bytes() for sample in samples)
        place = int.from_bytes(boxes.find(boxes.payload(moof), b"traf", b"saio")[8:12]) if written else len(moof)
    except boxes.BoxError:
        return False
    whole = [sum(map(sum, sample.subsamples)) in {0, size} for sample, size in zip(samples, sizes, strict=False)]
    return len(samples) == len(sizes) and all(whole) and moof[place : place + len(written)] == written


def sample_boxes(samples: Sequence[Encryption]) -> Callable[[int], bytes]:
    """Return what writes the boxes that say how the samples of a fragment are encrypted, once told where they begin.

    Where the track's own tenc box says all, an empty senc box is left: without one, Chromium takes the samples for
    clear. Raises BoxError for a sample of too many spans.
    """
    entries = [sample.to_bytes() for sample in samples]
    sizes = [len(entry) for entry in entries]
    if max(sizes) > 0xFF:
        raise boxes.BoxError("a sample of too many spans")
    flags = _SUBSAMPLES if any(sample.subsamples for sample in samples) else 0
    senc = boxes.box(b"senc", struct.pack(">2I", flags, len(entries)) + b"".join(entries))
    if not any(sizes):
        return lambda _: senc
    alike = len(set(sizes)) == 1
    head = struct.pack(">IBI", 0, sizes[0] if alike else 0, len(sizes))
    saiz = boxes.box(b"saiz", head if alike else head + bytes(sizes))

    def write(start: int) -> bytes:
        saio = struct.pack(">3I", 0, 1, start + len(saiz) + 20 + 16)  # behind itself, and what senc begins with
        return saiz + boxes.box(b"saio", saio) + senc

    return write


def _encrypted_stsd(stsd: bytes, protection: Protection) -> bytes:
    kind, entry = next(boxes.children(stsd, 8))
    if kind not in _ENTRIES:
        raise boxes.BoxError(f"unknown sample entry {kind!r}")
    constant = protection.scheme == Protection.SCHEME_CBCS
    pattern = _PICTURE_PATTERN if constant and _ENTRIES[kind] == b"encv" else 0
    tenc = struct.pack(">I4B", 1 << 24 if constant else 0, 0, pattern, 1, 0 if constant else IV_BYTES)
    tenc += protection.key_id
    if constant:
        tenc += bytes([len(protection.iv)]) + protection.iv
    sinf = boxes.box(b"frma", kind)
    sinf += boxes.box(b"schm", struct.pack(">I4sI", 0, _SCHEMES[protection.scheme], 0x0001_0000))
    sinf += boxes.box(b"schi", boxes.box(b"tenc", tenc))
    return stsd[:8] + boxes.box(_ENTRIES[kind], entry + boxes.box(b"sinf", sinf))
