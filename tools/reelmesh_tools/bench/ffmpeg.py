"""Plain ffmpeg: makes a clip to measure with, and the platform's ladder from a whole file in one go."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg

from reelmesh.transcode.ladder import LadderSettings, Rung, rungs
from reelmesh.transcode.plan import PlanSettings
from reelmesh.transcode.v1.job_pb2 import Job
from reelmesh.worker.encode import EncodeSettings
from reelmesh_tools.bench.errors import BenchError

CLIP_RATE = 25
"""Frames per second of the clip."""
CLIP_GOP = 250
"""Frames from one key frame of the clip to the next: what x264 does unless told otherwise, and hard on chunks."""
MAX_SECONDS = 4 * 3600.0
"""An ffmpeg that runs for longer is ended."""
_BUFFER_SECONDS = 0.6
"""Size of the rate buffer; the workers' own."""


def make_clip(file: Path, seconds: float) -> Path:
    """Make a 1080p clip with sound: fine detail that moves, a zoom that never repeats, and grain. Raises BenchError."""
    size, length = "1920x1080", f"{seconds:g}"
    picture = (
        # The fractal is computed small, for it is slow, and filtered up; the grain is what real cameras add.
        f"mandelbrot=size=640x360:rate={CLIP_RATE},scale=1920:1080,format=yuv420p[zoom];"
        f"testsrc2=size={size}:rate={CLIP_RATE},format=yuv420p[test];"
        "[zoom][test]blend=all_mode=average,noise=c0s=2:c0f=t"
    )
    line = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "anoisesrc=color=pink:amplitude=0.2:sample_rate=48000"]
    line += ["-t", length, "-c:v", "libx264", "-preset", "veryfast", "-crf", "25", "-g", str(CLIP_GOP)]
    line += ["-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart", str(file)]
    _run(line)
    return file


def ladder_of(job: Job) -> list[Rung]:
    """Return the rungs that the platform made, with their ceilings. Raises BenchError when they are not ours."""
    made = [track for track in job.tracks if track.HasField("video")]
    if not made:
        raise BenchError("the job has no picture")
    top = made[0].video
    rate = Fraction(top.frame_rate.numerator, top.frame_rate.denominator)
    ladder = rungs(top.width, top.height, rate, LadderSettings())
    if [rung.track for rung in ladder] != [track.id for track in made]:
        raise BenchError("the platform's ladder is not the standard one, so that ffmpeg would not do the same work")
    return ladder


def encode(source: Path, job: Job, folder: Path) -> tuple[float, int]:
    """Make what `job` made, as files below `folder`, by one ffmpeg with as many threads as it likes.

    Returns the wall seconds and the frames of each rendition. Raises BenchError.
    """
    line = ladder_command(source, job, folder)
    began = time.perf_counter()
    answer = _run([*line, "-progress", "pipe:1"])
    seconds = time.perf_counter() - began
    frames = [int(text.partition("=")[2]) for text in answer.splitlines() if text.startswith("frame=")]
    return seconds, frames[-1] if frames else 0


def ladder_command(source: Path, job: Job, folder: Path) -> list[str]:
    """Return the options: the workers' codec settings, one decode, scaling from rung to rung as the workers do."""
    ladder = ladder_of(job)
    top = job.tracks[0].video.frame_rate
    rate = Fraction(top.numerator, top.denominator)
    plan = PlanSettings()
    gop = max(1, round(plan.gop_seconds * rate))
    graph = [f"[0:v:0]fps={rate.numerator}/{rate.denominator}[in0]"]
    output: list[str] = []
    for place, rung in enumerate(ladder):
        fork = f",split[out{place}][in{place + 1}]" if rung is not ladder[-1] else f"[out{place}]"
        graph.append(f"[in{place}]scale={rung.width}:{rung.height}:out_range=tv,setsar=1,format=yuv420p{fork}")
        output += ["-map", f"[out{place}]", "-c:v", "libx264", "-preset", EncodeSettings().preset]
        output += ["-crf", f"{rung.crf:g}", "-maxrate", str(rung.max_bitrate)]
        output += ["-bufsize", str(round(rung.max_bitrate * _BUFFER_SECONDS)), "-profile:v", "high"]
        output += ["-x264-params", f"keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0"]
        output += [*_fragmented("+frag_keyframe"), str(folder / f"{rung.track}.mp4")]
    sounds = [track for track in job.tracks if track.HasField("audio")]
    for place, track in enumerate(sounds):
        output += ["-map", f"0:a:{place}", "-c:a", "aac", "-b:a", str(plan.sound_bitrate)]
        output += ["-ac", str(plan.sound_channels), "-ar", str(plan.sound_rate)]
        output += [*_fragmented(""), "-frag_duration", "4000000", str(folder / f"{track.id}.mp4")]
    return ["-i", str(source), "-filter_complex", ";".join(graph), *output]


def _fragmented(cut: str) -> list[str]:
    return ["-movflags", f"{cut}+empty_moov+default_base_moof", "-f", "mp4"]


def _run(line: Sequence[str]) -> str:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *line]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=MAX_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"ffmpeg did not end within {MAX_SECONDS:.0f} s") from error
    if answer.returncode != 0:
        raise BenchError(f"ffmpeg ended with status {answer.returncode}: {answer.stderr.strip()[-500:]}")
    return answer.stdout
