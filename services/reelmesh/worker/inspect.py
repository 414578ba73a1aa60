"""Looks at a source: what streams it has, how they are timed, and where each packet lies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from reelmesh.media.v1.media_pb2 import ByteRange, Rational
from reelmesh.worker import layout
from reelmesh.worker.errors import MediaError, Reason
from reelmesh.worker.probe import FIRST_PACKETS, Packets, Probe, fraction, integer
from reelmesh.worker.sandbox import Limits, Sandbox
from reelmesh.worker.source import Source, coalesce
from reelmesh.worker.timing import choose_rate
from reelmesh.worker.v1.task_pb2 import (
    AudioStream,
    Inspection,
    InspectWork,
    SourceIndex,
    StreamIndex,
    VideoStream,
)

_FIRST_BYTES = 1 << 20
_NO_DECODER = frozenset({"av1"})
"""Codecs that ffprobe, as packaged, cannot decode where ffmpeg can."""
_MAX_PICTURES = 4
_KEY_SPACING = 0.5


class Inspector:
    """Inspects sources with ffprobe, reading as little of them as it can."""

    def __init__(self, sandbox: Sandbox, limits: Limits) -> None:
        self._sandbox = sandbox
        self._limits = limits

    async def inspect(self, source: Source, scratch: Path, work: InspectWork) -> tuple[Inspection, SourceIndex | None]:
        """Inspect `source` in the empty folder `scratch`.

        The index is None where the container gives none, so that tasks need the whole file. Raises MediaError.
        """
        if source.size == 0:
            raise MediaError(Reason.SOURCE_EMPTY, "the file is empty")
        head = await source.read(0, 1024)
        if layout.looks_like_text(head):
            raise MediaError(Reason.SOURCE_NOT_MEDIA, "the file is text")
        limits = replace(self._limits, max_pixels=work.max_pixels or self._limits.max_pixels)
        probe = Probe(self._sandbox, scratch / "source", scratch, limits)
        found = await layout.walk(source) if layout.looks_like_mp4(head) else None
        always: list[ByteRange] = []
        streams: dict[int, Packets] = {}
        if found and not found.fragmented:
            always = _ranges(found.outside)
            await source.fetch(probe.path, (), always=always)
            streams = await probe.packets(sparse=True)
            first = _first_packets(streams, source.size)
            always += first
            await source.fetch(probe.path, (), always=first)
        indexed = bool(streams) and _complete(streams, source.size)
        if not indexed:
            always = []
            await source.fetch(probe.path, None)
            streams = await probe.packets(sparse=False)
        described = await probe.describe()
        starts = {
            index: await probe.first_frame(index)
            for index in [index for index, packets in streams.items() if packets.kind == "video"][:_MAX_PICTURES]
        }
        inspection = _Assembly(described, streams, starts, work).inspection()
        return inspection, _index(streams, always) if indexed else None


class _Assembly:
    """Puts together what was seen; checks the limits of the work."""

    def __init__(
        self,
        described: dict[str, Any],
        streams: dict[int, Packets],
        first: dict[int, int | None],
        work: InspectWork,
    ) -> None:
        self._described = described
        self._streams = streams
        self._first = first
        self._work = work

    def inspection(self) -> Inspection:
        """Return the inspection. Raises MediaError."""
        videos: list[tuple[tuple[int, int], VideoStream]] = []
        audios: list[AudioStream] = []
        attached = 0
        for stream in self._described.get("streams", []):
            if stream.get("disposition", {}).get("attached_pic"):
                attached += 1  # a cover, not a picture stream
            elif stream.get("codec_type") == "video":
                if video := self._video(stream):
                    default = stream.get("disposition", {}).get("default", 0)
                    videos.append(((-video.width * video.height, -default), video))
            elif stream.get("codec_type") == "audio" and (audio := self._audio(stream)):
                audios.append(audio)
        if not videos:
            if not self._described.get("streams"):
                raise MediaError(Reason.SOURCE_UNREADABLE, "the file has no streams")
            pictures = [s for s in self._described.get("streams", []) if s.get("codec_type") == "video"]
            if len(pictures) > attached:
                raise MediaError(Reason.SOURCE_UNREADABLE, "no frame of the picture can be decoded")
            raise MediaError(Reason.SOURCE_NO_VIDEO, "the file has no picture stream")
        videos.sort(key=lambda item: item[0])
        container = str(self._described.get("format", {}).get("format_name", ""))
        return Inspection(container=container, video=[video for _, video in videos], audio=audios)

    def _video(self, stream: dict[str, Any]) -> VideoStream | None:
        packets = self._streams.get(stream["index"])
        first = self._first.get(stream["index"])
        if packets and first is None and (packets.hidden or stream.get("codec_name") in _NO_DECODER):
            first = packets.first_shown()
        width, height = _shown(stream)
        if self._work.max_pixels and width * height > self._work.max_pixels:
            raise MediaError(Reason.SOURCE_TOO_LARGE, f"the picture has {width} by {height} pixels")
        if packets is None or first is None or not width or not height:
            return None
        shown = [
            place
            for place, time in enumerate(packets.times)
            if time >= first and place not in packets.hidden and packets.sizes[place] > 0
        ]
        if not shown:
            return None
        ticks = sorted({packets.times[place] for place in shown})
        rate, variable = choose_rate(ticks, packets.time_base, fraction(stream.get("avg_frame_rate")))
        last = max(shown, key=lambda place: packets.times[place])
        frame = packets.durations[last] or round(1 / (rate * packets.time_base))
        duration = packets.seconds(packets.times[last] + frame - first)
        limit = self._work.max_duration.ToTimedelta().total_seconds()
        if limit and duration > limit:
            raise MediaError(Reason.SOURCE_TOO_LONG, f"the picture lasts {duration:.0f} s")
        return VideoStream(
            index=stream["index"],
            codec=stream.get("codec_name", ""),
            width=width,
            height=height,
            frame_rate=Rational(numerator=rate.numerator, denominator=rate.denominator),
            start=packets.seconds(first),
            duration=duration,
            frames=len(ticks),
            key_times=_spaced(sorted(packets.seconds(packets.times[key]) for key in packets.keys)),
            variable_rate=variable,
        )

    def _audio(self, stream: dict[str, Any]) -> AudioStream | None:
        packets = self._streams.get(stream["index"])
        rate, channels = integer(stream.get("sample_rate")), integer(stream.get("channels"))
        if packets is None or not packets.times or not rate or not channels:
            return None
        start = packets.first_shown()
        end = max(time + duration for time, duration in zip(packets.times, packets.durations, strict=True))
        return AudioStream(
            index=stream["index"],
            codec=stream.get("codec_name", ""),
            channels=channels,
            sample_rate=rate,
            language=stream.get("tags", {}).get("language", "und"),
            start=packets.seconds(start),
            duration=packets.seconds(end - start),
        )


def _first_packets(streams: dict[int, Packets], size: int) -> list[ByteRange]:
    """Return where the first packets of each stream lie: a demuxer looks into them before it does anything else."""
    first: list[tuple[int, int]] = []
    for packets in streams.values():
        taken = 0
        for place, span in enumerate(zip(packets.positions[:FIRST_PACKETS], packets.sizes, strict=False)):
            if place >= 2 and taken + span[1] > _FIRST_BYTES:
                break
            if 0 <= span[0] < size and span[1] > 0:
                first.append(span)
                taken += span[1]
    return _ranges(coalesce(first, 512))


def _complete(streams: dict[int, Packets], size: int) -> bool:
    """Tell whether the place of every packet is known. Raises MediaError when some lie beyond the end of the file."""
    for packets in streams.values():
        if any(position < 0 for position in packets.positions):
            return False
        ends = map(sum, zip(packets.positions, packets.sizes, strict=True))
        if max(ends, default=0) > size:
            raise MediaError(Reason.SOURCE_TRUNCATED, "the file ends before its media data")
    return True


def _index(streams: dict[int, Packets], always: Sequence[ByteRange]) -> SourceIndex:
    index = SourceIndex(always=always)
    for number, packets in sorted(streams.items()):
        scale = packets.time_base * 1_000_000
        up, down = scale.numerator, scale.denominator
        index.streams.append(
            StreamIndex(
                stream=number,
                times=[time * up // down for time in packets.times],
                positions=packets.positions,
                sizes=packets.sizes,
                keys=packets.keys,
            )
        )
    return index


def _shown(stream: dict[str, Any]) -> tuple[int, int]:
    """Return width and height as shown: square pixels, then rotated."""
    width, height = integer(stream.get("width")), integer(stream.get("height"))
    aspect = fraction(str(stream.get("sample_aspect_ratio", "")).replace(":", "/"))
    if aspect and Fraction(1, 16) < aspect < 16:
        width = round(width * aspect)
    rotation = next((side["rotation"] for side in stream.get("side_data_list", []) if "rotation" in side), 0)
    return (height, width) if round(float(rotation)) % 180 == 90 else (width, height)


def _spaced(times: Iterable[float]) -> list[float]:
    """Thin key frames out to two a second: an intra-only film has hundreds of thousands."""
    kept: list[float] = []
    for time in times:
        if not kept or time >= kept[-1] + _KEY_SPACING:
            kept.append(time)
    return kept


def _ranges(spans: Iterable[tuple[int, int]]) -> list[ByteRange]:
    return [ByteRange(offset=offset, size=size) for offset, size in spans]
