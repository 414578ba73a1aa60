"""Boxes of type pssh, taken apart by hand."""

from __future__ import annotations

import base64
import struct

import pytest
from lxml import etree

from reelmesh.drm.model import Scheme
from reelmesh.drm.pssh import COMMON, PLAYREADY, WIDEVINE, boxes, playready_key_id

KEY_ID = bytes.fromhex("00112233445566778899aabbccddeeff")


def test_common_lists_the_key() -> None:
    box = boxes(KEY_ID, Scheme.CBCS)[COMMON]
    # Size, type, version 1, system, one key id, no data: the layout of ISO/IEC 23001-7.
    expected = "00000034" + "70737368" + "01000000" + COMMON.hex + "00000001" + KEY_ID.hex() + "00000000"
    assert box.hex() == expected


@pytest.mark.parametrize(("scheme", "number"), [(Scheme.CBCS, 0x63626373), (Scheme.CENC, 0x63656E63)])
def test_widevine_data_is_a_message(scheme: Scheme, number: int) -> None:
    box = boxes(KEY_ID, scheme)[WIDEVINE]
    assert struct.unpack(">I4sI", box[:12]) == (len(box), b"pssh", 0)
    assert box[12:28] == WIDEVINE.bytes
    assert struct.unpack(">I", box[28:32]) == (len(box) - 32,)
    data = box[32:]
    assert data[:2] == b"\x12\x10"  # field 2, 16 bytes
    assert data[2:18] == KEY_ID
    assert data[18:19] == b"\x48"  # field 9, a number
    value = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(data[19:]))
    assert value == number


@pytest.mark.parametrize(("scheme", "algorithm"), [(Scheme.CBCS, "AESCBC"), (Scheme.CENC, "AESCTR")])
def test_playready_object_holds_a_header(scheme: Scheme, algorithm: str) -> None:
    box = boxes(KEY_ID, scheme)[PLAYREADY]
    assert struct.unpack(">I4sI", box[:12]) == (len(box), b"pssh", 0)
    data = box[32:]
    size, records, kind, length = struct.unpack("<IHHH", data[:10])
    assert (size, records, kind, length) == (len(data), 1, 1, len(data) - 10)
    header = etree.fromstring(data[10:].decode("utf-16-le"))
    namespace = "{http://schemas.microsoft.com/DRM/2007/03/PlayReadyHeader}"
    assert (header.tag, header.get("version")) == (f"{namespace}WRMHEADER", "4.3.0.0")
    (kid,) = header.iter(f"{namespace}KID")
    assert (kid.get("ALGID"), kid.get("VALUE")) == (algorithm, playready_key_id(KEY_ID))


def test_playready_writes_a_key_id_as_a_guid() -> None:
    assert base64.b64decode(playready_key_id(KEY_ID)).hex() == "33221100554477668899aabbccddeeff"
