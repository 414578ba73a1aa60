"""CPIX documents and SPEKE, as packagers of other houses write and read them."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import uuid
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import padding as block_padding
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from drm_fakes import OTHER, VIDEO, Clock, MemoryKeyStore, content_keys
from lxml import etree

from reelmesh.drm.errors import CpixMalformed, CpixUnsupported, KeysDiffer, KeysUnknown, SchemeMismatch
from reelmesh.drm.exchange import Exchange
from reelmesh.drm.keys import ContentKeys
from reelmesh.drm.model import ContentKey, Scheme
from reelmesh.drm.pssh import COMMON, FAIRPLAY, PLAYREADY, WIDEVINE, boxes

NAMES = {
    "cpix": "urn:dashif:org:cpix",
    "pskc": "urn:ietf:params:xml:ns:keyprov:pskc",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
    "enc": "http://www.w3.org/2001/04/xmlenc#",
}
SOUND = "98ee5596-cd3e-a20d-163a-e382420c6eff"
PICTURE = "53abdba2-f210-43cb-bc90-f18f9a890a02"


@pytest.fixture
def keys() -> ContentKeys:
    return content_keys(MemoryKeyStore(), Clock())


@pytest.fixture
def exchange(keys: ContentKeys) -> Exchange:
    return Exchange(keys)


def request(
    *,
    version: str = "2.3",
    content_id: str = VIDEO.id,
    scheme: str = "cbcs",
    second_scheme: str = "cbcs",
    picture: str = "HD",
    rule_kid: str = PICTURE,
    systems: str = "",
    extra: str = "",
    delivery: str = "",
) -> bytes:
    """What a packager sends: the example of SPEKE's documentation, with two keys."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<cpix:CPIX contentId="{content_id}" version="{version}" xmlns:cpix="urn:dashif:org:cpix"
  xmlns:pskc="urn:ietf:params:xml:ns:keyprov:pskc" xmlns:ds="http://www.w3.org/2000/09/xmldsig#">{delivery}
  <cpix:ContentKeyList>
    <cpix:ContentKey kid="{SOUND}" commonEncryptionScheme="{scheme}"/>
    <cpix:ContentKey kid="{PICTURE}" commonEncryptionScheme="{second_scheme}"/>
  </cpix:ContentKeyList>
  <cpix:DRMSystemList>{systems}</cpix:DRMSystemList>{extra}
  <cpix:ContentKeyUsageRuleList>
    <cpix:ContentKeyUsageRule kid="{SOUND}" intendedTrackType="AUDIO"><cpix:AudioFilter/></cpix:ContentKeyUsageRule>
    <cpix:ContentKeyUsageRule kid="{rule_kid}" intendedTrackType="{picture}"><cpix:VideoFilter/>
    </cpix:ContentKeyUsageRule>
  </cpix:ContentKeyUsageRuleList>
</cpix:CPIX>""".encode()


def system(id_: uuid.UUID | str, children: str = "<cpix:PSSH/>", kid: str = PICTURE) -> str:
    return f'<cpix:DRMSystem kid="{kid}" systemId="{str(id_).upper()}">{children}</cpix:DRMSystem>'


def found(document: etree._Element, path: str) -> list[Any]:
    answer: Any = document.xpath(path, namespaces=NAMES)
    return list(answer)


def values(document: etree._Element) -> dict[str, bytes]:
    """Return the keys in a document by id."""
    return {
        element.get("kid"): base64.b64decode(found(element, "cpix:Data/pskc:Secret/pskc:PlainValue/text()")[0])
        for element in found(document, "cpix:ContentKeyList/cpix:ContentKey")
    }


async def test_a_packager_s_document_is_filled(exchange: Exchange, keys: ContentKeys) -> None:
    wanted = """<cpix:PSSH/><cpix:ContentProtectionData/><cpix:HLSSignalingData playlist="media"/>
      <cpix:HLSSignalingData playlist="master"/>"""
    pro = "<cpix:PSSH/><cpix:SmoothStreamingProtectionHeaderData/><cpix:ContentProtectionData/><cpix:HLSSignalingData/>"
    systems = system(WIDEVINE, wanted) + system(PLAYREADY, pro) + system(COMMON, kid=SOUND)
    systems += system(FAIRPLAY, "<cpix:URIExtXKey/><cpix:HLSSignalingData playlist='media'/>") + system(FAIRPLAY, "")
    answer = etree.fromstring(await exchange.fill("acme", "2.0", request(systems=systems)))
    made = await keys.of(VIDEO)
    assert {key.label: str(uuid.UUID(bytes=key.key_id)) for key in made.values()} == {"AUDIO": SOUND, "HD": PICTURE}
    assert values(answer) == {SOUND: made["AUDIO"].value, PICTURE: made["HD"].value}
    high = made["HD"]
    (element,) = found(answer, f"cpix:ContentKeyList/cpix:ContentKey[@kid='{PICTURE}']")
    assert base64.b64decode(element.get("explicitIV")) == high.iv
    filled = [
        {child.get("playlist") or etree.QName(child).localname: child.text for child in each}
        for each in found(answer, "cpix:DRMSystemList/cpix:DRMSystem")
    ]
    widevine, playready, common, fairplay, bare = filled
    box = base64.b64encode(boxes(high.key_id, Scheme.CBCS)[WIDEVINE]).decode()
    assert widevine["PSSH"] == box
    assert decoded(widevine["ContentProtectionData"]) == f'<cenc:pssh xmlns:cenc="urn:mpeg:cenc:2013">{box}</cenc:pssh>'
    attributes = (
        f'METHOD=SAMPLE-AES,URI="data:text/plain;base64,{box}",KEYID=0x{high.key_id.hex()},'
        f'KEYFORMAT="urn:uuid:{WIDEVINE}",KEYFORMATVERSIONS="1"'
    )
    assert decoded(widevine["media"]) == f"#EXT-X-KEY:{attributes}"
    assert decoded(widevine["master"]) == f"#EXT-X-SESSION-KEY:{attributes}"
    header = playready["SmoothStreamingProtectionHeaderData"]
    assert base64.b64decode(playready["PSSH"]) == boxes(high.key_id, Scheme.CBCS)[PLAYREADY]
    assert base64.b64decode(playready["PSSH"])[32:] == base64.b64decode(header)
    assert f">{header}</mspr:pro>" in decoded(playready["ContentProtectionData"])
    assert f'URI="data:text/plain;charset=UTF-16;base64,{header}"' in decoded(playready["HLSSignalingData"])
    assert base64.b64decode(common["PSSH"]) == boxes(made["AUDIO"].key_id, Scheme.CBCS)[COMMON]
    address = f"skd://{high.key_id.hex()}"
    assert decoded(fairplay["URIExtXKey"]) == decoded(bare["URIExtXKey"]) == address
    expected = f'URI="{address}",KEYFORMAT="com.apple.streamingkeydelivery",KEYFORMATVERSIONS="1"'
    assert decoded(fairplay["media"]) == f"#EXT-X-KEY:METHOD=SAMPLE-AES,{expected}"


def decoded(text: str) -> str:
    return base64.b64decode(text).decode()


async def test_keys_that_are_there_keep_their_ids(exchange: Exchange, keys: ContentKeys) -> None:
    (high,) = await keys.create(VIDEO, ["HD"], Scheme.CBCS)
    answer = etree.fromstring(await exchange.fill("acme", "", request(systems=system(WIDEVINE))))
    kid = str(uuid.UUID(bytes=high.key_id))
    assert values(answer)[kid] == high.value
    assert found(answer, "//cpix:DRMSystem/@kid") == [kid]
    assert found(answer, "//cpix:ContentKeyUsageRule/@kid") == [SOUND, kid]
    again = etree.fromstring(await exchange.fill("acme", "", request()))
    assert values(again) == values(answer)


async def test_ids_that_are_taken_are_not_given_twice(exchange: Exchange, keys: ContentKeys) -> None:
    await exchange.fill("acme", "", request())
    swapped = request(picture="SD")  # the id of HD, proposed for SD
    await exchange.fill("acme", "", swapped)
    made = await keys.of(VIDEO)
    assert len({key.key_id for key in made.values()}) == len(made) == 3


async def test_schemes_do_not_mix(exchange: Exchange) -> None:
    answer = etree.fromstring(await exchange.fill("acme", "", request(scheme="cenc", second_scheme="cenc")))
    assert found(answer, "//cpix:ContentKey/@explicitIV") == []
    with pytest.raises(SchemeMismatch):
        await exchange.fill("acme", "", request())


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": "2.4"},
        {"scheme": "cens", "second_scheme": "cens"},
        {"second_scheme": "cenc"},
        {"picture": "ALL"},
        {"picture": "AUDIO"},
        {"systems": system("94ce86fb-07ff-4f43-adb8-93d2fa968ca3")},
        {"systems": system(COMMON, "<cpix:HLSSignalingData/>")},
        {"systems": system(FAIRPLAY, "<cpix:PSSH/>")},
        {"systems": system(WIDEVINE, "<cpix:HDSSignalingData/>")},
        {"extra": "<cpix:ContentKeyPeriodList><cpix:ContentKeyPeriod index='1'/></cpix:ContentKeyPeriodList>"},
    ],
)
async def test_what_is_not_done_here(exchange: Exchange, wrong: dict[str, str]) -> None:
    with pytest.raises(CpixUnsupported):
        await exchange.fill("acme", "", request(**wrong))


async def test_another_speke_is_not_spoken(exchange: Exchange) -> None:
    with pytest.raises(CpixUnsupported):
        await exchange.fill("acme", "1.0", request())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<CPIX/>",
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>' + request()[39:],
        request(content_id=""),
        request(content_id="film"),
        request(rule_kid="film"),
        request(rule_kid=str(uuid.UUID(int=7))),
        request(systems=system(WIDEVINE, kid=str(uuid.UUID(int=7)))),
        request(systems=system("film")),
        request(delivery="<cpix:DeliveryDataList/>"),
    ],
)
async def test_what_is_no_document(exchange: Exchange, keys: ContentKeys, body: bytes) -> None:
    with pytest.raises(CpixMalformed):
        await exchange.fill("acme", "", body)


async def test_keys_go_out_and_in_again(exchange: Exchange, keys: ContentKeys) -> None:
    made = await keys.create(VIDEO, ["AUDIO", "SD", "HD", "UHD"], Scheme.CBCS)
    document = await exchange.export(VIDEO, b"")
    root = etree.fromstring(document)
    assert [etree.QName(child).localname for child in root] == [
        "ContentKeyList",
        "DRMSystemList",
        "ContentKeyUsageRuleList",
    ], "the schema prescribes the order"
    assert (root.get("contentId"), root.get("version")) == (VIDEO.id, "2.3")
    rules = {each.get("intendedTrackType"): dict(each[0].attrib) for each in found(root, "//cpix:ContentKeyUsageRule")}
    assert rules == {
        "AUDIO": {},
        "SD": {"maxPixels": "589824"},
        "HD": {"minPixels": "589825", "maxPixels": "2073600"},
        "UHD": {"minPixels": "2073601"},
    }
    taken = await exchange.take(OTHER, document)
    parts = [(key.label, key.key_id, key.iv, key.value) for key in sorted(made, key=lambda key: key.label)]
    assert [(key.label, key.key_id, key.iv, key.value) for key in taken] == parts
    assert await exchange.take(OTHER, document) == taken
    with pytest.raises(KeysUnknown):
        await exchange.export(type(VIDEO)("acme", str(uuid.UUID(int=7))), b"")


async def test_imported_keys_replace_none(exchange: Exchange, keys: ContentKeys) -> None:
    await keys.create(VIDEO, ["SD"], Scheme.CBCS)
    await keys.create(OTHER, ["SD"], Scheme.CBCS)
    before = await keys.of(OTHER)
    with pytest.raises(KeysDiffer):
        await exchange.take(OTHER, await exchange.export(VIDEO, b""))
    assert await keys.of(OTHER) == before
    for body in (request(), request().replace(b'kid="53', b'explicitIV="AAAA" kid="53')):
        with pytest.raises(CpixMalformed):
            await exchange.take(VIDEO, body)


def certificate(key: Any) -> x509.Certificate:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "packager")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    return builder.sign(key, hashes.SHA256())


@pytest.fixture(scope="module")
def packager() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def unsealed(document: etree._Element, private: rsa.RSAPrivateKey) -> dict[str, bytes]:
    """Return the keys in an encrypted document, as its recipient reads them."""
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303 - CPIX prescribes it
    (sealed_key,) = found(document, "//cpix:DocumentKey/cpix:Data/pskc:Secret/pskc:EncryptedValue//enc:CipherValue")
    (sealed_mac,) = found(document, "//cpix:MACMethod/cpix:Key//enc:CipherValue")
    document_key, mac_key = (private.decrypt(base64.b64decode(each.text), oaep) for each in (sealed_key, sealed_mac))
    opened = {}
    for element in found(document, "//cpix:ContentKey"):
        (text,) = found(element, "cpix:Data/pskc:Secret/pskc:EncryptedValue/enc:CipherData/enc:CipherValue/text()")
        (mac,) = found(element, "cpix:Data/pskc:Secret/pskc:ValueMAC/text()")
        sealed = base64.b64decode(text)
        assert base64.b64decode(mac) == hmac.digest(mac_key, sealed, hashlib.sha512)
        decryptor = Cipher(algorithms.AES(document_key), modes.CBC(sealed[:16])).decryptor()
        unpadder = block_padding.PKCS7(128).unpadder()
        padded = decryptor.update(sealed[16:]) + decryptor.finalize()
        opened[element.get("kid")] = unpadder.update(padded) + unpadder.finalize()
    return opened


def by_id(keys: list[ContentKey]) -> dict[str, bytes]:
    return {str(uuid.UUID(bytes=key.key_id)): key.value for key in keys}


async def test_keys_are_encrypted_for_whoever_is_named(
    exchange: Exchange, keys: ContentKeys, packager: rsa.RSAPrivateKey
) -> None:
    der = base64.b64encode(certificate(packager).public_bytes(Encoding.DER)).decode()
    delivery = f"""<cpix:DeliveryDataList><cpix:DeliveryData id="packager"><cpix:DeliveryKey><ds:X509Data>
      <ds:X509Certificate>{der}</ds:X509Certificate></ds:X509Data></cpix:DeliveryKey></cpix:DeliveryData>
      </cpix:DeliveryDataList>"""
    filled = await exchange.fill("acme", "2.0", request(delivery=delivery))
    exported = await exchange.export(VIDEO, certificate(packager).public_bytes(Encoding.PEM))
    made = by_id(list((await keys.of(VIDEO)).values()))
    for document in (filled, exported):
        assert unsealed(etree.fromstring(document), packager) == made
        assert not any(base64.b64encode(value) in document for value in made.values())
        assert b"PlainValue" not in document


async def test_recipients_that_nothing_can_be_encrypted_for(exchange: Exchange, keys: ContentKeys) -> None:
    await keys.create(VIDEO, ["SD"], Scheme.CBCS)
    curve, short = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 1024)  # noqa: S505
    weak = [certificate(key).public_bytes(Encoding.PEM) for key in (curve, short)]
    for pem in (b"no certificate", *weak):
        with pytest.raises(CpixMalformed):
            await exchange.export(VIDEO, pem)
