"""Widevine, PlayReady and FairPlay, each before a license server that a test plays."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from drm_fakes import NOW, SESSION, VIDEO, Clock

from reelmesh.drm.errors import (
    KeyNotGranted,
    LicenseRefused,
    LicenseRequestMalformed,
    LicenseServerUnavailable,
)
from reelmesh.drm.fairplay import FairPlay
from reelmesh.drm.grants import Grant
from reelmesh.drm.keys import Keys
from reelmesh.drm.model import ContentKey, Scheme
from reelmesh.drm.playready import PlayReady, Secrets
from reelmesh.drm.policy import Hdcp, Policy
from reelmesh.drm.systems import Challenge
from reelmesh.drm.upstream import HttpLicenseServer
from reelmesh.drm.widevine import SERVICE_CERTIFICATE_REQUEST, Provider, Widevine
from reelmesh.mesh.names import SessionName

# The provider that Widevine publishes for tests.
TEST_PROVIDER = "widevine_test"
TEST_KEY = "1ae8ccd0e7985cc0b6203a55855a1034afc252980e970ca90e5202689f947ab9"
TEST_IV = "d58ce954203b7c9a9a9d467f59839249"

POLICY = Policy({"HD": Hdcp.V1, "UHD": Hdcp.V2_2}, frozenset({"UHD"}))
GRANT = Grant(
    session=SessionName.parse(SESSION),
    video=VIDEO,
    viewer="users/ann",
    labels=frozenset({"SD", "UHD"}),
    duration=timedelta(hours=2),
    renewal=timedelta(minutes=10),
    persistent=False,
    expire_time=NOW,
)
SECRETS = Secrets(b"s" * 32, b"w" * 32)


def key(label: str, number: int) -> ContentKey:
    return ContentKey(label, Scheme.CBCS, bytes([number]) * 16, bytes([number + 1]) * 16, NOW, bytes([number + 2]) * 16)


KEYS: Keys = {"SD": key("SD", 0x11), "UHD": key("UHD", 0x21)}
CHALLENGE = Challenge(b"challenge of a CDM")


@dataclass
class Played:
    """A license server: keeps what it got, answers as told."""

    url: str
    status: int = 200
    body: bytes = b""
    received: list[bytes] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.received[-1])


@pytest.fixture
def server() -> Iterator[Played]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            played.received.append(self.rfile.read(int(self.headers["content-length"])))
            played.headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(played.status)
            self.send_header("content-length", str(len(played.body)))
            self.end_headers()
            self.wfile.write(played.body)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        played = Played(f"http://127.0.0.1:{listening.server_address[1]}/license")
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield played
        listening.shutdown()
        thread.join()


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as opened:
        yield opened


@pytest.fixture
def widevine(server: Played, client: httpx.AsyncClient, tmp_path: Path) -> Widevine:
    (tmp_path / "widevine").write_text(f"{TEST_KEY}\n{TEST_IV}\n")
    server.body = json.dumps({"status": "OK", "license": base64.b64encode(b"a license").decode()}).encode()
    provider = Provider.load(TEST_PROVIDER, tmp_path / "widevine")
    return Widevine(HttpLicenseServer(client, server.url), provider, POLICY)


async def test_widevine_signs_what_it_asks_for(server: Played, widevine: Widevine) -> None:
    license_ = await widevine.license(CHALLENGE, GRANT, KEYS)
    assert (license_.body, license_.content_type) == (b"a license", "application/octet-stream")
    assert list(license_.key_ids) == [key.key_id for key in KEYS.values()]
    envelope = server.json
    assert envelope.keys() == {"request", "signature", "signer"}
    assert envelope["signer"] == TEST_PROVIDER
    request = base64.b64decode(envelope["request"])
    decryptor = Cipher(algorithms.AES(bytes.fromhex(TEST_KEY)), modes.CBC(bytes.fromhex(TEST_IV))).decryptor()
    signed = decryptor.update(base64.b64decode(envelope["signature"])) + decryptor.finalize()
    assert signed == hashlib.sha1(request).digest() + bytes([12]) * 12  # noqa: S324 - what the service prescribes
    assert json.loads(request) == {
        "payload": base64.b64encode(CHALLENGE.body).decode(),
        "content_id": base64.b64encode(VIDEO.id.encode()).decode(),
        "provider": TEST_PROVIDER,
        "content_key_specs": [
            {
                "track_type": "SD",
                "key_id": base64.b64encode(b"\x11" * 16).decode(),
                "key": base64.b64encode(b"\x13" * 16).decode(),
                "security_level": 1,
                "required_output_protection": {"hdcp": "HDCP_NONE"},
            },
            {
                "track_type": "UHD",
                "key_id": base64.b64encode(b"\x21" * 16).decode(),
                "key": base64.b64encode(b"\x23" * 16).decode(),
                "security_level": 5,
                "required_output_protection": {"hdcp": "HDCP_V2_2"},
            },
        ],
        "use_policy_overrides_exclusively": True,
        "policy_overrides": {
            "can_play": True,
            "can_persist": False,
            "can_renew": True,
            "license_duration_seconds": 7200,
            "renewal_delay_seconds": 600,
            "renewal_retry_interval_seconds": 60,
        },
    }


async def test_widevine_asks_for_the_certificate_without_keys(server: Played, widevine: Widevine) -> None:
    license_ = await widevine.license(Challenge(SERVICE_CERTIFICATE_REQUEST), GRANT, {})
    assert license_.key_ids == []
    assert json.loads(base64.b64decode(server.json["request"]))["content_key_specs"] == []


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("INVALID_LICENSE_CHALLENGE", LicenseRequestMalformed),
        ("SIGNATURE_FAILED", LicenseRefused),
        ("INTERNAL_ERROR", LicenseServerUnavailable),
    ],
)
async def test_widevine_s_word_is_passed_on(
    server: Played, widevine: Widevine, status: str, error: type[Exception]
) -> None:
    server.body = json.dumps({"status": status, "status_message": "no"}).encode()
    with pytest.raises(error) as caught:
        await widevine.license(CHALLENGE, GRANT, KEYS)
    assert getattr(caught.value, "metadata", {}) == {"status": status}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"status": "OK"}', b'{"status": "OK", "license": 7}'])
async def test_widevine_answers_that_cannot_be_read(server: Played, widevine: Widevine, body: bytes) -> None:
    server.body = body
    with pytest.raises(LicenseServerUnavailable):
        await widevine.license(CHALLENGE, GRANT, KEYS)


async def test_widevine_is_not_asked_in_vain(server: Played, widevine: Widevine) -> None:
    with pytest.raises(KeyNotGranted):
        await widevine.license(CHALLENGE, GRANT, {})
    with pytest.raises(LicenseRequestMalformed):
        await widevine.license(Challenge(b""), GRANT, KEYS)
    assert server.received == []


@pytest.mark.parametrize(
    ("status", "error"), [(400, LicenseRefused), (403, LicenseRefused), (429, LicenseServerUnavailable)]
)
async def test_license_servers_that_refuse(
    server: Played, widevine: Widevine, status: int, error: type[Exception]
) -> None:
    server.status = status
    with pytest.raises(error):
        await widevine.license(CHALLENGE, GRANT, KEYS)
    server.status = 503
    with pytest.raises(LicenseServerUnavailable):
        await widevine.license(CHALLENGE, GRANT, KEYS)


async def test_license_servers_that_are_away(client: httpx.AsyncClient) -> None:
    with pytest.raises(LicenseServerUnavailable):
        await HttpLicenseServer(client, "http://127.0.0.1:1/license").post(b"", {})


@pytest.mark.parametrize("text", ["", "00", f"{TEST_KEY}\n00", f"{TEST_IV}\n{TEST_KEY}", "xx\nyy"])
def test_files_without_a_signing_key(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError, match=r".+"):
        Provider.load("p", tmp_path / "file")
    with pytest.raises(ValueError, match=r".+"):
        Secrets.load(tmp_path / "file")


def challenge(*kids: str) -> Challenge:
    """A license request as a PlayReady client makes it, without what only its server reads."""
    listed = "".join(kids)
    return Challenge(
        f"""<?xml version="1.0" encoding="utf-8"?>
<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>
<AcquireLicense xmlns="http://schemas.microsoft.com/DRM/2007/03/protocols"><challenge>
<Challenge xmlns="http://schemas.microsoft.com/DRM/2007/03/protocols/messages">
<LA xmlns="http://schemas.microsoft.com/DRM/2007/03/protocols" Id="SignedData"><Version>1</Version><ContentHeader>
<WRMHEADER xmlns="http://schemas.microsoft.com/DRM/2007/03/PlayReadyHeader" version="4.3.0.0"><DATA><PROTECTINFO>
<KIDS>{listed}</KIDS></PROTECTINFO></DATA></WRMHEADER></ContentHeader></LA></Challenge></challenge></AcquireLicense>
</soap:Body></soap:Envelope>""".encode()
    )


def kid(value: bytes) -> str:
    written = base64.b64encode(uuid.UUID(bytes=value).bytes_le).decode()
    return f'<KID ALGID="AESCBC" VALUE="{written}"></KID>'


@pytest.fixture
def playready(server: Played, client: httpx.AsyncClient) -> PlayReady:
    server.body = b"<soap:Envelope/>"
    return PlayReady(HttpLicenseServer(client, server.url), "x-entitlement", SECRETS, POLICY, Clock())


async def test_playready_passes_the_challenge_and_says_what_is_granted(server: Played, playready: PlayReady) -> None:
    asked = challenge(kid(KEYS["UHD"].key_id))
    license_ = await playready.license(asked, GRANT, KEYS)
    assert (license_.body, license_.content_type) == (b"<soap:Envelope/>", "text/xml; charset=utf-8")
    assert license_.key_ids == [KEYS["UHD"].key_id]
    assert server.received == [asked.body], "it is signed: nothing may be changed"
    assert server.headers["content-type"] == "text/xml; charset=utf-8"
    assert server.headers["soapaction"] == '"http://schemas.microsoft.com/DRM/2007/03/protocols/AcquireLicense"'
    message = server.headers["x-entitlement"]
    claims = jwt.decode(message, SECRETS.signing, ["HS256"], issuer="reelmesh.drm", options={"verify_exp": False})
    (given,) = claims.pop("keys")
    assert aes_key_unwrap(SECRETS.wrapping, base64.b64decode(given.pop("wrapped"))) == KEYS["UHD"].value
    assert given == {
        "id": base64.b64encode(uuid.UUID(bytes=KEYS["UHD"].key_id).bytes_le).decode(),
        "scheme": "cbcs",
        "security_level": 3000,
        "uncompressed_digital_video": 300,
        "hdcp_type": 1,
    }
    assert claims == {
        "iss": "reelmesh.drm",
        "exp": int(NOW.timestamp()) + 60,
        "sub": SESSION,
        "video": str(VIDEO),
        "license": {"persistent": False, "seconds": 7200, "renewal_seconds": 600},
    }


async def test_playready_challenges_of_older_headers(playready: PlayReady) -> None:
    written = base64.b64encode(uuid.UUID(bytes=KEYS["SD"].key_id).bytes_le).decode()
    license_ = await playready.license(challenge(f"<KID>{written}</KID>"), GRANT, KEYS)
    assert license_.key_ids == [KEYS["SD"].key_id]


async def test_playready_refuses_what_is_not_granted(server: Played, playready: PlayReady) -> None:
    with pytest.raises(KeyNotGranted):
        await playready.license(challenge(kid(KEYS["SD"].key_id), kid(b"\x99" * 16)), GRANT, KEYS)
    with pytest.raises(KeyNotGranted):
        await playready.license(challenge(), GRANT, {})
    entity = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><x>&e;</x>'
    for body in (b"", b"{}", b"<x/>", entity, b"\xff"):
        with pytest.raises(LicenseRequestMalformed):
            await playready.license(Challenge(body), GRANT, KEYS)
    assert server.received == []


@pytest.fixture
def fairplay(server: Played, client: httpx.AsyncClient) -> FairPlay:
    server.body = json.dumps({"ckc": base64.b64encode(b"a CKC").decode()}).encode()
    return FairPlay(HttpLicenseServer(client, server.url), "secret", POLICY)


@pytest.mark.parametrize("asset", ["skd://" + "21" * 16, "21" * 16, "skd://21212121-2121-2121-2121-212121212121"])
async def test_fairplay_turns_an_spc_into_a_ckc(server: Played, fairplay: FairPlay, asset: str) -> None:
    license_ = await fairplay.license(Challenge(b"an SPC", asset), GRANT, KEYS)
    assert (license_.body, license_.key_ids) == (b"a CKC", [KEYS["UHD"].key_id])
    assert server.headers["authorization"] == "Bearer secret"
    assert server.json == {
        "spc": base64.b64encode(b"an SPC").decode(),
        "asset_id": "21" * 16,
        "key": "23" * 16,
        "iv": "22" * 16,
        "persistent": False,
        "lease_seconds": 7200,
        "hdcp": 1,
    }


async def test_fairplay_refuses_what_is_not_granted(server: Played, fairplay: FairPlay) -> None:
    with pytest.raises(KeyNotGranted):
        await fairplay.license(Challenge(b"an SPC", "skd://" + "99" * 16), GRANT, KEYS)
    for body, asset in ((b"", "21" * 16), (b"an SPC", "skd://film"), (b"an SPC", "skd://2")):
        with pytest.raises(LicenseRequestMalformed):
            await fairplay.license(Challenge(body, asset), GRANT, KEYS)
    assert server.received == []
    server.body = b"{}"
    with pytest.raises(LicenseServerUnavailable):
        await fairplay.license(Challenge(b"an SPC", "11" * 16), GRANT, KEYS)
    assert server.json["hdcp"] is None


def test_secrets_are_not_shown() -> None:
    provider = Provider(TEST_PROVIDER, bytes.fromhex(TEST_KEY), bytes.fromhex(TEST_IV))
    assert repr(provider) == f"Provider(name={TEST_PROVIDER!r})"
    assert repr(SECRETS) == "Secrets()"
