from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import cbor2
import cwt
import m3u8
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cwt import COSE
from lxml import etree
from playback_fakes import VIDEO, FakeSource, ManualClock, MemorySessionStore, index

from reelmesh.mesh.keys import KeyRing
from reelmesh.mesh.names import SessionName
from reelmesh.playback.cdn import CloudFront, CommonAccessTokens, GatewayTokens
from reelmesh.playback.endings import Endings
from reelmesh.playback.index import Presentations
from reelmesh.playback.manifests import Manifests
from reelmesh.playback.tokens import Tokens, Viewing

SESSION = "organizations/acme/sessions/1"
UNTIL = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_the_gateways_token_names_the_folder() -> None:
    keys = KeyRing({"1": ec.generate_private_key(ec.SECP256R1())})
    for url in ("/media", "/media/", "https://cdn.example/media"):
        query = GatewayTokens(keys, url).query(SESSION, "acme/a film", UNTIL)
        claims = keys.read(query.removeprefix("token="), issuer="reelmesh.playback", audience="media")
        assert claims["prefix"] == "/media/acme/a%20film/"
        assert (claims["sub"], claims["exp"]) == (SESSION, int(UNTIL.timestamp()))


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def decoded(text: str) -> bytes:
    return base64.b64decode(text.translate(str.maketrans("-_~", "+=/")), validate=True)


def test_cloudfront_opens_all_of_one_folder(key: rsa.RSAPrivateKey) -> None:
    query = CloudFront("K2JCJMDEHXQW5F", key, "https://d111111abcdef8.cloudfront.net/").query(SESSION, "acme/7", UNTIL)
    assert not set(query) & set("+ /"), "it needs no more escaping"
    found = {name: values[0] for name, values in parse_qs(query, strict_parsing=True).items()}
    assert found["Key-Pair-Id"] == "K2JCJMDEHXQW5F"
    policy = decoded(found["Policy"])
    assert json.loads(policy) == {
        "Statement": [
            {
                "Resource": "https://d111111abcdef8.cloudfront.net/acme/7/*",
                "Condition": {"DateLessThan": {"AWS:EpochTime": int(UNTIL.timestamp())}},
            }
        ]
    }
    signature = decoded(found["Signature"])
    public = key.public_key()
    public.verify(signature, policy, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303 - as CloudFront demands
    with pytest.raises(InvalidSignature):
        public.verify(signature, policy + b" ", padding.PKCS1v15(), hashes.SHA1())  # noqa: S303


def test_cloudfront_takes_rsa_only(tmp_path: Path, key: rsa.RSAPrivateKey) -> None:
    def pem(private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> Path:
        file = tmp_path / "key.pem"
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        file.write_bytes(private.private_bytes(*form))
        return file

    assert CloudFront.load("K1", pem(key), "https://cdn").query(SESSION, "x", UNTIL)
    with pytest.raises(ValueError, match="no RSA key"):
        CloudFront.load("K1", pem(ec.generate_private_key(ec.SECP256R1())), "https://cdn")


@pytest.mark.parametrize(("url", "host"), [("https://cdn.example/media", True), ("/media", False)])
def test_a_common_access_token_names_the_folder(tmp_path: Path, url: str, *, host: bool) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "key.pem").write_bytes(private.private_bytes(*form))
    query = CommonAccessTokens.load("cdn-1", tmp_path / "key.pem", url).query(SESSION, "acme/a film", UNTIL)
    name, _, text = query.partition("=")
    assert name == "CAT"
    assert not set(text) & set("+/="), "it needs no escaping"
    token = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    # Far in the past by the time that this is read, so it is the signature that is looked at.
    protected = cbor2.loads(token).value
    assert cbor2.loads(protected[0])[1] == -7, "ES256"
    claims = cbor2.loads(protected[2])
    opens = {3: {1: "/media/acme/a%20film/"}, **({1: {0: "cdn.example"}} if host else {})}
    assert claims == {1: "reelmesh.playback", 2: SESSION, 4: int(UNTIL.timestamp()), 310: 1, 312: opens}
    verified = COSE.new().decode(token, cwt.COSEKey.from_pem(public, kid="cdn-1"))
    assert cbor2.loads(verified) == claims
    with pytest.raises(cwt.VerifyError):
        COSE.new().decode(token[:-1] + bytes([token[-1] ^ 1]), cwt.COSEKey.from_pem(public, kid="cdn-1"))


async def test_a_cdns_query_ends_every_address_of_both_manifests(key: rsa.RSAPrivateKey) -> None:
    clock, keys = ManualClock(), KeyRing({"1": ec.generate_private_key(ec.SECP256R1())})
    presentations = Presentations(FakeSource(index(3)), clock.monotonic)
    tokens = Tokens(keys, CloudFront("K1", key, "https://cdn.example"), clock, timedelta(minutes=15))
    manifests = Manifests(
        presentations, tokens, Endings(MemorySessionStore(), clock.monotonic), clock, "https://cdn.example"
    )
    labels = frozenset({"AUDIO", "SD", "HD"})
    viewing = Viewing(SessionName("acme", "1"), VIDEO, clock.now() + timedelta(hours=1), labels)
    presentation = await presentations.get(VIDEO)
    media = tokens.for_media(viewing, presentation)
    assert media.query.startswith("Policy=")
    assert media.text == "", "a player has nothing to put in place of it"
    token = tokens.for_manifests(viewing)
    playlist = m3u8.loads((await manifests.hls_media(VIDEO, presentation.tracks[0].id, token)).body.decode())
    assert playlist.segments
    for address in map(str, [*(segment.uri for segment in playlist.segments), playlist.segment_map[0].uri]):
        assert address.startswith("https://cdn.example/")
        assert address.partition("?")[2] == media.query
    templates = list(etree.fromstring((await manifests.dash(VIDEO, token)).body).iter("{*}SegmentTemplate"))
    assert templates
    for template in templates:
        for name in ("media", "initialization"):
            assert str(template.get(name)).partition("?")[2] == media.query
