"""Encrypts what was packaged: pictures through Shaka Packager, sound by ourselves.

Which bytes of a picture stay clear follows from its codec's slice headers, which Packager reads. Only its samples are
taken, though: it states the length of a chunk and the time of day in the init segment, cuts segments at places of its
own, and knows no brand for our composition times. So the boxes stay ours, and its samples are held against the clear
ones. Sound is encrypted whole, while the rest of it is still being encoded.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, CTR

from reelmesh.media.v1.media_pb2 import Protection, Segment
from reelmesh.worker import boxes, cenc
from reelmesh.worker.errors import MediaError, Reason
from reelmesh.worker.package import InitSegment, PackagedSegment, boxes_of
from reelmesh.worker.sandbox import Invocation, Limits, Sandbox, ToolError, ToolTimeout

_LOG = logging.getLogger(__name__)
_BLOCK = 16
_SCHEMES = {Protection.SCHEME_CBCS: "cbcs", Protection.SCHEME_CENC: "cenc"}

Sealed = tuple[bytes, cenc.Encryption]
"""An encrypted sample, and how it is encrypted."""
Seal = Callable[[Sequence[bytes]], list[Sealed]]
"""Encrypts the samples of one segment after the other, in decoding order."""


class KeyDesk(Protocol):
    """Where the values of keys are; keys.py asks the drm service."""

    async def values(self, video: str) -> Mapping[bytes, bytes]:
        """Return the value of every key of a video by its id. Raises MediaError."""


@dataclass(frozen=True)
class ClearFile:
    """The fragmented MP4 of one rendition of a chunk, and how to encrypt it."""

    path: Path
    protection: Protection
    key: bytes
    """Value of the key."""


class Encrypter:
    """Runs Shaka Packager."""

    def __init__(self, sandbox: Sandbox, limits: Limits) -> None:
        self._sandbox = sandbox
        self._limits = limits

    async def pictures(self, files: Sequence[ClearFile], scratch: Path) -> list[Seal]:
        """Encrypt files of one scheme; return what hands out their samples, in their order. Raises MediaError."""
        streams, keys = [], []
        for place, file in enumerate(files):
            made = _made(file)
            streams.append(f"in={file.path},stream=video,output={made},drm_label={place}")
            key = f"label={place}:key_id={file.protection.key_id.hex()}:key={file.key.hex()}"
            # Without one, as in cenc, Packager takes a random one for each file: no two chunks share a key stream.
            keys.append(key + (f":iv={file.protection.iv.hex()}" if file.protection.iv else ""))
        line = [
            *streams,
            "--protection_scheme", _SCHEMES[files[0].protection.scheme],
            "--enable_raw_key_encryption",
            "--clear_lead", "0",  # nothing is given away
            "--temp_dir", str(scratch),
            "--quiet",
            "--flagfile", "/dev/stdin",  # the keys: not on a command line that others can list, not on a disk
        ]  # fmt: skip
        secret = f"--keys={','.join(keys)}\n"
        try:
            await self._sandbox.run(Invocation("packager", None, scratch, (), line, self._limits, secret))
        except (ToolError, ToolTimeout) as error:
            said = str(error)
            for file in files:  # a program that does not like its options repeats them
                said = said.replace(file.key.hex(), "[key]")
            _LOG.warning("%s", said)
            raise _failed("the encryption failed") from None
        return [PictureSeal(_made(file)) for file in files]


class PictureSeal:
    """Hands out the samples that Packager encrypted, each held against the clear one."""

    def __init__(self, path: Path) -> None:
        self._samples = _encrypted_samples(path)

    def __call__(self, clear: Sequence[bytes]) -> list[Sealed]:
        """Return the next samples, which are `clear` before encryption. Raises MediaError when they are not."""
        return [self._next(sample) for sample in clear]

    def _next(self, clear: bytes) -> Sealed:
        found = next(self._samples, None)
        if found is None:
            raise _failed("samples got lost in encryption")
        data, encryption = found
        at = hidden = 0
        for left, protected in encryption.subsamples:
            if data[at : at + left] != clear[at : at + left]:
                raise _failed("encryption changed what stays clear")
            at, hidden = at + left + protected, hidden + protected
        if at != len(data) or len(data) != len(clear):
            raise _failed("a sample changed its size in encryption")
        if hidden >= _BLOCK and data == clear:
            raise _failed("a sample was not encrypted")
        return found


def sound_seal(protection: Protection, key: bytes) -> Seal:
    """Return what encrypts sound: whole samples (ISO/IEC 23001-7, 10.1 and 10.4.2)."""
    algorithm = AES(key)

    def cbcs(clear: Sequence[bytes]) -> list[Sealed]:
        sealed = []
        for sample in clear:
            whole = len(sample) // _BLOCK * _BLOCK
            hidden = Cipher(algorithm, CBC(protection.iv)).encryptor().update(sample[:whole])
            sealed.append((hidden + sample[whole:], cenc.Encryption()))
        return sealed

    def ctr(clear: Sequence[bytes]) -> list[Sealed]:
        sealed = []
        first = secrets.randbits(8 * cenc.IV_BYTES)  # anew for every segment, also one that is made again
        for place, sample in enumerate(clear):
            iv = ((first + place) % (1 << 8 * cenc.IV_BYTES)).to_bytes(cenc.IV_BYTES)
            counter = iv.ljust(_BLOCK, b"\0")
            sealed.append((Cipher(algorithm, CTR(counter)).encryptor().update(sample), cenc.Encryption(iv)))
        return sealed

    return cbcs if protection.scheme == Protection.SCHEME_CBCS else ctr


def encrypted_init(init: InitSegment, protection: Protection) -> InitSegment:
    """Return the init segment of the encrypted track; the same for all its chunks. Raises MediaError."""
    try:
        data = boxes.replaced(init.data, (b"moov",), lambda moov: cenc.encrypted_moov(moov, protection))
    except boxes.BoxError as error:
        raise _failed(f"an init segment that cannot be encrypted: {error}") from error
    return replace(init, data=data, sha256=hashlib.sha256(data).digest())


def encrypted_segment(packaged: PackagedSegment, seal: Seal) -> PackagedSegment:
    """Return a media segment encrypted: the same samples at the same times. Raises MediaError."""
    try:
        moof, mdat = (box for _, box in boxes.BoxSplitter().feed(packaged.data))
        fragment = boxes.read_fragment(moof, mdat, (0, 0, 0))
        clear, at = [], 0
        for sample in fragment.samples:
            clear.append(fragment.data[at : at + sample.size])
            at += sample.size
        sealed = seal(clear)
        more = cenc.sample_boxes([encryption for _, encryption in sealed])
        hidden = [data for data, _ in sealed]
        data = boxes.write_segment(packaged.segment.number + 1, fragment.start, fragment.samples, hidden, more)
    except boxes.BoxError as error:
        raise _failed(f"a segment that cannot be encrypted: {error}") from error
    segment = Segment()
    segment.CopyFrom(packaged.segment)
    segment.size = len(data)
    return PackagedSegment(segment, data)


def encrypted_segments(segments: Iterator[PackagedSegment], seal: Seal) -> Iterator[PackagedSegment]:
    """Yield media segments encrypted. Raises MediaError."""
    return (encrypted_segment(segment, seal) for segment in segments)


async def encrypted_sound(
    sound: AsyncGenerator[tuple[InitSegment, PackagedSegment]], protection: Protection, key: bytes
) -> AsyncGenerator[tuple[InitSegment, PackagedSegment]]:
    """Yield init and media segments of sound encrypted, each as soon as it is there. Raises MediaError."""
    seal = sound_seal(protection, key)
    async with contextlib.aclosing(sound) as segments:
        async for init, segment in segments:
            yield encrypted_init(init, protection), encrypted_segment(segment, seal)


def _made(file: ClearFile) -> Path:
    return file.path.with_suffix(".encrypted.mp4")


def _encrypted_samples(path: Path) -> Iterator[Sealed]:
    moof, track = b"", None
    for kind, box in boxes_of(path):
        try:
            if kind == b"moov":
                track = cenc.read_moov(boxes.payload(box))
            elif kind == b"moof":
                moof = box
            elif kind == b"mdat" and track is not None:
                fragment = boxes.read_fragment(moof, box, (0, 0, 0))
                at = 0
                for sample, how in zip(fragment.samples, cenc.read_samples(moof, track.iv_bytes), strict=True):
                    yield fragment.data[at : at + sample.size], how
                    at += sample.size
        except (boxes.BoxError, ValueError) as error:
            raise _failed(f"the packager's output is broken: {error}") from error


def _failed(message: str) -> MediaError:
    return MediaError(Reason.ENCRYPT_FAILED, message, retryable=True)
