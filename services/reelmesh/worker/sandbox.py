"""Runs ffmpeg and ffprobe on files that strangers sent us, and Shaka Packager on what they made of them.

Three fences, each for what the others let through: options that forbid the demuxers to open anything but the file named
(playlists and edit scripts read local files and addresses otherwise), limits on memory, time and output, and, where
bubblewrap works, namespaces without network, without our files and without capabilities.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from reelmesh.worker import launch

_LOG = logging.getLogger(__name__)
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,avi,flv,ogg,mxf,asf"
_STDERR_KEPT = 8192
_READ = 1 << 16


class ToolError(Exception):
    """A program ended badly; `stderr` holds the end of what it said."""

    def __init__(self, program: str, status: int, stderr: str) -> None:
        super().__init__(f"{program} ended with status {status}: {stderr.strip()[-500:]}")
        self.status = status
        self.stderr = stderr


class ToolTimeout(Exception):
    """A program ran longer than its wall-clock limit and was killed."""


@dataclass(frozen=True)
class Limits:
    """Bounds of one run of a program."""

    wall_seconds: float = 600.0
    """Time until the process group is killed."""
    cpu_seconds: int = 3600
    """Processor time, all threads together."""
    address_space: int = 12 << 30
    """Bytes of virtual memory; a 2160p ladder maps about 3 GiB."""
    file_size: int = 16 << 30
    """Bytes of the largest file that may be written."""
    max_pixels: int = 8192 * 4352
    """Width times height of the largest picture that a decoder may open."""
    media_seconds: float = 12 * 3600.0
    """How much of a source ffmpeg reads at most."""


@dataclass(frozen=True)
class Invocation:
    """One run of a program on one source."""

    program: Literal["ffmpeg", "ffprobe", "packager"]
    """Which program."""
    source: Path | None
    """The untrusted file, under a name of ours; None for the packager, whose options name files in `scratch`."""
    scratch: Path
    """The only folder that the program may write to; also its working folder."""
    before: Sequence[str] = ()
    """Options of the input."""
    after: Sequence[str] = ()
    """Everything behind the input."""
    limits: Limits = field(default_factory=Limits)
    """Bounds of this run."""
    secret: str = ""
    """What the program reads from its standard input: nobody sees it, as they would on a command line or a disk."""


class Sandbox:
    """Starts the media tools behind the fences.

    `bubblewrap` is the name or path of bwrap; it is looked for, and tried, once, when the first program is started.
    """

    def __init__(self, ffmpeg: Path, ffprobe: Path, packager: Path, *, bubblewrap: str | None = "bwrap") -> None:
        self._programs = {"ffmpeg": ffmpeg.resolve(), "ffprobe": ffprobe.resolve(), "packager": packager.resolve()}
        self._bubblewrap = bubblewrap
        self._lock = asyncio.Lock()
        self._fence: list[str] | None = None

    async def run(self, invocation: Invocation, *, max_output: int = 64 << 20) -> bytes:
        """Run to the end and return standard output. Raises ToolError, ToolTimeout."""
        output = bytearray()
        async with self.start(invocation) as chunks:
            async for chunk in chunks:
                output += chunk
                if len(output) > max_output:
                    raise ToolError(invocation.program, -1, f"more than {max_output} bytes of output")
        return bytes(output)

    @contextlib.asynccontextmanager
    async def start(self, invocation: Invocation) -> AsyncIterator[AsyncIterator[bytes]]:
        """Start a program and yield its standard output, piece by piece.

        Leaving the block waits for the program's end; leaving it by an exception or a cancellation kills the whole
        process group. Raises ToolError for a status other than 0 and ToolTimeout.
        """
        line = await self._command(invocation)
        limits = invocation.limits
        _LOG.info("run: %s", shlex.join(line))
        with _pipe_of(invocation.secret) as stdin:
            process = await asyncio.create_subprocess_exec(
                *line,
                stdin=stdin,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=invocation.scratch,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", launch.PARENT: str(os.getpid())},
                start_new_session=True,  # one group to kill
            )
        stdout, stderr = process.stdout, process.stderr
        assert stdout is not None  # noqa: S101  # both are pipes, as asked above
        assert stderr is not None  # noqa: S101
        complaints = asyncio.create_task(_tail(stderr))
        limit = asyncio.timeout(limits.wall_seconds)
        try:
            async with limit:
                yield _pieces(stdout)
                async for _ in _pieces(stdout):  # what the caller left unread must not block the program
                    pass
                status = await process.wait()
        except TimeoutError as error:
            if not limit.expired():
                raise  # the caller's own
            raise ToolTimeout(f"{invocation.program} ran longer than {limits.wall_seconds:g} s") from error
        finally:
            if process.returncode is None:
                _kill(process.pid)
                async for _ in _pieces(stdout):  # asyncio waits for the pipe's end too, which a full buffer hides
                    pass
                await process.wait()
            said = await complaints
        if status != 0:
            raise ToolError(invocation.program, status, said)
        if said:
            _LOG.debug("%s said: %s", invocation.program, said.strip()[-500:])  # holes of sparse files, mostly

    async def fenced(self) -> bool:
        """Tell whether programs run inside bubblewrap."""
        return bool(await self._namespaces())

    async def _command(self, invocation: Invocation) -> list[str]:
        limits = invocation.limits
        program = str(self._programs[invocation.program])
        fence = await self._namespaces()
        if fence:
            scratch = str(invocation.scratch)
            fence = [*fence, "--bind", scratch, scratch]
            if invocation.source is not None:
                fence += ["--ro-bind", str(invocation.source), str(invocation.source)]
            fence += ["--chdir", scratch, "--"]
        if invocation.program == "packager":
            return [*self._launcher(limits), *fence, program, *invocation.after]
        guard = [
            "-hide_banner",
            "-loglevel", "error",
            "-protocol_whitelist", "file,pipe",  # nothing over the network
            "-format_whitelist", _FORMATS,  # no playlists, no concat scripts, no image sequences
            "-max_pixels", str(limits.max_pixels),  # a small file can ask for gigabytes of picture
        ]  # fmt: skip
        if invocation.program == "ffmpeg":
            guard += ["-nostdin", "-y", "-t", f"{limits.media_seconds:.6f}"]
        return [
            *self._launcher(limits),
            *fence,
            program,
            *guard,
            *invocation.before,
            "-i",
            str(invocation.source),
            *invocation.after,
        ]

    def _launcher(self, limits: Limits) -> list[str]:
        return [
            sys.executable,
            "-I",  # nothing from the environment or the working folder
            "-S",  # no site packages: it starts in 10 ms
            str(Path(launch.__file__).resolve()),
            str(limits.address_space),
            str(limits.cpu_seconds),
            str(limits.file_size),
        ]

    async def _namespaces(self) -> list[str]:
        async with self._lock:
            if self._fence is None:
                self._fence = await self._probe()
            return self._fence

    async def _probe(self) -> list[str]:
        path = shutil.which(self._bubblewrap) if self._bubblewrap else None
        if path is None:
            _LOG.info("no bubblewrap: programs run under limits only")
            return []
        fence = [path, "--unshare-all", "--clearenv", "--cap-drop", "ALL", "--die-with-parent"]
        for folder in ("/usr", "/lib", "/lib64", "/etc/ld.so.cache"):
            fence += ["--ro-bind-try", folder, folder]
        fence += ["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]  # noqa: S108  # empty, inside the fence
        for program in self._programs.values():
            fence += ["--ro-bind", str(program), str(program)]
        line = [*self._launcher(Limits()), *fence, "--", str(self._programs["ffprobe"]), "-version"]
        process = await asyncio.create_subprocess_exec(
            *line,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={launch.PARENT: str(os.getpid())},
        )
        _, complaint = await process.communicate()
        if process.returncode != 0:
            _LOG.warning("bubblewrap does not work here: %s", complaint.decode(errors="replace").strip())
            return []
        return fence


@contextlib.contextmanager
def _pipe_of(secret: str) -> Iterator[int]:
    """Yield the end of a pipe from which `secret`, and nothing more, can be read.

    Not asyncio's own pipe: of some loops it is a socket, which a program cannot open by name.
    """
    reading, writing = os.pipe()
    try:
        try:
            os.write(writing, secret.encode())  # far less than a pipe holds
        finally:
            os.close(writing)
        yield reading
    finally:
        os.close(reading)


async def _pieces(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while piece := await stream.read(_READ):
        yield piece


async def _tail(stream: asyncio.StreamReader) -> str:
    kept = b""
    async for piece in _pieces(stream):
        kept = (kept + piece)[-_STDERR_KEPT:]
    return kept.decode(errors="replace")


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
