"""The main job in one go: a film in, a page to watch it out. Run by ``make demo``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg

from reelmesh_tools.stack.layout import Layout

SECONDS = 30


def main() -> None:
    """Upload the file given, or a clip made here, and follow it until it is ready."""
    layout = Layout.from_environment(os.environ)
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else _clip(layout.home / "demo.mp4")
    title = "Demo" if len(sys.argv) == 1 else source.stem
    command = [sys.executable, "-m", "reelmesh_tools.cli", "upload", str(source), "--title", title, "--publish"]
    sys.exit(subprocess.run(command, check=False).returncode)


def _clip(file: Path) -> Path:
    if not file.exists():
        picture = f"testsrc2=size=1280x720:rate=25:duration={SECONDS}"
        sound = f"sine=frequency=330:beep_factor=4:sample_rate=48000:duration={SECONDS}"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"]
        command += ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound]
        command += ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-c:a", "aac", str(file)]
        subprocess.run(command, check=True)
    return file


if __name__ == "__main__":
    main()
