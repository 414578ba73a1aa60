"""Encodes: a chunk of the picture into every rendition, and a whole sound stream.

Every option stands beside its reason. Source times are shifted so that the presentation begins at 0.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from reelmesh.worker.errors import MediaError, Reason
from reelmesh.worker.package import InitSegment, PackagedSegment, SoundStream
from reelmesh.worker.sandbox import Invocation, Limits, Sandbox, ToolError, ToolTimeout
from reelmesh.worker.v1.task_pb2 import AudioWork, VideoRendition, VideoWork

_LOG = logging.getLogger(__name__)
_AAC_PRIMING = 1024
"""Samples that ffmpeg's AAC encoder puts before the first one of its input."""
_SPARE_SECONDS = 5.0
"""How much of a sparse source is read behind what a chunk needs, at most."""
_BUFFER_SECONDS = 0.6
"""Size of the rate buffer. Small, so that no segment's bitrate is far above the ceiling."""
_STABLE_OUTPUT = (
    "-map_metadata", "-1",  # titles and places of the source are the catalog's business
    "-map_chapters", "-1",
    "-fflags", "+bitexact",  # no version of the muxer in the init segment: chunks of two releases agree
)  # fmt: skip


@dataclass(frozen=True)
class EncodeSettings:
    """What an operator may choose."""

    preset: str = "veryfast"
    """Preset of x264."""
    first_chunk_preset: str = "superfast"
    """Preset for the chunk that playback waits for: a quarter less work for 4 % more bits. It must write the same
    headers as `preset`, or the init segments of the chunks differ; superfast and veryfast do, ultrafast does not."""
    threads: int = 1
    """Threads of the decoder, the filters and each encoder: one, as there are as many workers as processors. With more,
    x264's rate buffer does not give the same bytes every time, and a repeated task should."""
    first_chunk_threads: int = 2
    """Threads of the decoder and the filters for the first chunk, while the other workers have nothing to do yet."""


class Encoder:
    """Runs ffmpeg for the tasks."""

    def __init__(self, sandbox: Sandbox, limits: Limits, settings: EncodeSettings) -> None:
        self._sandbox = sandbox
        self._limits = limits
        self._settings = settings

    async def picture(self, work: VideoWork, source: Path, scratch: Path) -> list[Path]:
        """Encode a chunk; return one fragmented MP4 per rendition, in their order. Raises MediaError."""
        paths = [scratch / f"{rendition.track}.mp4" for rendition in work.renditions]
        limits = self._limits
        if work.ranges:  # a hole of a sparse file is no reason to read on
            end = work.origin + float((work.first_frame + work.frames) / _rate(work))
            limits = replace(limits, media_seconds=end - max(work.origin, work.seek) + _SPARE_SECONDS)
        invocation = Invocation("ffmpeg", source, scratch, self._input(work), self._output(work, paths), limits)
        try:
            await self._sandbox.run(invocation)
        except (ToolError, ToolTimeout) as error:
            raise _failed(error) from error
        return paths

    def _threads(self, work: VideoWork) -> str:
        return str(self._settings.first_chunk_threads if work.first_segment == 0 else self._settings.threads)

    def _input(self, work: VideoWork) -> list[str]:
        options = [
            "-threads", self._threads(work),  # of the decoder
            "-copyts",  # times stay the source's, so that every chunk counts on one clock
            "-an", "-sn", "-dn",  # not even demuxed
        ]  # fmt: skip
        if work.seek > work.origin:
            options += [
                "-seek_timestamp", "1",  # in source time, not behind the container's start
                "-noaccurate_seek",  # what comes too early is trimmed by presentation time below
                "-ss", f"{work.seek:.6f}",
            ]  # fmt: skip
        return options

    def _output(self, work: VideoWork, paths: list[Path]) -> list[str]:
        line = ["-filter_complex_threads", self._threads(work), "-filter_complex", self._graph(work)]
        for place, (rendition, path) in enumerate(zip(work.renditions, paths, strict=True)):
            line += ["-map", f"[out{place}]", *self._codec(work, rendition), *self._muxer(work), str(path)]
        return line

    @staticmethod
    def _graph(work: VideoWork) -> str:
        """Decode once, make the chunk's frames, scale from rung to rung: half the cost of scaling each from the top."""
        rate = f"{work.frame_rate.numerator}/{work.frame_rate.denominator}"
        end = work.first_frame + work.frames
        chain = [
            f"setpts=PTS-round({work.origin!r}/TB)",  # the presentation begins at 0
            f"fps={rate}",  # one frame per place: fills what a variable rate leaves out
            # The last frame's length may be stated a frame too short.
            *(["tpad=stop=1:stop_mode=clone"] if work.last else []),
            f"trim=start_pts={work.first_frame}:end_pts={end}",  # by frame number: exact
            f"settb=1/{work.timescale}",  # in which a frame is a whole number of ticks
        ]
        graph = [f"[0:{work.stream}]{','.join(chain)}[in0]"]
        last = len(work.renditions) - 1
        for place, rendition in enumerate(work.renditions):
            scale = f"scale={rendition.width}:{rendition.height}:out_range=tv,setsar=1,format=yuv420p"
            fork = f",split[out{place}][in{place + 1}]" if place < last else f"[out{place}]"
            graph.append(f"[in{place}]{scale}{fork}")
        return ";".join(graph)

    def _codec(self, work: VideoWork, rendition: VideoRendition) -> list[str]:
        ceiling, first = rendition.max_bitrate, work.first_segment == 0
        return [
            "-c:v", "libx264",
            "-preset", self._settings.first_chunk_preset if first else self._settings.preset,
            "-threads", str(self._settings.threads),
            "-crf", f"{rendition.crf:g}",  # rate control restarts at each chunk: constant quality hardly shows it
            "-maxrate", str(ceiling), "-bufsize", str(round(ceiling * _BUFFER_SECONDS)),
            "-profile:v", "high",
            "-x264-params", ":".join((
                f"keyint={work.gop_frames}", f"min-keyint={work.gop_frames}",  # key frames where segments begin…
                "scenecut=0",  # …and nowhere else
                "open-gop=0",  # a segment needs no frame of the one before it
                "vbv-init=0.5",  # a chunk does not begin with a full buffer's worth of bits
                # What superfast leaves out costs little time, and twice the bits.
                *(("rc-lookahead=10", "mbtree=1") if first else ()),
            )),
            "-flags:v", "+bitexact",  # no version of the encoder in the stream
            "-fps_mode", "passthrough",  # the graph has made every frame that there is
        ]  # fmt: skip

    @staticmethod
    def _muxer(work: VideoWork) -> list[str]:
        return [
            *_STABLE_OUTPUT,
            "-avoid_negative_ts", "disabled",  # times are right as they are
            "-video_track_timescale", str(work.timescale),
            "-movflags", "+".join((
                "",
                "empty_moov",  # an init segment without samples; never delay_moov, which writes an edit list
                "default_base_moof",  # CMAF's way of counting positions
                "frag_keyframe",
                "frag_discont",  # keep the time of the first fragment instead of beginning at 0
                "negative_cts_offsets",  # without it (and with +cmaf) B-frames delay the picture against the sound
                "skip_trailer",
            )),
            "-f", "mp4",
        ]  # fmt: skip

    async def sound(
        self, work: AudioWork, source: Path, scratch: Path
    ) -> AsyncGenerator[tuple[InitSegment, PackagedSegment]]:
        """Encode a whole sound stream; yield each segment as soon as it is complete, with the init segment.

        Raises MediaError.
        """
        stream = SoundStream(first_seconds=work.segment_seconds_first, segment_seconds=work.segment_seconds)
        before = (
            "-copyts",  # times stay the source's
            "-drop_changed:a",  # damage can look like another layout, which would begin the chain below anew, at 0
            "1",
            "-vn",
            "-sn",
            "-dn",
        )
        invocation = Invocation("ffmpeg", source, scratch, before, self._sound_output(work), self._limits)
        try:
            async with self._sandbox.start(invocation) as pieces:
                async for piece in pieces:
                    for init, segment in stream.feed(piece):
                        yield init, segment
        except (ToolError, ToolTimeout) as error:
            raise _failed(error) from error
        for init, segment in stream.finish():
            yield init, segment

    @staticmethod
    def _sound_output(work: AudioWork) -> list[str]:
        rate = work.sample_rate
        samples = round(work.duration * rate)
        chain = (
            f"asetpts=PTS-round({work.origin!r}/TB)",  # the presentation begins at 0
            # Silence before a late start, a cut of an early one, and gaps filled, so that sound keeps to the picture.
            f"aresample={rate}:async=1:first_pts=0",
            "apad",  # silence after an early end…
            # …up to the picture's. The encoder puts its priming first: cutting as much off the start keeps sound and
            # picture in step without an edit list.
            f"atrim=start_sample={_AAC_PRIMING}:end_sample={samples}",
        )
        return [
            "-map", f"0:{work.stream}",
            "-af", ",".join(chain),
            "-ac", str(work.channels),
            "-c:a", "aac", "-b:a", str(work.bitrate),
            "-flags:a", "+bitexact",
            *_STABLE_OUTPUT,
            "-avoid_negative_ts", "disabled",
            "-movflags", "+empty_moov+default_base_moof+skip_trailer",
            "-frag_duration", "250000",  # microseconds; segments are cut from the packets, wherever fragments end
            "-flush_packets", "1",  # the first segment is waited for
            "-f", "mp4",
            "pipe:1",
        ]  # fmt: skip


def _rate(work: VideoWork) -> Fraction:
    return Fraction(work.frame_rate.numerator, work.frame_rate.denominator)


def _failed(error: ToolError | ToolTimeout) -> MediaError:
    _LOG.warning("%s", error)  # what the tool said names our folders: not for the uploader
    if isinstance(error, ToolTimeout):
        return MediaError(Reason.ENCODE_TIMEOUT, "the encoder took too long", retryable=True)
    return MediaError(Reason.ENCODE_FAILED, "the encoder failed", retryable=True)
