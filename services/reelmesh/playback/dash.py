"""The DASH MPD (ISO/IEC 23009-1) of a presentation: dynamic while it grows, static once it is complete."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any
from urllib.parse import quote

from lxml import etree

from reelmesh.playback.presentation import Picture, Presentation, Segment, Sound, Track
from reelmesh.playback.protection import COMMON, Protection

CONTENT_TYPE = "application/dash+xml"
NAMESPACE = "urn:mpeg:dash:schema:mpd:2011"
PROFILES = "urn:mpeg:dash:profile:isoff-live:2011"
CHANNELS = "urn:mpeg:dash:23003:3:audio_channel_configuration:2011"
CENC = "urn:mpeg:cenc:2013"
MP4_PROTECTION = "urn:mpeg:dash:mp4protection:2011"
CLEAR_KEY = "urn:uuid:e2719d58-a985-b3c9-781a-b030af78d30e"
"""DASH-IF's name of Clear Key; what it needs is W3C's common box."""
SWITCHING = "urn:mpeg:dash:adaptation-set-switching:2016"
"""Names the sets that a player may switch to without a seam: the same picture under other keys."""
AVAILABLE_SINCE = "1970-01-01T00:00:00Z"
"""So long ago that every listed segment is available, whatever the player's clock says. It must never change."""


def mpd(presentation: Presentation, media_url: str, query: str, published: datetime) -> bytes:
    """Write the manifest.

    `media_url` is where the media store is served, without a slash at the end; `query` ends every address; `published`
    is when this state of a growing presentation was first seen.
    """
    namespaces: Any = {None: NAMESPACE}  # the stubs know no default namespace
    if presentation.protected:
        namespaces["cenc"] = CENC
    root = etree.Element("MPD", nsmap=namespaces, profiles=PROFILES, minBufferTime="PT4S")
    if presentation.complete:
        root.set("type", "static")
        root.set("mediaPresentationDuration", _duration(max(track.end for track in presentation.tracks)))
    else:
        root.set("type", "dynamic")
        root.set("availabilityStartTime", AVAILABLE_SINCE)
        root.set("publishTime", published.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
        root.set("minimumUpdatePeriod", "PT1S")
    period = etree.SubElement(root, "Period", id="0", start="PT0S")
    folder = f"{media_url}/{quote(presentation.prefix)}"
    target = presentation.target_duration
    sets = [("video", "", tracks) for tracks in _by_key(presentation.videos)]
    pictures = [str(place) for place in range(len(sets))]
    sets += [("audio", language, tracks) for language, tracks in _by_language(presentation.audios).items()]
    for place, (kind, language, tracks) in enumerate(sets):
        adaptation = etree.SubElement(
            period,
            "AdaptationSet",
            id=str(place),
            contentType=kind,
            mimeType=f"{kind}/mp4",
            segmentAlignment="true",
            startWithSAP="1",
        )
        if language:
            adaptation.set("lang", language)
        for element in _protections(tracks[0].protection):
            adaptation.append(element)
        others = [id_ for id_ in pictures if id_ != str(place)]
        if kind == "video" and others:
            etree.SubElement(adaptation, "SupplementalProperty", schemeIdUri=SWITCHING, value=",".join(others))
        for track in tracks:
            adaptation.append(_representation(track, folder, query, target))
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)


def _by_key(tracks: Sequence[Track]) -> list[list[Track]]:
    """Return the tracks by their key: a set states one for all that is in it."""
    found: dict[Protection | None, list[Track]] = {}
    for track in tracks:
        found.setdefault(track.protection, []).append(track)
    return list(found.values())


def _protections(protection: Protection | None) -> Iterator[etree._Element]:
    """Say which key is needed, and give every key system its box."""
    if protection is None:
        return
    common = etree.Element("ContentProtection", schemeIdUri=MP4_PROTECTION, value=protection.scheme)
    common.set(f"{{{CENC}}}default_KID", str(protection.key_id))
    yield common
    for system, box in protection.boxes.items():
        name = CLEAR_KEY if system == COMMON else f"urn:uuid:{system}"
        element = etree.Element("ContentProtection", schemeIdUri=name)
        etree.SubElement(element, f"{{{CENC}}}pssh").text = base64.b64encode(box).decode()
        yield element


def _by_language(tracks: Sequence[Track]) -> dict[str, list[Track]]:
    """Return the tracks by language: those of one set are the same sound in different quality."""
    found: dict[str, list[Track]] = {}
    for track in tracks:
        found.setdefault(track.language, []).append(track)
    return found


def _representation(track: Track, folder: str, query: str, target: int) -> etree._Element:
    representation = etree.Element(
        "Representation", id=track.id, codecs=track.codec, bandwidth=str(track.peak_bitrate(target))
    )
    match track.format:
        case Picture(width, height, rate):
            representation.set("width", str(width))
            representation.set("height", str(height))
            if rate:
                representation.set("frameRate", str(rate))
        case Sound(channels, sample_rate):
            representation.set("audioSamplingRate", str(sample_rate))
            etree.SubElement(representation, "AudioChannelConfiguration", schemeIdUri=CHANNELS, value=str(channels))
    template = etree.SubElement(
        representation,
        "SegmentTemplate",
        timescale=str(track.timescale),
        startNumber="0",
        initialization=f"{folder}/$RepresentationID$/init.mp4{query}",
        media=f"{folder}/$RepresentationID$/$Number%05d$.m4s{query}",
    )
    template.append(_timeline(track.segments))
    return representation


def _timeline(segments: Sequence[Segment]) -> etree._Element:
    """Write the segments as runs of one duration."""
    timeline = etree.Element("SegmentTimeline")
    entry: etree._Element | None = None
    duration = repeats = -1
    for segment in segments:
        if entry is not None and segment.duration == duration:
            repeats += 1
            entry.set("r", str(repeats))
            continue
        entry = etree.SubElement(timeline, "S")
        if segment.number == 0:
            entry.set("t", str(segment.start))
        entry.set("d", str(segment.duration))
        duration, repeats = segment.duration, 0
    return timeline


def _duration(seconds: Fraction) -> str:
    """Write a duration, rounded up to the microsecond: rounded down it would cut off the last frame."""
    microseconds = -(-seconds.numerator * 1_000_000 // seconds.denominator)
    return f"PT{microseconds // 1_000_000}.{microseconds % 1_000_000:06d}S"
