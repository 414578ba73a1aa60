"""What tests use and no wheel carries: found, or installed where that is possible, and said plainly where it is not.

Nothing of it is a prerequisite: the tests that need it are skipped without it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str | None:
    """Return the path of a Chromium: REELMESH_CHROMIUM, or one on the path."""
    return os.environ.get("REELMESH_CHROMIUM") or next((p for name in CHROMIUM if (p := shutil.which(name))), None)


def bubblewrap() -> str | None:
    """Return the path of bwrap."""
    return shutil.which("bwrap")


EXTRAS: dict[str, tuple[Callable[[], str | None], str]] = {
    "chromium": (chromium, "the browser tests"),
    "bubblewrap": (bubblewrap, "the test of the media tools' fence"),
}
"""By the name of Debian's package: how it is found, and what is skipped without it."""


def install(packages: list[str]) -> str:
    """Try to install packages; return why it could not be done, empty when it was."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return "installing needs root and apt-get"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        answer = subprocess.run(
            ["apt-get", *arguments], env=environment, capture_output=True, text=True, timeout=900, check=False
        )
        if answer.returncode != 0:
            return f"apt-get {arguments[0]} failed: {answer.stderr.strip()[-300:]}"
    return ""


def main() -> None:
    """Make sure that everything is there, or say plainly what will be skipped."""
    missing = [package for package, (find, _) in EXTRAS.items() if not find()]
    if not missing:
        return
    sys.stderr.write(f"extras: installing {', '.join(missing)} for the tests\n")
    problem = install(missing)
    for package in missing:
        find, skipped = EXTRAS[package]
        if not find():
            sys.stderr.write(
                f"extras: {skipped} will be skipped, {package} is not there: {problem or 'not on the path'}\n"
            )


if __name__ == "__main__":
    main()
