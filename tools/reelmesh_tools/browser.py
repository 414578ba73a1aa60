"""Find a Chromium for the browser tests, or install one where that is possible, and say so where it is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find() -> str | None:
    """Return the path of a Chromium: REELMESH_CHROMIUM, or one on the path."""
    return os.environ.get("REELMESH_CHROMIUM") or next((p for name in NAMES if (p := shutil.which(name))), None)


def install() -> str:
    """Try to install Chromium; return why it could not be done, empty when it was."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium"]):
            answer = subprocess.run(
                ["apt-get", *arguments], env=environment, capture_output=True, text=True, timeout=900, check=False
            )
            if answer.returncode != 0:
                return f"apt-get {arguments[0]} failed: {answer.stderr.strip()[-300:]}"
        return ""
    return "it is not installed, and installing it needs root and apt-get; install it or set REELMESH_CHROMIUM"


def main() -> None:
    """Make sure that there is a Chromium, or say plainly that the browser tests will be skipped."""
    if find():
        return
    sys.stderr.write("browser: installing Chromium for the browser tests\n")
    problem = install()
    if problem or not find():
        sys.stderr.write(f"browser: the browser tests will be skipped: {problem or 'Chromium is not on the path'}\n")


if __name__ == "__main__":
    main()
