"""HLS playlists (RFC 8216) of a presentation: EVENT while it grows, VOD once it is complete."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from urllib.parse import quote

import m3u8
from m3u8.model import InitializationSection, Key, Media, MediaList, SessionKey, Start
from m3u8.model import Playlist as Variant
from m3u8.model import Segment as ListedSegment

from reelmesh.playback.presentation import Picture, Presentation, Sound, Track
from reelmesh.playback.protection import PLAYREADY, WIDEVINE, Protection, data_of

CONTENT_TYPE = "application/vnd.apple.mpegurl"
METHODS = {"cbcs": "SAMPLE-AES", "cenc": "SAMPLE-AES-CTR"}
VERSION = "7"
"""Of the protocol: what EXT-X-MAP in a playlist of fragmented MP4 asks for."""


def multivariant(presentation: Presentation, query: str) -> str:
    """Write the playlist that names the others. Their addresses are relative to it: ``{track}/index.m3u8{query}``."""
    playlist = m3u8.M3U8()
    playlist.version = VERSION
    playlist.is_independent_segments = True
    playlist.is_variant = True
    for protection in dict.fromkeys(track.protection for track in presentation.tracks if track.protection):
        for fields in _systems(protection):
            playlist.session_keys.append(SessionKey(**fields))  # so that licenses are there before the segments
    groups = _audio_groups(presentation)
    target = presentation.target_duration
    for group, tracks in groups.items():
        for entry in _media(group, tracks, query):
            playlist.add_media(entry)
    if not presentation.videos:
        for track in presentation.audios:
            playlist.add_playlist(_variant(track, "", (), MediaList(), target, query))
    for track in presentation.videos:
        for group, sounds in groups.items() or [("", [])]:
            named = MediaList(entry for entry in playlist.media if entry.group_id == group)
            playlist.add_playlist(_variant(track, group, sounds, named, target, query))
    return str(playlist.dumps())


def media(presentation: Presentation, track: Track, media_url: str, query: str) -> str:
    """Write the playlist of one track.

    `media_url` is where the media store is served, without a slash at the end; `query` ends every address.
    """
    playlist = m3u8.M3U8()
    playlist.version = VERSION
    playlist.is_independent_segments = True
    playlist.target_duration = presentation.target_duration
    playlist.playlist_type = "VOD" if presentation.complete else "EVENT"
    playlist.is_endlist = presentation.complete
    if not presentation.complete:
        # A player of something that grows would begin near its end; a film begins at its beginning.
        playlist.start = Start(0, "YES")
    folder = f"{media_url}/{quote(presentation.prefix)}/{track.id}"
    init = InitializationSection("", f"{folder}/init.mp4{query}")
    keys = _Keys(track.protection) if track.protection else None
    for segment in track.segments:
        listed = ListedSegment(
            uri=f"{folder}/{segment.number:05d}.m4s{query}",
            duration=segment.duration / track.timescale,
            init_section=None,
        )
        listed.init_section = init
        listed.key = keys
        playlist.segments.append(listed)
    return str(playlist.dumps(infspec="microseconds"))


class _Keys(Key):
    """The EXT-X-KEY lines of a track, one for each key system; the library knows one for each segment."""

    def __init__(self, protection: Protection) -> None:
        fields = [*_systems(protection), _identity(protection)]
        super().__init__(**fields[0])
        self._lines = [str(Key(**each)) for each in fields]

    def __str__(self) -> str:
        return "\n".join(self._lines)


def _systems(protection: Protection) -> list[dict[str, str]]:
    """Return the attributes of a key for each key system that has licenses."""
    found = []
    if box := protection.boxes.get(WIDEVINE):
        found.append(_key(protection, f"urn:uuid:{WIDEVINE}", f"data:text/plain;base64,{_base64(box)}"))
    if box := protection.boxes.get(PLAYREADY):
        uri = f"data:text/plain;charset=UTF-16;base64,{_base64(data_of(box))}"
        found.append(_key(protection, "com.microsoft.playready", uri))
    if protection.scheme == "cbcs":  # the only one that FairPlay knows
        found.append(_key(protection, "com.apple.streamingkeydelivery", f"skd://{protection.key_id.hex}"))
    return found


def _identity(protection: Protection) -> dict[str, str]:
    """Return the attributes of a key for players that have Clear Key only.

    No address gives the key itself: what stands there is its id, by which a player asks its license server.
    """
    return _key(protection, "identity", f"data:text/plain;base64,{_base64(protection.key_id.bytes)}")


def _key(protection: Protection, keyformat: str, uri: str) -> dict[str, str]:
    return {
        "method": METHODS[protection.scheme],
        "base_uri": "",
        "uri": uri,
        "keyformat": keyformat,
        "keyformatversions": "1",
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _audio_groups(presentation: Presentation) -> dict[str, list[Track]]:
    """Return the sound tracks by group. A variant names the codecs of all it may play, so a group has one codec."""
    if not presentation.videos:
        return {}
    groups: dict[str, list[Track]] = {}
    for track in presentation.audios:
        groups.setdefault("audio-" + track.codec.partition(".")[0], []).append(track)
    return groups


def _media(group: str, tracks: Sequence[Track], query: str) -> list[Media]:
    names = Counter(track.language for track in tracks)
    found = []
    for place, track in enumerate(tracks):
        name = track.language or "Audio"
        if names[track.language] > 1:
            name = f"{name} {track.id}"
        found.append(
            Media(
                uri=f"{track.id}/index.m3u8{query}",
                type="AUDIO",
                group_id=group,
                language=track.language or None,
                name=name,
                default="YES" if place == 0 else "NO",
                autoselect="YES",
                channels=str(track.format.channels) if isinstance(track.format, Sound) else None,
            )
        )
    return found


def _variant(track: Track, group: str, sounds: Sequence[Track], named: MediaList, target: int, query: str) -> Variant:
    codecs = dict.fromkeys([track.codec, *(sound.codec for sound in sounds)])
    info = {
        # The dearest sound counts: a player may choose it with any picture.
        "bandwidth": track.peak_bitrate(target) + max((sound.peak_bitrate(target) for sound in sounds), default=0),
        "average_bandwidth": track.average_bitrate + max((sound.average_bitrate for sound in sounds), default=0),
        "codecs": ",".join(codecs),
    }
    if isinstance(track.format, Picture):
        info["resolution"] = f"{track.format.width}x{track.format.height}"
        if track.format.frame_rate:
            info["frame_rate"] = float(track.format.frame_rate)
    if group:
        info["audio"] = group
    return Variant(f"{track.id}/index.m3u8{query}", info, named, "")
