"""Documents of CPIX 2.3 (DASH-IF Content Protection Information Exchange): which key is for which tracks."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lxml import etree

from reelmesh.drm import documents
from reelmesh.drm.delivery import Recipient
from reelmesh.drm.errors import CpixMalformed, CpixUnsupported
from reelmesh.drm.keys import SIZE, Proposal
from reelmesh.drm.model import ContentKey, Scheme
from reelmesh.drm.namespaces import CPIX, PREFIXES, PSKC
from reelmesh.drm.pssh import FAIRPLAY, boxes
from reelmesh.drm.signaling import key_address

VERSION = "2.3"
CONTENT_TYPE = "application/xml"
LABELS = frozenset({"AUDIO", "SD", "HD", "UHD"})

_SD_PIXELS = 1024 * 576
_HD_PIXELS = 1920 * 1080
_FILTERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "AUDIO": ("AudioFilter", {}),
    "SD": ("VideoFilter", {"maxPixels": str(_SD_PIXELS)}),
    "HD": ("VideoFilter", {"minPixels": str(_SD_PIXELS + 1), "maxPixels": str(_HD_PIXELS)}),
    "UHD": ("VideoFilter", {"minPixels": str(_HD_PIXELS + 1)}),
}
"""Tracks that a label is for."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a document says of keys."""

    root: etree._Element
    content_id: str
    scheme: Scheme
    proposals: Mapping[str, Proposal]
    """By label: ids and, where they are there, vectors and values."""

    @classmethod
    def read(cls, body: bytes) -> Document:
        """Read a document. Raises CpixMalformed, CpixUnsupported."""
        try:
            root = documents.parse(body)
        except ValueError as error:
            raise CpixMalformed(f"the document is {error}") from error
        if root.tag != f"{CPIX}CPIX":
            raise CpixMalformed("the document's root is no cpix:CPIX")
        if root.get("version") != VERSION:
            raise CpixUnsupported(f"CPIX@version is to be {VERSION}")
        if root.find(f"{CPIX}ContentKeyPeriodList/{CPIX}ContentKeyPeriod") is not None:
            raise CpixUnsupported("keys do not change in the course of a video")
        content_id = root.get("contentId")
        if not content_id:
            raise CpixMalformed("CPIX@contentId is missing")
        labels = _labels(root)
        elements = {element_key_id(element): element for element in content_keys(root)}
        if not elements or elements.keys() != labels.keys():
            raise CpixMalformed("every key has its ContentKeyUsageRule, and every rule its key")
        return cls(
            root,
            content_id,
            _scheme(elements.values()),
            {labels[key_id]: _proposal(key_id, element) for key_id, element in elements.items()},
        )


def write(content_id: str, keys: Sequence[ContentKey], recipient: Recipient | None) -> bytes:
    """Return a document with all of `keys`, encrypted for `recipient` if there is one."""
    root = etree.Element(f"{CPIX}CPIX", {"contentId": content_id, "version": VERSION}, nsmap=PREFIXES)
    if recipient is not None:
        recipient.announce(root)
    listed, systems, rules = (
        etree.SubElement(root, f"{CPIX}{name}")
        for name in ("ContentKeyList", "DRMSystemList", "ContentKeyUsageRuleList")
    )
    for key in keys:
        id_ = str(uuid.UUID(bytes=key.key_id))
        fill_key(etree.SubElement(listed, f"{CPIX}ContentKey"), key, recipient)
        for system, box in boxes(key.key_id, key.scheme).items():
            element = etree.SubElement(systems, f"{CPIX}DRMSystem", {"kid": id_, "systemId": str(system)})
            etree.SubElement(element, f"{CPIX}PSSH").text = encode(box)
        fairplay = etree.SubElement(systems, f"{CPIX}DRMSystem", {"kid": id_, "systemId": str(FAIRPLAY)})
        etree.SubElement(fairplay, f"{CPIX}URIExtXKey").text = encode(key_address(key).encode())
        rule = etree.SubElement(rules, f"{CPIX}ContentKeyUsageRule", {"kid": id_, "intendedTrackType": key.label})
        name, attributes = _FILTERS[key.label]
        etree.SubElement(rule, f"{CPIX}{name}", dict(attributes))
    return serialize(root)


def fill_key(element: etree._Element, key: ContentKey, recipient: Recipient | None) -> None:
    """Write a key into its element, in place of what is there."""
    element.set("kid", str(uuid.UUID(bytes=key.key_id)))
    element.set("commonEncryptionScheme", key.scheme.value)
    if key.iv:
        element.set("explicitIV", encode(key.iv))
    for old in list(element):
        element.remove(old)
    secret = etree.SubElement(etree.SubElement(element, f"{CPIX}Data"), f"{PSKC}Secret")
    if recipient is None:
        etree.SubElement(secret, f"{PSKC}PlainValue").text = encode(key.value)
    else:
        recipient.seal(secret, key.value)


def serialize(root: etree._Element) -> bytes:
    """Return a document as bytes."""
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def content_keys(root: etree._Element) -> Iterator[etree._Element]:
    """Yield the elements of keys."""
    yield from root.iterfind(f"{CPIX}ContentKeyList/{CPIX}ContentKey")


def element_key_id(element: etree._Element) -> bytes:
    """Return the key id that an element names. Raises CpixMalformed."""
    try:
        return uuid.UUID(element.get("kid", "")).bytes
    except ValueError as error:
        raise CpixMalformed(f"{etree.QName(element).localname}@kid is to be a UUID") from error


def encode(value: bytes) -> str:
    """Write bytes as xs:base64Binary."""
    return base64.b64encode(value).decode()


def _labels(root: etree._Element) -> dict[bytes, str]:
    """Return what each key is for. Raises CpixMalformed, CpixUnsupported."""
    labels: dict[bytes, str] = {}
    for rule in root.iterfind(f"{CPIX}ContentKeyUsageRuleList/{CPIX}ContentKeyUsageRule"):
        label = rule.get("intendedTrackType", "")
        if label not in LABELS:
            raise CpixUnsupported(f"intendedTrackType {label!r} is none of {', '.join(sorted(LABELS))}")
        key_id = element_key_id(rule)
        if key_id in labels or label in labels.values():
            raise CpixUnsupported("one key is for one intendedTrackType")
        labels[key_id] = label
    return labels


def _scheme(elements: Iterable[etree._Element]) -> Scheme:
    """Return the scheme that all keys are for. Raises CpixUnsupported."""
    schemes = {element.get("commonEncryptionScheme", "") for element in elements}
    try:
        (scheme,) = schemes
        return Scheme(scheme)
    except ValueError as error:
        raise CpixUnsupported("ContentKey@commonEncryptionScheme is to be cbcs or cenc, the same for all") from error


def _proposal(key_id: bytes, element: etree._Element) -> Proposal:
    """Return what an element proposes. Raises CpixMalformed."""
    value = element.findtext(f"{CPIX}Data/{PSKC}Secret/{PSKC}PlainValue") or ""
    return Proposal(key_id, _decode(element.get("explicitIV", "")), _decode(value))


def _decode(text: str) -> bytes:
    try:
        value = base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise CpixMalformed("a key or vector is no base64") from error
    if len(value) not in {0, SIZE}:
        raise CpixMalformed(f"a key or vector is not {SIZE} bytes")
    return value
