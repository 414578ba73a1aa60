"""The media half of the pipeline on real tools: inspect, plan, encode every chunk, package, look at what came out."""

from __future__ import annotations

import array
import re
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import pytest
from google.protobuf.duration_pb2 import Duration
from media_fakes import FakeObjects, Job, run_job, runner

from reelmesh.mesh.errors import Unavailable
from reelmesh.worker import boxes
from reelmesh.worker.v1.task_pb2 import AudioWork, InspectWork, Task, TaskResult

pytestmark = pytest.mark.timeout(180)

REAL = {
    "bbb-30s-480p-51ch.mp4": 720,
    "car-30s-432p.mp4": 377,
    "bottle-40s-360p-noaudio.mp4": 1189,
    "3gp-70s-mpeg4-amr.3gp": 1050,
    "phone-4k60-rot-90.mp4": 18,
    "vp9-no-duration.webm": 74,
    "nasa-2v2a2s-movtext.mp4": 390,
    "fire-rot180-vfr.mp4": None,
    "bbb-2.5s-1080p-mpeg2.ts": None,
    "mpeg1-weird-aspect.mpg": None,
}
"""Real clips, and their frames where these are evenly spaced."""
HOSTILE = {
    "zero.mp4": "SOURCE_EMPTY",
    "playlist-local.m3u8": "SOURCE_NOT_MEDIA",
    "playlist-as.mp4": "SOURCE_NOT_MEDIA",
    "playlist-ssrf.m3u8": "SOURCE_NOT_MEDIA",
    "ffconcat-as.mp4": "SOURCE_NOT_MEDIA",
    "broken.mp4": "SOURCE_UNREADABLE",
    "truncated-moov-end.mp4": "SOURCE_TRUNCATED",
    "bomb-16000x16000.mp4": "SOURCE_TOO_LARGE",
    "bomb-10hours.mp4": "SOURCE_TOO_LONG",
    "mdat-too-long.mp4": None,
    "bitflips.mp4": None,
}
"""Hostile clips and the reason they are refused for; None where every frame can still be made."""


def ffmpeg(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    line = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostdin", "-y", *arguments]
    return subprocess.run(line, check=True, capture_output=True, timeout=120)


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 s with B-frames, key frames 250 frames apart, and a beep every other second."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=426x240:rate=30:duration=40",
        "-f", "lavfi", "-i", "aevalsrc='if(lt(mod(t,2),0.1),sin(2*PI*1000*t)/2,0)':s=44100:d=40",
        "-c:v", "libx264", "-preset", "ultrafast", "-g", "250", "-bf", "3", "-b_strategy", "0",
        "-c:a", "aac", str(path),
    )  # fmt: skip
    return path


def remade(film: Path, name: str, *options: str) -> Path:
    path = film.parent / name
    if not path.exists():
        ffmpeg(*options, "-t", "21", "-c", "copy", str(path))
    return path


def shown(job: Job, track: str) -> list[int]:
    """Return the presentation time of every frame in ticks, in order, as the boxes state it."""
    times = []
    moof = b""
    for kind, box in boxes.BoxSplitter().feed(job.media(track)):
        if kind == b"moof":
            moof = box
        elif kind == b"mdat":
            fragment = boxes.read_fragment(moof, box, (0, 0, 0))
            assert fragment.samples[0].sync
            time = fragment.start
            for sample in fragment.samples:
                times.append(time + sample.composition)
                time += sample.duration
    return sorted(times)


def check(job: Job, tracks: list[str], folder: Path) -> None:
    """Every frame once and in its place, segments without a gap, sound as long as the picture, all of it decodable."""
    assert job.failures == []
    assert job.plan is not None
    for track in (track for track in job.plan.tracks if track.id in tracks):
        segments = job.segments(track.id)
        assert [segment.number for segment in segments] == list(range(len(segments)))
        assert len(job.inits(track.id)) == 1
        time = 0
        for segment in segments:
            assert segment.start == time
            time += segment.duration
            assert segment.size == len(job.objects[f"media/{track.id}/{segment.number:05d}.m4s"])
        assert abs(time / track.timescale - job.plan.duration) <= 0.05
        sequences = re.findall(rb"mfhd\0\0\0\0(.{4})", job.media(track.id), re.DOTALL)
        assert [int.from_bytes(number) for number in sequences] == [segment.number + 1 for segment in segments]
        if track.HasField("video"):
            rate = Fraction(track.video.frame_rate.numerator, track.video.frame_rate.denominator)
            assert shown(job, track.id) == [int(place / rate * track.timescale) for place in range(job.plan.frames)]
            for segment in segments:
                if segment.duration > track.timescale:
                    assert segment.size * 8 * track.timescale / segment.duration <= track.peak_bitrate
        path = folder / f"{track.id}.mp4"
        path.write_bytes(job.media(track.id))
        said = ffmpeg("-v", "error", "-i", str(path), "-f", "null", "-").stderr
        assert said == b""


def smallest(job: Job) -> list[str]:
    assert job.plan is not None
    return [[track.id for track in job.plan.tracks if track.HasField("video")][-1], "a0"]


@pytest.mark.parametrize("name", REAL)
async def test_every_frame_once(name: str, media: Path | None, tmp_path: Path) -> None:
    if media is None:
        pytest.skip("no folder of real clips")
    job = await run_job((media / name).read_bytes(), tmp_path, rungs=1)
    check(job, smallest(job), tmp_path)
    assert job.plan is not None
    frames = REAL[name]
    assert frames is None or job.plan.frames == frames == job.inspection.video[0].frames
    if name.startswith(("bbb-30s", "car-", "bottle-", "3gp-")):
        assert job.read_share <= 1.3


async def test_a_whole_ladder(clip: Callable[..., Path], tmp_path: Path) -> None:
    job = await run_job(clip(seconds=9, width=854, height=480).read_bytes(), tmp_path)
    assert job.plan is not None
    assert [track.id for track in job.plan.tracks] == ["v480", "v360", "v240", "a0"]
    check(job, [track.id for track in job.plan.tracks], tmp_path)
    assert job.plan.frames == 225
    first = next(result for result in job.results if result.task == "video-00000")
    assert [len(track.segments) for track in first.encoded.tracks] == [1, 1, 1]
    assert {track.codec for track in first.encoded.tracks} == {"avc1.64001e", "avc1.640015"}


async def test_sparse_and_whole_give_the_same_bytes(film: Path, media: Path | None, tmp_path: Path) -> None:
    for path in [film, *([media / "bbb-30s-480p-51ch.mp4"] if media else [])]:
        for folder in ("sparse", "whole"):
            (tmp_path / folder).mkdir(exist_ok=True)
        sparse = await run_job(path.read_bytes(), tmp_path / "sparse", rungs=1)
        whole = await run_job(path.read_bytes(), tmp_path / "whole", rungs=1, sparse=False)
        check(sparse, smallest(sparse), tmp_path)
        assert sparse.read_share <= 1.3
        for track in smallest(sparse):
            assert sparse.media(track) == whole.media(track)


@pytest.mark.parametrize(
    ("name", "options", "late"),
    [
        ("film.mp4", (), 0.0),
        ("late-sound.mp4", ("-itsoffset", "0.5", "-map", "0:v", "-map", "1:a"), 0.5),
        ("late-picture.mp4", ("-itsoffset", "-0.4", "-map", "0:v", "-map", "1:a"), -0.4),
        ("cut.mp4", ("-ss", "3.3"), 0.7),
        ("film.ts", (), 0.0),
        ("film.mkv", (), 0.0),
        ("fragmented.mp4", ("-movflags", "+frag_keyframe+empty_moov+default_base_moof"), 0.0),
    ],
)
async def test_picture_and_sound_stay_where_they_were(
    name: str, options: tuple[str, ...], late: float, film: Path, tmp_path: Path
) -> None:
    """The right frames, and the beeps at their times, whatever the container and its clocks."""
    inputs = ["-i", str(film)]
    if options[:1] == ("-itsoffset",):
        inputs, options = [*inputs, *options[:2], *inputs], options[2:]
    elif options[:1] == ("-ss",):
        inputs, options = [*options, *inputs], ()
    path = film if name == "film.mp4" else remade(film, name, *inputs, *options)
    job = await run_job(path.read_bytes(), tmp_path, rungs=2)
    check(job, ["v240", "a0"], tmp_path)
    assert job.plan is not None
    if name != "fragmented.mp4":  # whose own picture is two frames late
        beeps = onsets(tmp_path / "a0.mp4")[1:8]  # the first may begin with the film
        assert beeps == pytest.approx([beeps[0] + 2 * place for place in range(7)], abs=0.004)
        assert (beeps[0] - late + 1) % 2 == pytest.approx(1, abs=0.004)
    assert likeness(path, tmp_path / "v240.mp4", job) > 30


def onsets(path: Path) -> list[float]:
    """Return when beeps begin, in seconds."""
    samples = array.array("h", ffmpeg("-v", "error", "-i", str(path), "-ac", "1", "-f", "s16le", "pipe:1").stdout)
    found, last = [], -48_000
    for place, sample in enumerate(samples):
        if abs(sample) > 2_500:
            if place - last > 24_000:
                found.append(place / 48_000)
            last = place
    return found


def likeness(source: Path, made: Path, job: Job) -> float:
    """Return the PSNR of the worst frame against the source's, by number, in dB: a frame off by one is below 25."""
    assert job.plan is not None
    picture = job.plan.tracks[0].video
    rate = f"{picture.frame_rate.numerator}/{picture.frame_rate.denominator}"
    graph = (
        f"[0:v]setpts=PTS-round({job.plan.origin!r}/TB),fps={rate},trim=start_pts=0,settb=1/1000,setpts=N,"
        "format=yuv420p[a];[1:v]settb=1/1000,setpts=N,format=yuv420p[b];[a][b]psnr=shortest=1:stats_file=-"
    )
    stats = ffmpeg("-copyts", "-i", str(source), "-i", str(made), "-lavfi", graph, "-f", "null", "-").stdout
    values = [float(value) for value in re.findall(rb"psnr_y:([\d.]+|inf)", stats)]
    assert len(values) >= job.plan.frames - 1
    return min(values)


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_files(name: str, media: Path | None, tmp_path: Path) -> None:
    if media is None:
        pytest.skip("no folder of real clips")
    job = await run_job((media / "hostile" / name).read_bytes(), tmp_path, rungs=1)
    if (reason := HOSTILE[name]) is None:
        assert job.failures == []
        check(job, smallest(job)[:1], tmp_path)
    else:
        assert job.failures == [reason]
        assert not job.results[0].failure.retryable
    assert list(tmp_path.glob("task-*")) == []


async def test_sound_is_told_while_it_is_encoded(film: Path, tmp_path: Path) -> None:
    job = await run_job(film.read_bytes(), tmp_path, rungs=1)
    told = [result for result in job.results if result.task == "audio-0"]
    assert [result.encoded.final for result in told] == [False] * (len(told) - 1) + [True]
    assert len(told) > 1
    assert len(told[0].encoded.tracks[0].segments) == 1
    assert [result.bytes_read > 0 for result in told] == [False] * (len(told) - 1) + [True]


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (Task(source="nowhere", inspect=InspectWork()), "SOURCE_MISSING"),
        (Task(source="raw"), "TASK_INVALID"),
        (Task(source="raw", audio=AudioWork()), "TASK_INVALID"),
        (Task(source="raw", inspect=InspectWork(max_duration=Duration(seconds=1))), "SOURCE_TOO_LONG"),
        (Task(source="raw", inspect=InspectWork(max_pixels=1_000)), "SOURCE_TOO_LARGE"),
        (Task(source="raw", time_limit=Duration(nanos=1_000_000), inspect=InspectWork()), "TASK_TIMEOUT"),
    ],
)
async def test_failures_are_told(task: Task, reason: str, clip: Callable[..., Path], tmp_path: Path) -> None:
    store = FakeObjects()
    store.add_source("raw", clip(seconds=9, width=854, height=480).read_bytes())
    told: list[TaskResult] = []

    async def report(result: TaskResult) -> None:
        told.append(result)

    task.job, task.id, task.attempt = "organizations/o/jobs/j", "t", 3
    await runner(store, tmp_path).run(task, report)
    assert [result.failure.reason for result in told] == [reason]
    assert (told[0].job, told[0].task, told[0].attempt) == (task.job, "t", 3)
    assert told[0].failure.retryable == (reason == "TASK_TIMEOUT")
    assert list(tmp_path.glob("task-*")) == []


async def test_a_store_that_is_away_is_told(clip: Callable[..., Path], tmp_path: Path) -> None:
    class Away(FakeObjects):
        async def put(self, key: str, data: bytes) -> None:
            raise Unavailable("the object store does not answer")

    store = Away()
    store.add_source("raw", clip(seconds=9, width=854, height=480).read_bytes())
    told: list[TaskResult] = []

    async def report(result: TaskResult) -> None:
        told.append(result)

    await runner(store, tmp_path).run(Task(source="raw", inspect=InspectWork()), report)
    assert [(result.failure.reason, result.failure.retryable) for result in told] == [("STORE_UNAVAILABLE", True)]


async def test_leftovers_are_removed(tmp_path: Path) -> None:
    (tmp_path / "task-old").mkdir()
    (tmp_path / "task-old" / "source").write_bytes(b"x")
    runner(FakeObjects(), tmp_path)
    assert list(tmp_path.iterdir()) == []
