"""KeyService and LicenseService over memory, by gRPC."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from drm_fakes import NOW, OTHER, RING, SESSION, VIDEO, Clock, MemoryKeyStore, content_keys, token
from google.api.httpbody_pb2 import HttpBody
from refusals import refusal

from reelmesh.drm.clearkey import ClearKey
from reelmesh.drm.decisions import Audit, Decision
from reelmesh.drm.errors import AuditBehind
from reelmesh.drm.grants import Grant, Grants
from reelmesh.drm.keys import ContentKeys, Keys
from reelmesh.drm.licenses import Licenses
from reelmesh.drm.model import Scheme
from reelmesh.drm.service import KeyService, LicenseService
from reelmesh.drm.systems import Challenge, KeySystem, License, System
from reelmesh.drm.v1 import key_service_pb2 as key_pb
from reelmesh.drm.v1 import license_service_pb2 as license_pb
from reelmesh.drm.v1.key_service_pb2_grpc import KeyServiceStub, add_KeyServiceServicer_to_server
from reelmesh.drm.v1.license_service_pb2_grpc import LicenseServiceStub, add_LicenseServiceServicer_to_server
from reelmesh.media.v1.media_pb2 import Protection
from reelmesh.mesh import person
from reelmesh.mesh.clock import TimeOrderedIds
from reelmesh.mesh.interceptors import Errors, Layer, Validation
from reelmesh.mesh.keys import KeyRing

if TYPE_CHECKING:  # the generated stubs have the types, the generated code does not
    from reelmesh.drm.v1.key_service_pb2_grpc import KeyServiceAsyncStub
    from reelmesh.drm.v1.license_service_pb2_grpc import LicenseServiceAsyncStub

refused = partial(refusal, domain="reelmesh.drm")

LABELS = ["AUDIO", "SD", "HD"]


class Notes(Audit):
    """Keeps what is noted; may be full."""

    def __init__(self) -> None:
        super().__init__([])
        self.noted: list[Decision] = []
        self.full = False

    def note(self, decision: Decision) -> None:
        if self.full:
            raise AuditBehind("full")
        self.noted.append(decision)


class FromOutside(Layer):
    """Says where a call came from, as the layer before this one does in a server."""

    def request(self, message: object) -> None:
        person.begin(None, person.Client("192.0.2.7"))


@dataclass
class World:
    """drm over memory, and a client."""

    clock: Clock
    domain: ContentKeys
    systems: dict[System, KeySystem]
    keys: KeyServiceAsyncStub
    licenses: LicenseServiceAsyncStub
    notes: Notes
    service: LicenseService

    async def create(self, scheme: Protection.Scheme.ValueType = Protection.SCHEME_CBCS) -> Any:
        request = key_pb.CreateContentKeysRequest(video=str(VIDEO), labels=LABELS, scheme=scheme)
        return (await self.keys.CreateContentKeys(request)).keys

    def ask(self, token: str, *key_ids: bytes, **more: object) -> Any:
        kids = [base64.urlsafe_b64encode(key_id).rstrip(b"=").decode() for key_id in key_ids]
        return self.send(token, json.dumps({"kids": kids, **more}).encode())

    def send(self, token: str, body: bytes) -> Any:
        request = license_pb.GetClearKeyLicenseRequest(
            token=token, body=HttpBody(content_type="application/json", data=body)
        )
        return self.licenses.GetClearKeyLicense(request)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock = Clock()
    keys = content_keys(MemoryKeyStore(), clock)
    systems: dict[System, KeySystem] = {System.CLEAR_KEY: ClearKey()}
    notes = Notes()
    licenses = Licenses(Grants(RING, clock.monotonic), keys, systems, notes, clock, TimeOrderedIds(clock))
    server = grpc.aio.server(interceptors=[Errors(), FromOutside(), Validation(b"key")])
    add_KeyServiceServicer_to_server(KeyService(keys), server)
    service = LicenseService(licenses)
    add_LicenseServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield World(clock, keys, systems, KeyServiceStub(channel), LicenseServiceStub(channel), notes, service)
    await server.stop(0)


async def test_values_go_to_workers_only(world: World) -> None:
    made = await world.create()
    assert [key.label for key in made] == LABELS
    assert all(key.value == b"" and len(key.pssh) == 3 and len(key.iv) == 16 for key in made)
    answer = await world.keys.GetContentKeys(key_pb.GetContentKeysRequest(video=str(VIDEO)))
    given = {key.label: key for key in answer.keys}
    for key in made:
        assert len(given[key.label].value) == 16
        given[key.label].ClearField("value")
        assert given[key.label] == key


async def test_keys_that_cannot_be(world: World) -> None:
    await world.create()
    precondition = (grpc.StatusCode.FAILED_PRECONDITION, "SCHEME_MISMATCH")
    assert await refused(world.create(Protection.SCHEME_CENC)) == precondition
    unknown = world.keys.GetContentKeys(key_pb.GetContentKeysRequest(video=str(OTHER)))
    assert await refused(unknown) == (grpc.StatusCode.NOT_FOUND, "KEYS_UNKNOWN")


async def test_a_license_holds_what_is_granted(world: World) -> None:
    await world.create()
    keys = await world.domain.of(VIDEO)
    call = world.ask(token(), keys["SD"].key_id, keys["AUDIO"].key_id, type="temporary")
    answer = await call
    assert answer.body.content_type == "application/json"
    assert ("cache-control", "no-store") in tuple(await call.initial_metadata())
    license_ = json.loads(answer.body.data)
    assert license_["type"] == "temporary"
    found = [(key["kty"], decode(key["kid"]), decode(key["k"])) for key in license_["keys"]]
    assert found == [("oct", keys[label].key_id, keys[label].value) for label in ("SD", "AUDIO")]
    assert "=" not in answer.body.data.decode()


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


async def test_keys_that_are_not_granted(world: World) -> None:
    await world.create()
    await world.domain.create(OTHER, ["SD"], Scheme.CBCS)
    keys, others = await world.domain.of(VIDEO), await world.domain.of(OTHER)
    denied = (grpc.StatusCode.PERMISSION_DENIED, "KEY_NOT_GRANTED")
    for wanted in (keys["HD"].key_id, others["SD"].key_id, bytes(16)):
        assert await refused(world.ask(token(), keys["SD"].key_id, wanted)) == denied
    assert await refused(world.ask(token(video=str(OTHER)), keys["SD"].key_id)) == denied
    assert await refused(world.ask(token(labels=[]), keys["SD"].key_id)) == denied


async def test_licenses_to_keep(world: World) -> None:
    (sound, *_) = await world.create()
    asked = {"type": "persistent-license"}
    denied = (grpc.StatusCode.PERMISSION_DENIED, "PERSISTENCE_NOT_GRANTED")
    assert await refused(world.ask(token(), sound.key_id, **asked)) == denied
    answer = await world.ask(token(persist=True), sound.key_id, **asked)
    assert json.loads(answer.body.data)["type"] == "persistent-license"


async def test_tokens_that_grant_nothing(world: World) -> None:
    (sound, *_) = await world.create()
    good = token()
    assert await refused(world.ask("", sound.key_id)) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_REQUIRED")
    stranger = KeyRing({"1": ec.generate_private_key(ec.SECP256R1())})
    for wrong in (
        good[:-8] + "AAAAAAAA",
        token(stranger),
        token(aud="manifests"),
        token(iss="reelmesh.identity"),
        token(sub="organizations/other/sessions/0198c0de-0000-7000-8000-00000000000a"),
        token(sub="nobody"),
        token(video="nothing"),
        token(labels=None),
        token(labels=7),
        token(seconds="long"),
    ):
        assert await refused(world.ask(wrong, sound.key_id)) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")
    await world.ask(good, sound.key_id)
    world.clock.advance(5 * 60)
    assert await refused(world.ask(good, sound.key_id)) == (grpc.StatusCode.PERMISSION_DENIED, "TOKEN_EXPIRED")


async def test_videos_without_keys(world: World) -> None:
    assert await refused(world.ask(token(), bytes(16))) == (grpc.StatusCode.NOT_FOUND, "KEYS_UNKNOWN")


async def test_key_systems_that_are_off(world: World) -> None:
    world.systems.clear()
    asked = world.ask(token(), bytes(16))
    assert await refused(asked) == (grpc.StatusCode.PERMISSION_DENIED, "KEY_SYSTEM_DISABLED")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"{}",
        b'{"kids":7}',
        b'{"kids":[]}',
        b'{"kids":[7]}',
        b'{"kids":["*"]}',
        b'{"kids":["AAAAAAAAAAAAAAAAAAAAAA"],"type":"other"}',
        b'{"kids":["AAAAAAAAAAAAAAAAAAAAAA"],"type":[]}',
        json.dumps({"kids": ["AAAAAAAAAAAAAAAAAAAAAA"] * 17}).encode(),
        b"\xff\xfe",
    ],
)
async def test_requests_that_no_cdm_makes(world: World, body: bytes) -> None:
    await world.create()
    malformed = (grpc.StatusCode.INVALID_ARGUMENT, "LICENSE_REQUEST_MALFORMED")
    assert await refused(world.send(token(), body)) == malformed


async def test_the_token_s_time_is_the_clock_s(world: World) -> None:
    (sound, *_) = await world.create()
    ended = token(exp=int(NOW.timestamp()))
    assert await refused(world.ask(ended, sound.key_id)) == (grpc.StatusCode.PERMISSION_DENIED, "TOKEN_EXPIRED")


async def test_decisions_are_taken_down(world: World) -> None:
    (sound, *_) = await world.create()
    await world.ask(token(), sound.key_id)
    await refused(world.ask(token(viewer=""), bytes(16)))
    await refused(world.ask(token(exp=int(NOW.timestamp())), sound.key_id))
    await refused(world.ask("", sound.key_id))
    await refused(world.ask(token() + "AAAA", sound.key_id))
    given, denied, expired = world.notes.noted
    assert (given.system, given.reason, list(given.key_ids)) == (System.CLEAR_KEY, "", [sound.key_id])
    assert (str(given.session), given.video, given.viewer) == (SESSION, VIDEO, "users/ann")
    assert (given.client, given.time) == ("192.0.2.7", NOW)
    assert (denied.reason, denied.viewer, denied.key_ids) == ("KEY_NOT_GRANTED", "", ())
    assert expired.reason == "TOKEN_EXPIRED"
    assert len({each.id for each in world.notes.noted}) == 3


async def test_no_license_goes_out_that_is_not_taken_down(world: World) -> None:
    (sound, *_) = await world.create()
    world.notes.full = True
    assert await refused(world.ask(token(), sound.key_id)) == (grpc.StatusCode.UNAVAILABLE, "AUDIT_BEHIND")


async def test_every_key_system_is_asked(world: World) -> None:
    class Answering:
        """Answers with what it was asked."""

        async def license(self, challenge: Challenge, grant: Grant, keys: Keys) -> License:
            return License("text/plain", challenge.body + challenge.asset.encode(), ())

    await world.create()
    for system in (System.WIDEVINE, System.PLAYREADY, System.FAIRPLAY):
        world.systems[system] = Answering()
    body = HttpBody(data=b"challenge")
    ask = world.licenses
    widevine = await ask.GetWidevineLicense(license_pb.GetWidevineLicenseRequest(token=token(), body=body))
    playready = await ask.GetPlayReadyLicense(license_pb.GetPlayReadyLicenseRequest(token=token(), body=body))
    request = license_pb.GetFairPlayLicenseRequest(token=token(), body=body, asset="skd://1")
    fairplay = await ask.GetFairPlayLicense(request)
    assert [each.body.data for each in (widevine, playready, fairplay)] == [
        b"challenge",
        b"challenge",
        b"challengeskd://1",
    ]
    assert [each.system for each in world.notes.noted] == [System.WIDEVINE, System.PLAYREADY, System.FAIRPLAY]


async def test_the_certificate_of_fairplay(world: World) -> None:
    asked = license_pb.GetFairPlayCertificateRequest()
    disabled = (grpc.StatusCode.PERMISSION_DENIED, "KEY_SYSTEM_DISABLED")
    assert await refused(world.licenses.GetFairPlayCertificate(asked)) == disabled
    world.service.fairplay_certificate = b"DER"
    call = world.licenses.GetFairPlayCertificate(asked)
    assert (await call).body.data == b"DER"
    assert ("cache-control", "public, max-age=86400") in tuple(await call.initial_metadata())
