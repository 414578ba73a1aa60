"""What a manifest says of a key to each key system: elements of an MPD, tags of a playlist."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reelmesh.drm.fairplay import SCHEME
from reelmesh.drm.model import ContentKey, Scheme
from reelmesh.drm.pssh import COMMON, FAIRPLAY, PLAYREADY, WIDEVINE, boxes, playready_object

_METHODS = {Scheme.CBCS: "SAMPLE-AES", Scheme.CENC: "SAMPLE-AES-CTR"}


@dataclass(frozen=True, slots=True)
class Tag:
    """Attributes of an EXT-X-KEY tag that differ from key system to key system (RFC 8216, 4.3.2.4)."""

    uri: str
    format: str
    key_id: bool = False
    """Whether the tag names the key's id."""


def key_address(key: ContentKey) -> str:
    """Return the address by which a playlist names a key to FairPlay."""
    return f"{SCHEME}{key.key_id.hex()}"


def box(system: uuid.UUID, key: ContentKey) -> bytes | None:
    """Return the pssh box; None for a key system that has none."""
    return boxes(key.key_id, key.scheme).get(system)


def content_protection(system: uuid.UUID, key: ContentKey) -> str | None:
    """Return what stands within a ContentProtection element of an MPD; None for a key system that has nothing there."""
    found = box(system, key)
    if found is None:
        return None
    inner = f'<cenc:pssh xmlns:cenc="urn:mpeg:cenc:2013">{_base64(found)}</cenc:pssh>'
    if system == PLAYREADY:
        inner += f'<mspr:pro xmlns:mspr="urn:microsoft:playready">{header(key)}</mspr:pro>'
    return inner


def header(key: ContentKey) -> str:
    """Return the PlayReady object in base64."""
    return _base64(playready_object(key.key_id, key.scheme))


def tag(name: str, system: uuid.UUID, key: ContentKey) -> str | None:
    """Return the line of a playlist; None for a key system that HLS does not know. `name` is the tag's."""
    make = _TAGS.get(system)
    if make is None:
        return None
    made = make(key)
    id_ = f"KEYID=0x{key.key_id.hex()}," if made.key_id else ""
    method = _METHODS[key.scheme]
    return f'#{name}:METHOD={method},URI="{made.uri}",{id_}KEYFORMAT="{made.format}",KEYFORMATVERSIONS="1"'


def uri(system: uuid.UUID, key: ContentKey) -> str | None:
    """Return the address in such a line; None for a key system that HLS does not know."""
    make = _TAGS.get(system)
    return None if make is None else make(key).uri


def _widevine(key: ContentKey) -> Tag:
    data = _base64(boxes(key.key_id, key.scheme)[WIDEVINE])
    return Tag(f"data:text/plain;base64,{data}", f"urn:uuid:{WIDEVINE}", key_id=True)


def _playready(key: ContentKey) -> Tag:
    return Tag(f"data:text/plain;charset=UTF-16;base64,{header(key)}", "com.microsoft.playready")


def _fairplay(key: ContentKey) -> Tag:
    return Tag(key_address(key), "com.apple.streamingkeydelivery")


_TAGS: Mapping[uuid.UUID, Callable[[ContentKey], Tag]] = {
    WIDEVINE: _widevine,
    PLAYREADY: _playready,
    FAIRPLAY: _fairplay,
}
KNOWN = frozenset({COMMON, *_TAGS})
"""Key systems that keys can be signaled to."""


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
