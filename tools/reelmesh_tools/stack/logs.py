"""Reading the log files of the stack's processes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from reelmesh_tools.stack.client import StackError

_POLL = 0.2


def files(folder: Path, name: str | None) -> list[Path]:
    """Return the log file of the process `name`, or of all; raises StackError when there is none."""
    found = sorted(folder.glob("*.log"))
    if name is not None:
        found = [path for path in found if path.stem == name]
    if not found:
        message = f"no log of {name or 'any process'} in {folder}"
        raise StackError(message)
    return found


def last(path: Path, lines: int) -> list[str]:
    """Return the last `lines` lines of a file."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, maxlen=lines)]


def show(paths: Sequence[Path], lines: int, write: Callable[[str], None], *, follow: bool) -> None:
    """Write the last `lines` lines of each file, and with `follow` every new one until interrupted.

    Lines of several files are marked with the name of their process.
    """
    offsets = {}
    for path in paths:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in deque(file, maxlen=lines):
                write(_marked(path, line, several=len(paths) > 1))
            offsets[path] = file.tell()
    while follow:
        time.sleep(_POLL)
        for path in paths:
            offsets[path] = _show_new(path, offsets[path], write, several=len(paths) > 1)


def _show_new(path: Path, offset: int, write: Callable[[str], None], *, several: bool) -> int:
    """Write what was added after byte `offset`; return the offset of the first unwritten byte."""
    size = path.stat().st_size if path.exists() else 0
    if size < offset:
        offset = 0  # the file was put aside and begun anew
    if size == offset:
        return offset
    with path.open("rb") as file:
        file.seek(offset)
        whole, newline, _rest = file.read().rpartition(b"\n")
    for line in whole.split(b"\n") if newline else ():
        write(_marked(path, line.decode(errors="replace"), several=several))
    return offset + len(whole) + len(newline)


def _marked(path: Path, line: str, *, several: bool) -> str:
    text = line.rstrip("\n")
    return f"{path.stem:<10} {text}" if several else text
