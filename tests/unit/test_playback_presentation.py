from __future__ import annotations

from fractions import Fraction

from playback_fakes import index

from reelmesh.playback.presentation import Picture, Sound, from_proto


def test_a_presentation_is_read_from_its_index() -> None:
    presentation = from_proto(index(3))
    picture, _, sound = presentation.tracks
    assert picture.format == Picture(1920, 1080, Fraction(24000, 1001))
    assert sound.format == Sound(2, 48000)
    assert sound.language == ""
    assert [segment.number for segment in picture.segments] == [0, 1, 2]
    assert picture.end == Fraction(48048 + 2 * 96096, 24000)
    assert presentation.segment_count == 9
    assert presentation.track("v360") is presentation.tracks[1]
    assert presentation.track("v9") is None


def test_only_what_is_there_from_the_start_is_listed() -> None:
    made = index(5)
    del made.tracks[0].segments[3]
    made.tracks[1].segments[2].start += 1  # a gap in time
    del made.tracks[2].segments[0]
    presentation = from_proto(made)
    assert [(track.id, len(track.segments)) for track in presentation.tracks] == [("v1080", 3), ("v360", 2)]


def test_what_grows_has_no_more_sound_than_picture() -> None:
    made = index(6)
    del made.tracks[0].segments[2:]
    del made.tracks[1].segments[3:]
    presentation = from_proto(made)
    assert [len(track.segments) for track in presentation.tracks] == [2, 3, 2]
    made.complete = True
    assert [len(track.segments) for track in from_proto(made).tracks] == [2, 3, 6]


def test_a_first_segment_of_sound_is_listed_however_long() -> None:
    made = index(1)
    made.tracks[2].segments[0].duration = 48000 * 10
    assert [len(track.segments) for track in from_proto(made).tracks] == [1, 1, 1]


def test_sound_alone_is_listed_whole() -> None:
    assert [len(track.segments) for track in from_proto(index(4, heights=())).tracks] == [4]


def test_a_track_without_a_codec_or_a_segment_is_left_out() -> None:
    made = index(2)
    made.tracks[0].track.codec = ""
    del made.tracks[1].segments[:]
    assert [track.id for track in from_proto(made).tracks] == ["a0"]


def test_the_average_is_measured() -> None:
    track = from_proto(index(4)).tracks[2]
    size = sum(segment.size for segment in track.segments)
    assert track.average_bitrate == -(-size * 8 * 48000 // sum(segment.duration for segment in track.segments))


def test_the_peak_is_at_least_that_of_any_whole_segment() -> None:
    made = index(6)
    made.tracks[0].segments[3].size *= 3
    presentation = from_proto(made)
    for track in presentation.tracks:
        peak = track.peak_bitrate(presentation.target_duration)
        for segment in track.segments:
            assert peak * segment.duration >= segment.size * 8 * track.timescale
        assert peak >= track.average_bitrate


def test_a_last_segment_of_a_few_frames_is_measured_with_its_neighbor() -> None:
    presentation = from_proto(index(6, tail=True, complete=True))
    track = presentation.tracks[0]
    alone = track.segments[-1].size * 8 * track.timescale / track.segments[-1].duration
    both = (track.segments[-1].size + track.segments[-2].size) * 8 * track.timescale
    together = both / (track.segments[-1].duration + track.segments[-2].duration)
    assert together <= track.peak_bitrate(4) < alone


def test_what_the_encoder_declared_counts() -> None:
    made = index(2)
    made.tracks[0].track.peak_bitrate = 50_000_000
    assert from_proto(made).tracks[0].peak_bitrate(4) == 50_000_000


def test_a_presentation_of_one_frame_has_bitrates() -> None:
    made = index(1, languages=())
    for entry in made.tracks:
        entry.segments[0].duration = 1001
    track = from_proto(made).tracks[0]
    assert track.peak_bitrate(4) == track.average_bitrate > 0


def test_the_target_duration_never_changes() -> None:
    # 2.002 s come first, then 4.004 s: rounded, as the protocol has it, both fit.
    assert {from_proto(index(n)).target_duration for n in range(1, 9)} == {4}
    slow = index(1)
    slow.tracks[0].segments[0].duration = 24000 * 7
    assert from_proto(slow).target_duration == 7
