"""Give this process limits, then let it become the program named on its command line.

Run by path in a bare interpreter, so it imports nothing of ours. A callback between fork and exec would be shorter, but
is not safe in a process with threads. Usage: ``launch.py ADDRESS_SPACE CPU_SECONDS FILE_SIZE PROGRAM ARGUMENT…``
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
PARENT = "REELMESH_PARENT"
"""Names the process that started us; not on the command line, so that the line can be pasted into a shell."""


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


def main() -> None:
    """Set the limits and replace this process. Raises OSError when the program cannot be started."""
    address_space, cpu_seconds, file_size = map(int, sys.argv[1:4])
    program = sys.argv[4:]
    _limit(resource.RLIMIT_AS, address_space)
    _limit(resource.RLIMIT_CPU, cpu_seconds)
    _limit(resource.RLIMIT_FSIZE, file_size)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, 256)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a killed worker leaves no encoder behind
        if not program[0].endswith("bwrap"):  # bubblewrap may be setuid and sets this itself
            libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    parent = os.environ.pop(PARENT, "")
    if parent and os.getppid() != int(parent):
        sys.exit("the parent died before its death could be noticed")
    os.execv(program[0], program)  # noqa: S606  # no shell is the point


if __name__ == "__main__":
    main()
