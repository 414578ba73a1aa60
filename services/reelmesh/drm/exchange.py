"""Keys to and from other houses: SPEKE 2.0, which fills a packager's document, and whole documents in and out."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence

from lxml import etree

from reelmesh.drm import cpix, signaling
from reelmesh.drm.cpix import Document
from reelmesh.drm.delivery import Recipient
from reelmesh.drm.errors import CpixMalformed, CpixUnsupported, KeysDiffer
from reelmesh.drm.keys import ContentKeys
from reelmesh.drm.model import ContentKey
from reelmesh.drm.namespaces import CPIX
from reelmesh.drm.pssh import PLAYREADY
from reelmesh.mesh.names import VideoName

SPEKE_VERSION = "2.0"
_PLAYLIST_TAGS = {"media": "EXT-X-KEY", "master": "EXT-X-SESSION-KEY"}


class Exchange:
    """Exchanges keys in CPIX documents."""

    def __init__(self, keys: ContentKeys) -> None:
        self._keys = keys

    async def fill(self, organization: str, version: str, body: bytes) -> bytes:
        """Fill a packager's document, making the keys that the video lacks. `version` is SPEKE's, "" where not given.

        Raises CpixMalformed, CpixUnsupported, SchemeMismatch.
        """
        if version not in {"", SPEKE_VERSION}:
            raise CpixUnsupported(f"SPEKE is spoken here in version {SPEKE_VERSION}")
        document = Document.read(body)
        proposals = {label: proposal.without_value() for label, proposal in document.proposals.items()}
        video = _video(organization, document.content_id)
        recipient = Recipient.of(document.root)
        keys = await self._keys.create(video, list(proposals), document.scheme, proposals)
        by_id = {proposals[key.label].key_id: key for key in keys}
        # Everything is looked up by the ids of the document before any of them is replaced.
        elements = {element: by_id[cpix.element_key_id(element)] for element in cpix.content_keys(document.root)}
        systems = _elements(document, "DRMSystemList", "DRMSystem", by_id)
        rules = _elements(document, "ContentKeyUsageRuleList", "ContentKeyUsageRule", by_id)
        for element, key in elements.items():
            cpix.fill_key(element, key, recipient)
        for element, key in rules.items():
            element.set("kid", str(uuid.UUID(bytes=key.key_id)))
        for element, key in systems.items():
            _fill_system(element, key)
        if recipient is not None:
            recipient.announce(document.root)
        return cpix.serialize(document.root)

    async def export(self, video: VideoName, certificate: bytes) -> bytes:
        """Return all keys of a video, for the holder of a certificate (PEM) if one is given.

        Raises KeysUnknown, CpixMalformed.
        """
        recipient = Recipient.from_pem(certificate) if certificate else None
        keys = await self._keys.of(video)
        return cpix.write(video.id, list(keys.values()), recipient)

    async def take(self, video: VideoName, body: bytes) -> Sequence[ContentKey]:
        """Take the keys in a document as those of a video. Raises CpixMalformed, CpixUnsupported, KeysDiffer."""
        document = Document.read(body)
        if not all(proposal.value for proposal in document.proposals.values()):
            raise CpixMalformed("every ContentKey has a PlainValue of 16 bytes")
        keys = await self._keys.create(video, list(document.proposals), document.scheme, document.proposals)
        differing = [key.label for key in keys if not document.proposals[key.label].agrees(key)]
        if differing:
            raise KeysDiffer(f"the video has other keys for {', '.join(differing)}", labels=",".join(differing))
        return keys


def _video(organization: str, content_id: str) -> VideoName:
    try:
        return VideoName(organization, str(uuid.UUID(content_id)))
    except ValueError as error:
        raise CpixMalformed("CPIX@contentId is to be the id of a video") from error


def _elements(
    document: Document, within: str, name: str, by_id: Mapping[bytes, ContentKey]
) -> dict[etree._Element, ContentKey]:
    """Return the elements that are about a key, with it. Raises CpixMalformed."""
    found = {}
    for element in document.root.iterfind(f"{CPIX}{within}/{CPIX}{name}"):
        key = by_id.get(cpix.element_key_id(element))
        if key is None:
            raise CpixMalformed(f"{name}@kid names no ContentKey")
        found[element] = key
    return found


def _fill_system(element: etree._Element, key: ContentKey) -> None:
    """Fill what a DRMSystem element asks for: every child that is there, and the box where there is none."""
    try:
        system = uuid.UUID(element.get("systemId", ""))
    except ValueError as error:
        raise CpixMalformed("DRMSystem@systemId is to be a UUID") from error
    if system not in signaling.KNOWN:
        raise CpixUnsupported(f"there is no key system {system} here")
    element.set("kid", str(uuid.UUID(bytes=key.key_id)))
    if len(element) == 0:
        etree.SubElement(element, f"{CPIX}{'URIExtXKey' if signaling.box(system, key) is None else 'PSSH'}")
    for child in element:
        child.text = _signal(child, system, key)


def _signal(child: etree._Element, system: uuid.UUID, key: ContentKey) -> str:
    name = etree.QName(child).localname
    made: bytes | str | None
    if name == "HLSSignalingData":
        made = signaling.tag(_PLAYLIST_TAGS.get(child.get("playlist", "media"), "EXT-X-KEY"), system, key)
    elif name == "SmoothStreamingProtectionHeaderData" and system == PLAYREADY:
        return signaling.header(key)
    else:
        make = _SIGNALS.get(name)
        made = make(system, key) if make else None
    if made is None:
        raise CpixUnsupported(f"key system {system} has no {name}")
    return cpix.encode(made.encode() if isinstance(made, str) else made)


_SIGNALS: Mapping[str, Callable[[uuid.UUID, ContentKey], bytes | str | None]] = {
    "PSSH": signaling.box,
    "ContentProtectionData": signaling.content_protection,
    "URIExtXKey": signaling.uri,
}
