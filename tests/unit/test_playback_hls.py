from __future__ import annotations

import base64
from typing import Any

import m3u8
import pytest
from media_fakes import PSSH, digest
from playback_fakes import PREFIX, index

from reelmesh.playback import hls
from reelmesh.playback.presentation import from_proto
from reelmesh.transcode.v1.segment_index_pb2 import SegmentIndex

QUERY = "?token=t"


def media(made: SegmentIndex, track_id: str = "v1080", media_url: str = "/media") -> str:
    presentation = from_proto(made)
    track = presentation.track(track_id)
    assert track is not None
    return hls.media(presentation, track, media_url, QUERY)


def test_variants_name_what_they_need() -> None:
    presentation = from_proto(index(4))
    text = hls.multivariant(presentation, QUERY)
    playlist = m3u8.loads(text)
    assert playlist.is_variant
    assert playlist.is_independent_segments
    assert "#EXT-X-VERSION:7" in text.splitlines()
    assert [variant.uri for variant in playlist.playlists] == [f"v1080/index.m3u8{QUERY}", f"v360/index.m3u8{QUERY}"]
    sound = presentation.audios[0]
    for variant, track in zip(playlist.playlists, presentation.videos, strict=True):
        info = variant.stream_info
        assert info.codecs == "avc1.64001f,mp4a.40.2"
        assert info.frame_rate == 23.976
        assert info.audio == "audio-mp4a"
        assert info.bandwidth == track.peak_bitrate(4) + sound.peak_bitrate(4)
        assert info.average_bandwidth == track.average_bitrate + sound.average_bitrate
        assert info.average_bandwidth <= info.bandwidth
        for segment in track.segments:
            assert info.bandwidth > segment.size * 8 * track.timescale / segment.duration
    assert playlist.playlists[0].stream_info.resolution == (1920, 1080)
    (entry,) = playlist.media
    assert (entry.type, entry.group_id, entry.uri, entry.channels) == (
        "AUDIO",
        "audio-mp4a",
        "a0/index.m3u8?token=t",
        "2",
    )
    assert (entry.default, entry.autoselect, entry.language) == ("YES", "YES", None)


def test_a_video_without_sound_has_no_group() -> None:
    playlist = m3u8.loads(hls.multivariant(from_proto(index(2, languages=())), QUERY))
    assert not playlist.media
    assert [variant.stream_info.audio for variant in playlist.playlists] == [None, None]
    assert playlist.playlists[0].stream_info.codecs == "avc1.64001f"


def test_sound_without_a_picture_is_a_variant() -> None:
    playlist = m3u8.loads(hls.multivariant(from_proto(index(2, heights=())), QUERY))
    (variant,) = playlist.playlists
    assert (variant.uri, variant.stream_info.codecs, variant.stream_info.resolution) == (
        "a0/index.m3u8?token=t",
        "mp4a.40.2",
        None,
    )
    assert not playlist.media


def test_languages_have_names_of_their_own() -> None:
    playlist = m3u8.loads(hls.multivariant(from_proto(index(2, languages=("en", "de", "en"))), QUERY))
    assert [(m.name, m.language, m.default) for m in playlist.media] == [
        ("en a0", "en", "YES"),
        ("de", "de", "NO"),
        ("en a2", "en", "NO"),
    ]
    assert len(playlist.playlists) == 2


def test_each_codec_of_sound_has_its_variants() -> None:
    made = index(2, languages=("en", "en"))
    made.tracks[-1].track.codec = "opus"
    playlist = m3u8.loads(hls.multivariant(from_proto(made), QUERY))
    assert {(v.uri, v.stream_info.codecs, v.stream_info.audio) for v in playlist.playlists} == {
        (f"{id_}/index.m3u8{QUERY}", f"avc1.64001f,{codec}", group)
        for id_ in ("v1080", "v360")
        for codec, group in (("mp4a.40.2", "audio-mp4a"), ("opus", "audio-opus"))
    }


def test_a_growing_playlist_is_an_event() -> None:
    text = media(index(3))
    lines = text.splitlines()
    assert lines[0] == "#EXTM3U"
    assert "#EXT-X-VERSION:7" in lines
    assert "#EXT-X-INDEPENDENT-SEGMENTS" in lines
    assert "#EXT-X-TARGETDURATION:4" in lines
    assert "#EXT-X-PLAYLIST-TYPE:EVENT" in lines
    assert "#EXT-X-START:TIME-OFFSET=0.0,PRECISE=YES" in lines
    assert "#EXT-X-ENDLIST" not in lines
    playlist = m3u8.loads(text)
    assert playlist.media_sequence == 0
    assert [segment.uri for segment in playlist.segments] == [
        f"/media/{PREFIX}/v1080/{number:05d}.m4s{QUERY}" for number in range(3)
    ]
    assert playlist.segment_map[0].uri == f"/media/{PREFIX}/v1080/init.mp4{QUERY}"
    assert [segment.duration for segment in playlist.segments] == [2.002, 4.004, 4.004]


def test_a_complete_playlist_is_vod() -> None:
    lines = media(index(3, complete=True)).splitlines()
    assert "#EXT-X-PLAYLIST-TYPE:VOD" in lines
    assert lines[-1] == "#EXT-X-ENDLIST"
    assert not any(line.startswith("#EXT-X-START") for line in lines)


@pytest.mark.parametrize("track", ["v1080", "v360", "a0"])
def test_playlists_only_grow(track: str) -> None:
    stages = [index(n) for n in range(1, 8)] + [index(7, complete=True)]
    before: list[str] = []
    for stage in stages:
        text = media(stage, track)
        lines = [line for line in text.splitlines() if "TARGETDURATION" in line or not line.startswith("#EXT-X")]
        assert lines[: len(before)] == before
        before = lines
        playlist: Any = m3u8.loads(text)
        for segment in playlist.segments:
            assert round(segment.duration) <= playlist.target_duration


def test_segments_may_lie_elsewhere() -> None:
    text = media(index(1), media_url="https://cdn.example.com/m")
    assert f'#EXT-X-MAP:URI="https://cdn.example.com/m/{PREFIX}/v1080/init.mp4{QUERY}"' in text
    assert f"https://cdn.example.com/m/{PREFIX}/v1080/00000.m4s{QUERY}" in text


@pytest.mark.parametrize(("scheme", "method"), [("cbcs", "SAMPLE-AES"), ("cenc", "SAMPLE-AES-CTR")])
def test_a_protected_playlist_names_its_key_for_every_key_system(scheme: str, method: str) -> None:
    presentation = from_proto(index(3, scheme=scheme))
    text = hls.media(presentation, presentation.tracks[1], "/media", "")
    found = [key for key in m3u8.loads(text).keys if key]
    assert {key.method for key in found} == {method}
    uris = {key.keyformat: key.uri for key in found}
    fairplay = uris.pop("com.apple.streamingkeydelivery", None)
    assert fairplay == (f"skd://{digest('SD').hex()}" if scheme == "cbcs" else None)
    assert {name: base64.b64decode((uri or "").rpartition(",")[2]) for name, uri in uris.items()} == {
        "urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed": PSSH[1],
        "com.microsoft.playready": b"playready",  # the object without its box
        "identity": digest("SD"),
    }
    assert found[-1].keyformat == "identity", "what holds no key comes last"
    assert text.index("#EXT-X-KEY") < text.index("#EXT-X-MAP") < text.index("#EXTINF")
    assert text.count("#EXT-X-KEY") == len(found), "said once for all segments"


def test_the_multivariant_playlist_names_every_key_that_has_licenses() -> None:
    text = hls.multivariant(from_proto(index(3, scheme="cbcs")), "")
    found = [key for key in m3u8.loads(text).session_keys if key]
    assert "identity" not in {key.keyformat for key in found}
    wanted = [f"skd://{digest(label).hex()}" for label in ("HD", "SD", "AUDIO")]
    assert [key.uri for key in found if key.keyformat == "com.apple.streamingkeydelivery"] == wanted


def test_a_clear_presentation_names_no_key() -> None:
    presentation = from_proto(index(3))
    assert "KEY" not in hls.multivariant(presentation, "") + hls.media(presentation, presentation.tracks[0], "/m", "")
