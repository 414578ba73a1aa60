from __future__ import annotations

from typing import Any

import m3u8
import pytest
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
