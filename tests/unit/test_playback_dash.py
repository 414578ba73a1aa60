from __future__ import annotations

import base64
from datetime import UTC, datetime
from fractions import Fraction
from uuid import UUID

import pytest
from lxml import etree
from media_fakes import PSSH, digest
from playback_fakes import PREFIX, index

from reelmesh.playback import dash
from reelmesh.playback.presentation import from_proto
from reelmesh.transcode.v1.segment_index_pb2 import SegmentIndex

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
NS = {"m": dash.NAMESPACE}


def mpd(made: SegmentIndex) -> etree._Element:
    return etree.fromstring(dash.mpd(from_proto(made), "/media", "?token=t", NOW))


def find(root: etree._Element, path: str) -> list[etree._Element]:
    return root.findall(path, NS)


def timeline(representation: etree._Element) -> list[tuple[int, int]]:
    """The start and duration of every segment that a timeline stands for."""
    found: list[tuple[int, int]] = []
    position = 0
    for entry in find(representation, ".//m:S"):
        position = int(entry.get("t", position))
        for _ in range(int(entry.get("r", 0)) + 1):
            found.append((position, int(entry.attrib["d"])))
            position += int(entry.attrib["d"])
    return found


def test_a_growing_presentation_is_dynamic() -> None:
    root = mpd(index(3))
    assert root.get("type") == "dynamic"
    assert root.get("minimumUpdatePeriod") == "PT1S"
    assert root.get("availabilityStartTime") == "1970-01-01T00:00:00Z"
    assert root.get("publishTime") == "2026-01-01T12:00:00.000000Z"
    assert root.get("mediaPresentationDuration") is None


def test_a_complete_presentation_is_static() -> None:
    made = index(3, complete=True)
    root = mpd(made)
    assert root.get("type") == "static"
    assert {"minimumUpdatePeriod", "availabilityStartTime", "publishTime"} & set(root.attrib) == set()
    duration = Fraction(str(root.attrib["mediaPresentationDuration"]).removeprefix("PT").removesuffix("S"))
    end = max(track.end for track in from_proto(made).tracks)
    assert 0 <= duration - end < Fraction(1, 1_000_000)


def test_sets_and_representations() -> None:
    root = mpd(index(3))
    picture, sound = find(root, "m:Period/m:AdaptationSet")
    assert (picture.get("contentType"), picture.get("mimeType")) == ("video", "video/mp4")
    assert (sound.get("contentType"), sound.get("mimeType"), sound.get("lang")) == ("audio", "audio/mp4", None)
    for adaptation in (picture, sound):
        assert adaptation.get("segmentAlignment") == "true"
        assert adaptation.get("startWithSAP") == "1"
    best, _ = find(picture, "m:Representation")
    assert {key: best.get(key) for key in best.keys()} == {  # noqa: SIM118, an element is no mapping
        "id": "v1080",
        "codecs": "avc1.64001f",
        "bandwidth": str(from_proto(index(3)).tracks[0].peak_bitrate(4)),
        "width": "1920",
        "height": "1080",
        "frameRate": "24000/1001",
    }
    (voice,) = find(sound, "m:Representation")
    assert voice.get("audioSamplingRate") == "48000"
    (channels,) = find(voice, "m:AudioChannelConfiguration")
    assert channels.get("value") == "2"


def test_ids_are_unique_and_order_is_that_of_the_schema() -> None:
    root = mpd(index(3, languages=("en", "de")))
    ids = [element.get("id") for element in find(root, ".//m:Representation")]
    assert len(set(ids)) == len(ids) == 4
    assert [a.get("lang") for a in find(root, "m:Period/m:AdaptationSet")] == [None, "en", "de"]
    for representation in find(root, ".//m:Representation"):
        assert etree.QName(representation[-1]).localname == "SegmentTemplate"


@pytest.mark.parametrize("segments", [1, 2, 6])
def test_the_timeline_is_that_of_the_segments(segments: int) -> None:
    made = index(segments, tail=segments == 6)
    root = mpd(made)
    for track in from_proto(made).tracks:
        (representation,) = find(root, f".//m:Representation[@id='{track.id}']")
        (template,) = find(representation, "m:SegmentTemplate")
        assert timeline(representation) == [(segment.start, segment.duration) for segment in track.segments]
        assert template.get("timescale") == str(track.timescale)
        assert template.get("startNumber") == "0"
        assert template.get("media") == f"/media/{PREFIX}/$RepresentationID$/$Number%05d$.m4s?token=t"
        assert template.get("initialization") == f"/media/{PREFIX}/$RepresentationID$/init.mp4?token=t"


def test_equal_durations_are_one_run() -> None:
    (representation,) = find(mpd(index(9)), ".//m:Representation[@id='v1080']")
    assert [dict(s.attrib) for s in find(representation, ".//m:S")] == [
        {"t": "0", "d": "48048"},
        {"d": "96096", "r": "7"},
    ]


def test_manifests_only_grow() -> None:
    stages = [index(n) for n in range(1, 8)] + [index(7, complete=True)]
    before: dict[str, list[tuple[int, int]]] = {}
    for stage in stages:
        now = {str(r.get("id")): timeline(r) for r in find(mpd(stage), ".//m:Representation")}
        assert now.keys() >= before.keys()
        for id_, segments in before.items():
            assert now[id_][: len(segments)] == segments
        before = now


@pytest.mark.parametrize("scheme", ["cbcs", "cenc"])
def test_a_protected_set_has_one_key(scheme: str) -> None:
    root = mpd(index(3, heights=(1080, 720, 480, 360), scheme=scheme))
    sets = find(root, "m:Period/m:AdaptationSet")
    assert [[each.get("id") for each in find(one, "m:Representation")] for one in sets] == [
        ["v1080", "v720"],
        ["v480", "v360"],
        ["a0"],
    ]
    for one, label in zip(sets, ("HD", "SD", "AUDIO"), strict=True):
        first, *systems = find(one, "m:ContentProtection")
        assert (first.get("schemeIdUri"), first.get("value")) == ("urn:mpeg:dash:mp4protection:2011", scheme)
        assert first.get("{urn:mpeg:cenc:2013}default_KID") == str(UUID(bytes=digest(label)))
        boxes = {each.get("schemeIdUri"): base64.b64decode(each[0].text or "") for each in systems}
        assert boxes == {
            "urn:uuid:e2719d58-a985-b3c9-781a-b030af78d30e": PSSH[0],
            "urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed": PSSH[1],
            "urn:uuid:9a04f079-9840-4286-ab92-e65be0885f95": PSSH[2],
        }
        assert all(each[0].tag == "{urn:mpeg:cenc:2013}pssh" for each in systems)


def test_sets_of_one_picture_may_be_switched_between() -> None:
    root = mpd(index(3, heights=(2160, 1080, 480), scheme="cbcs"))
    sets = find(root, "m:Period/m:AdaptationSet")
    switching = [[each.get("value") for each in find(one, "m:SupplementalProperty")] for one in sets]
    assert switching == [["1,2"], ["0,2"], ["0,1"], []]
    assert all(one[0].tag.endswith("}ContentProtection") for one in sets), "the schema's order"


def test_a_clear_presentation_names_no_protection() -> None:
    text = dash.mpd(from_proto(index(3)), "/media", "", NOW).decode()
    assert "ContentProtection" not in text
    assert "cenc" not in text
    assert len(find(mpd(index(3)), "m:Period/m:AdaptationSet")) == 2
