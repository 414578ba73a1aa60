"""Asks ffprobe about a local file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from reelmesh.worker.errors import MediaError, Reason
from reelmesh.worker.sandbox import Invocation, Limits, Sandbox, ToolError, ToolTimeout

FIRST_PACKETS = 8
"""Packets of each stream that a sparse file has, and that the first frame is looked for in."""
_MAX_PACKETS = 20_000_000
_NO_PARSING = ("-fflags", "+noparse+nofillin")
"""Take times and flags from the container alone: parsers would read the holes of a sparse file."""


@dataclass
class Packets:
    """The packets of one stream in decoding order; times in ticks of the stream's time base."""

    kind: str = ""
    time_base: Fraction = Fraction(1, 1)
    times: list[int] = field(default_factory=list)
    durations: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    hidden: set[int] = field(default_factory=set)
    """Packets that are decoded but not shown (cut off by an edit list)."""

    def add(self, values: dict[str, str]) -> None:
        """Add a packet as ffprobe prints it; one without any time is dropped: it cannot be asked for."""
        time = values.get("pts", "N/A")
        if time == "N/A":
            time = values.get("dts", "N/A")
        if time == "N/A":
            return
        flags = values.get("flags", "")
        if "K" in flags:
            self.keys.append(len(self.times))
        if "D" in flags:
            self.hidden.add(len(self.times))
        self.times.append(int(time))
        self.durations.append(integer(values.get("duration")) or 0)
        self.positions.append(integer(values.get("pos"), -1))
        self.sizes.append(integer(values.get("size")) or 0)

    def first_shown(self) -> int:
        """Return the lowest time of a packet that is shown."""
        shown = (time for place, time in enumerate(self.times) if place not in self.hidden)
        return min(shown, default=min(self.times))

    def seconds(self, ticks: int) -> float:
        """Return ticks in seconds."""
        return float(ticks * self.time_base)


class Probe:
    """Runs ffprobe on the file at `path`."""

    def __init__(self, sandbox: Sandbox, path: Path, scratch: Path, limits: Limits) -> None:
        self.path = path
        self._sandbox = sandbox
        self._scratch = scratch
        self._limits = limits

    async def describe(self) -> dict[str, Any]:
        """Return streams and container as ffprobe's JSON."""
        entries = (
            "format=format_name,duration"
            ":stream=index,codec_type,codec_name,width,height,sample_aspect_ratio,avg_frame_rate,channels,sample_rate"
            ":stream_tags=language:stream_disposition=default,attached_pic:stream_side_data=rotation"
        )
        return await self._json("-show_entries", entries)

    async def first_frame(self, stream: int) -> int | None:
        """Return the time, in ticks, of the first frame that a decoder gives; None when it gives none.

        The first packets alone do not tell: those before the first key frame cannot be decoded.
        """
        answer = await self._json(
            "-select_streams", str(stream),
            "-read_intervals", f"%+#{FIRST_PACKETS}",  # no more packets than a sparse file has
            "-show_entries", "frame=best_effort_timestamp",
        )  # fmt: skip
        frames = answer.get("frames", [])
        return min((f["best_effort_timestamp"] for f in frames if "best_effort_timestamp" in f), default=None)

    async def _json(self, *after: str) -> dict[str, Any]:
        try:
            output = await self._sandbox.run(self._invocation((), (*after, "-of", "json")))
        except (ToolError, ToolTimeout) as error:
            raise _unreadable(error) from error
        answer: dict[str, Any] = json.loads(output)
        return answer

    async def packets(self, *, sparse: bool) -> dict[int, Packets]:
        """Return the packets of the picture and sound streams by stream index, read from the container."""
        entries = "packet=stream_index,pts,dts,duration,pos,size,flags:stream=index,codec_type,time_base"
        before = _NO_PARSING if sparse else ()
        after = ("-show_packets", "-show_entries", entries, "-of", "compact")
        streams: dict[int, Packets] = {}
        count, rest = 0, b""
        try:
            async with self._sandbox.start(self._invocation(before, after)) as pieces:
                async for piece in pieces:
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in lines:
                        _take(line.decode(errors="replace"), streams)
                    count += len(lines)
                    if count > _MAX_PACKETS:
                        raise MediaError(Reason.SOURCE_TOO_LONG, "the file has too many packets")
        except (ToolError, ToolTimeout) as error:
            raise _unreadable(error) from error
        return {index: packets for index, packets in streams.items() if packets.kind in {"video", "audio"}}

    def _invocation(self, before: Sequence[str], after: Sequence[str]) -> Invocation:
        return Invocation("ffprobe", self.path, self._scratch, before, after, self._limits)


def _take(line: str, streams: dict[int, Packets]) -> None:
    kind, *pairs = line.strip().split("|")
    values = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    if kind == "packet" and "stream_index" in values:
        streams.setdefault(int(values["stream_index"]), Packets()).add(values)
    elif kind == "stream" and "index" in values:
        packets = streams.setdefault(int(values["index"]), Packets())
        packets.kind = values.get("codec_type", "")
        packets.time_base = fraction(values.get("time_base")) or Fraction(1, 1)


def _unreadable(error: ToolError | ToolTimeout) -> MediaError:
    if isinstance(error, ToolTimeout):
        return MediaError(Reason.SOURCE_UNREADABLE, "looking at the file took too long")
    if "Picture size" in error.stderr or "picture size" in error.stderr:
        return MediaError(Reason.SOURCE_TOO_LARGE, "the picture has too many pixels")
    return MediaError(Reason.SOURCE_UNREADABLE, "the file cannot be read as media")


def fraction(text: str | None) -> Fraction | None:
    """Return a positive ratio such as "30000/1001"; None for anything else."""
    try:
        value = Fraction(text or "")
    except (ValueError, ZeroDivisionError):
        return None
    return value if value > 0 else None


def integer(value: object, default: int = 0) -> int:
    """Return `value` as a whole number, `default` when it is none."""
    try:
        return int(str(value))
    except ValueError:
        return default
