"""Small files that are only ever seen whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path


class BusyError(Exception):
    """Another process held the lock for the whole of the time that was allowed."""


def write_whole(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write `content` beside `path` and rename it over, so that a reader sees the old or the new file."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content.encode() if isinstance(content, str) else content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def exclusive(path: Path, timeout: float) -> Iterator[None]:
    """Hold the lock file `path` for the body; the kernel frees it if this process dies.

    Raises BusyError when another process holds it for longer than `timeout` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    message = f"{path} is held by another command of this stack"
                    raise BusyError(message) from None
                time.sleep(0.05)
            else:
                break
        yield
    finally:
        os.close(descriptor)
