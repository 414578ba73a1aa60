"""Encryption of samples and the boxes that say how, on samples of our own and vectors of others."""

from __future__ import annotations

import logging
import struct
from pathlib import Path

import pytest
from media_fakes import digest

from reelmesh.media.v1.media_pb2 import Protection, Segment
from reelmesh.worker import boxes, cenc, encrypt
from reelmesh.worker.boxes import Sample, box
from reelmesh.worker.cenc import Encryption
from reelmesh.worker.errors import MediaError, Reason
from reelmesh.worker.package import PackagedSegment
from reelmesh.worker.sandbox import Limits, Sandbox

CBCS = Protection(scheme=Protection.SCHEME_CBCS, key_id=digest("kid"), label="AUDIO")
CENC = Protection(scheme=Protection.SCHEME_CENC, key_id=digest("kid"), label="AUDIO")
KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
PLAIN = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
"""Key and text of NIST SP 800-38A, appendix F."""


def segment(*samples: bytes) -> PackagedSegment:
    described = [Sample(1024, len(sample), 0x0200_0000, 0) for sample in samples]
    data = boxes.write_segment(8, 4096, described, samples)
    return PackagedSegment(Segment(number=7, start=4096, size=len(data), samples=len(samples)), data)


def opened(packaged: PackagedSegment) -> tuple[bytes, boxes.Fragment]:
    moof, mdat = (box for _, box in boxes.BoxSplitter().feed(packaged.data))
    return moof, boxes.read_fragment(moof, mdat, (0, 0, 0))


def test_cbcs_of_sound_is_cbc_of_whole_blocks() -> None:
    protection = Protection()
    protection.CopyFrom(CBCS)
    protection.iv = bytes(range(16))
    made = encrypt.encrypted_segment(segment(PLAIN + b"end", b"short"), encrypt.sound_seal(protection, KEY))
    moof, fragment = opened(made)
    # SP 800-38A, F.2.1; what is no whole block stays clear, and every sample begins anew.
    assert fragment.data[:32].hex() == "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"
    assert fragment.data[32:] == b"endshort"
    assert (fragment.start, len(fragment.samples)) == (4096, 2)
    assert boxes.find(boxes.payload(moof), b"traf", b"senc") == struct.pack(">2I", 0, 2), "the init segment says all"
    assert b"saiz" not in moof
    assert cenc.states(moof, 0, [35, 5])
    assert made.segment.size == len(made.data)
    assert boxes.find(boxes.payload(moof), b"mfhd")[4:] == struct.pack(">I", 8)


def test_cenc_of_sound_never_repeats_a_counter() -> None:
    seal = encrypt.sound_seal(CENC, KEY)
    ivs = []
    for _ in range(3):
        moof, fragment = opened(encrypt.encrypted_segment(segment(PLAIN, PLAIN), seal))
        found = cenc.read_samples(moof, cenc.IV_BYTES)
        ivs += [each.iv for each in found]
        assert fragment.data[:32] != fragment.data[32:] != PLAIN
    assert len(set(ivs)) == 6
    assert int.from_bytes(ivs[1]) == (int.from_bytes(ivs[0]) + 1) % (1 << 64)


@pytest.mark.parametrize(
    "how",
    [
        [Encryption(subsamples=((5, 11),)), Encryption(subsamples=((9, 16), (70_000 % 65_536, 1 << 20)))],
        [Encryption(b"8 bytes!", ((1, 2),)), Encryption(b"8 bytes?", ((3, 4),))],
        [Encryption(b"8 bytes!"), Encryption(b"8 bytes?")],
    ],
)
def test_what_is_written_of_samples_is_read(how: list[Encryption]) -> None:
    data = boxes.write_segment(1, 0, [Sample(1, 2, 0, 0)] * 2, [b"ab", b"cd"], cenc.sample_boxes(how))
    moof, _ = (box for _, box in boxes.BoxSplitter().feed(data))
    assert cenc.read_samples(moof, len(how[0].iv)) == how
    traf = boxes.find(boxes.payload(moof), b"traf")
    place = int.from_bytes(boxes.find(traf, b"saio")[8:12])
    saiz = boxes.find(traf, b"saiz")
    sizes = [saiz[4]] * 2 if saiz[4] else list(saiz[9:])
    assert sizes == [len(each.to_bytes()) for each in how]
    assert moof[place:] == b"".join(each.to_bytes() for each in how)


def test_a_segment_states_how_every_byte_is_encrypted() -> None:
    how = [Encryption(subsamples=((5, 11),)), Encryption(subsamples=((5, 4),))]
    data = boxes.write_segment(
        1, 0, [Sample(1, 16, 0, 0), Sample(1, 9, 0, 0)], [bytes(16), bytes(9)], cenc.sample_boxes(how)
    )
    moof, _ = (box for _, box in boxes.BoxSplitter().feed(data))
    assert cenc.states(moof, 0, [16, 9])
    assert not cenc.states(moof, 0, [16, 10])
    assert not cenc.states(moof, 0, [16])
    bare, _ = (box for _, box in boxes.BoxSplitter().feed(boxes.write_segment(1, 0, [Sample(1, 1, 0, 0)], [b"a"])))
    assert not cenc.states(bare, 0, [1])


def test_a_sample_of_too_many_spans_is_refused() -> None:
    with pytest.raises(boxes.BoxError):
        cenc.sample_boxes([Encryption(subsamples=((1, 2),) * 43)])


def packager_file(path: Path, *samples: tuple[bytes, Encryption]) -> Path:
    """A file as Packager writes it, as far as it is read."""
    tenc = bytes([1, 0, 0, 0, 0, 0x19, 1, 0]) + digest("kid")
    entry = box(
        b"encv", bytes(78) + box(b"sinf", box(b"schm", b"\0\0\0\0cbcs\0\1\0\0") + box(b"schi", box(b"tenc", tenc)))
    )
    inner = box(b"stsd", struct.pack(">2I", 0, 1) + entry)
    for name in (b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        inner = box(name, inner)
    described = [Sample(1, len(data), 0, 0) for data, _ in samples]
    more = cenc.sample_boxes([how for _, how in samples])
    path.write_bytes(inner + boxes.write_segment(1, 0, described, [data for data, _ in samples], more))
    return path


CLEAR = b"headr" + bytes(32)
HIDDEN = b"headr" + bytes([1]) * 32
HOW = Encryption(subsamples=((5, 32),))


def test_pictures_are_held_against_the_clear_ones(tmp_path: Path) -> None:
    seal = encrypt.PictureSeal(packager_file(tmp_path / "v", (HIDDEN, HOW), (HIDDEN, HOW)))
    assert seal([CLEAR]) == [(HIDDEN, HOW)]
    assert seal([CLEAR]) == [(HIDDEN, HOW)]
    with pytest.raises(MediaError) as caught:
        seal([CLEAR])
    assert caught.value.reason == Reason.ENCRYPT_FAILED


@pytest.mark.parametrize(
    ("made", "how"),
    [
        (CLEAR, HOW),  # not encrypted
        (b"HEADR" + HIDDEN[5:], HOW),  # what stays clear is another
        (HIDDEN + b"!", HOW),  # longer
        (HIDDEN[:-1], HOW),  # shorter
        (HIDDEN, Encryption(subsamples=((5, 31),))),  # not all of it accounted for
    ],
)
def test_wrong_pictures_are_told(tmp_path: Path, made: bytes, how: Encryption) -> None:
    seal = encrypt.PictureSeal(packager_file(tmp_path / "v", (made, how)))
    with pytest.raises(MediaError) as caught:
        seal([CLEAR])
    assert caught.value.reason == Reason.ENCRYPT_FAILED


async def test_a_packager_that_repeats_its_options_tells_no_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = tmp_path / "packager"
    program.write_text('#!/bin/sh\necho "$@" >&2; cat >&2; exit 1\n')
    program.chmod(0o700)
    encrypter = encrypt.Encrypter(Sandbox(program, program, program, bubblewrap=None), Limits(wall_seconds=30))
    caplog.set_level(logging.DEBUG)
    with pytest.raises(MediaError) as caught:
        await encrypter.pictures([encrypt.ClearFile(tmp_path / "v.mp4", CENC, KEY)], tmp_path)
    assert caught.value.reason == Reason.ENCRYPT_FAILED
    assert f"key_id={CENC.key_id.hex()}" in caplog.text
    assert KEY.hex() not in caplog.text
