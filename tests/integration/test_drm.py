"""Keys and licenses on the real stack: through the mesh as services see them, over HTTP as players do."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest
from confluent_kafka import Consumer, TopicPartition
from cryptography.hazmat.primitives.asymmetric import ec
from e2e_world import eventually

from reelmesh.drm.keys import ContentKeys
from reelmesh.drm.model import Scheme
from reelmesh.drm.store import CassandraKeyStore
from reelmesh.drm.v1.key_service_pb2 import CreateContentKeysRequest, GetContentKeysRequest
from reelmesh.drm.v1.key_service_pb2_grpc import KeyServiceStub
from reelmesh.drm.v1.license_decision_pb2 import LicenseDecision
from reelmesh.drm.wrapping import LocalWrapper, folder
from reelmesh.media.v1.media_pb2 import Protection
from reelmesh.mesh.clock import SystemClock, TimeOrderedIds
from reelmesh.mesh.config import Config
from reelmesh.mesh.keys import KeyRing
from reelmesh.mesh.names import VideoName
from reelmesh.stores.cassandra import Cassandra
from reelmesh.stores.events import DECISIONS
from reelmesh.stores.migrations import migrate
from reelmesh_tools.client.platform import Platform
from reelmesh_tools.stack.client import Stack

if TYPE_CHECKING:  # the generated stubs have the types, the generated code does not
    from reelmesh.drm.v1.key_service_pb2_grpc import KeyServiceAsyncStub

pytestmark = pytest.mark.stack

CLOCK = SystemClock()
IDS = TimeOrderedIds(CLOCK)
LABELS = ["AUDIO", "SD", "HD"]


@pytest.fixture
async def store(cassandra: Cassandra) -> CassandraKeyStore:
    await migrate(cassandra, "drm", {"class": "SimpleStrategy", "replication_factor": 1})
    return CassandraKeyStore(cassandra)


@pytest.fixture
def video() -> VideoName:
    return VideoName("default", IDS.new())


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stack.plan.gateway_url, trust_env=False, timeout=20) as client:
        yield client


@pytest.fixture
def owned(platform: Platform) -> httpx.Client:
    """HTTP of who owns the stack."""
    platform.signed_http.base_url = httpx.URL(platform.url)
    return platform.signed_http


@pytest.fixture
async def mesh(stack: Stack) -> AsyncIterator[dict[str, KeyServiceAsyncStub]]:
    """KeyService as transcode and the worker call it."""
    options = [("grpc.ssl_target_name_override", "drm.mesh")]
    certificates = stack.layout.certificates
    channels = {}
    for identity in ("transcode", "worker"):
        credentials = grpc.ssl_channel_credentials(
            *((certificates / name).read_bytes() for name in ("ca.pem", f"{identity}.key", f"{identity}.pem"))
        )
        channels[identity] = grpc.aio.secure_channel(stack.plan.address("drm"), credentials, options=options)
    yield {identity: KeyServiceStub(channel) for identity, channel in channels.items()}
    for channel in channels.values():
        await channel.close()


def token(ring: KeyRing, video: VideoName, **changes: Any) -> str:
    claims = {
        "iss": "reelmesh.playback",
        "aud": "licenses",
        "sub": f"organizations/{video.organization}/sessions/{uuid.uuid4()}",
        "exp": int(time.time()) + 300,
        "video": str(video),
        "labels": ["AUDIO", "SD"],
        "seconds": 3600,
        "renew": 0,
        "persist": False,
        "viewer": "users/ann",
        **changes,
    }
    return ring.sign(claims)


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


def keys_over(store: CassandraKeyStore, stack: Stack) -> ContentKeys:
    return ContentKeys(store, LocalWrapper(folder(stack.layout.wrapping_keys)), CLOCK, time.monotonic)


async def test_callers_who_race_get_the_same_keys(
    mesh: dict[str, KeyServiceAsyncStub], store: CassandraKeyStore, stack: Stack, video: VideoName
) -> None:
    asked = CreateContentKeysRequest(video=str(video), labels=LABELS, scheme=Protection.SCHEME_CBCS)
    ours = keys_over(store, stack)

    async def through() -> list[tuple[str, bytes]]:
        return [(key.label, key.key_id) for key in (await mesh["transcode"].CreateContentKeys(asked)).keys]

    async def beside() -> list[tuple[str, bytes]]:
        made = await keys_over(store, stack).create(video, LABELS, Scheme.CBCS)
        return [(key.label, key.key_id) for key in made]

    first, *others = await asyncio.gather(*(race() for race in (through, beside) * 4))
    assert [label for label, _ in first] == LABELS
    assert all(other == first for other in others)
    given = await mesh["worker"].GetContentKeys(GetContentKeysRequest(video=str(video)))
    assert {key.label: key.value for key in given.keys} == {
        label: key.value for label, key in (await ours.of(video)).items()
    }


async def test_labels_are_added_and_schemes_kept(store: CassandraKeyStore, stack: Stack, video: VideoName) -> None:
    keys = keys_over(store, stack)
    first = await keys.create(video, ["SD"], Scheme.CENC)
    second = await keys.create(video, ["UHD", "SD"], Scheme.CENC)
    assert second[1] == first[0]
    assert [row.label for row in await store.load(video)] == ["SD", "UHD"]
    assert {row.iv for row in await store.load(video)} == {b""}
    rows = await store.load(video)
    assert await store.add(video, [], rows) is False
    assert await store.remove(video, rows[:1]) is False
    assert await store.remove(video, rows) is True
    assert await store.load(video) == []
    assert video not in (await store.videos("", 1000))[0]
    (fresh,) = await keys.create(video, ["SD"], Scheme.CBCS)
    assert fresh.key_id not in {row.key_id for row in rows}


async def test_all_videos_are_walked(store: CassandraKeyStore, stack: Stack) -> None:
    made = {VideoName("walked", IDS.new()) for _ in range(7)}
    for video in made:
        await keys_over(store, stack).create(video, ["AUDIO", "SD"], Scheme.CBCS)
    found: list[VideoName] = []
    position = ""
    while True:
        page, position = await store.videos(position, 3)
        found += page
        if not position:
            break
    assert len(found) == len(set(found))
    assert set(found) >= made


async def test_rotation_while_licenses_are_given(
    mesh: dict[str, KeyServiceAsyncStub],
    http: httpx.AsyncClient,
    cassandra: Cassandra,
    stack: Stack,
    reelmesh: Callable[..., dict[str, Any]],
) -> None:
    ring = KeyRing.load(stack.layout.media_keys)
    values: dict[VideoName, dict[bytes, bytes]] = {}
    for video in (VideoName("default", IDS.new()) for _ in range(20)):
        asked = CreateContentKeysRequest(video=str(video), labels=LABELS, scheme=Protection.SCHEME_CBCS)
        await mesh["transcode"].CreateContentKeys(asked)
        given = await mesh["worker"].GetContentKeys(GetContentKeysRequest(video=str(video)))
        values[video] = {key.key_id: key.value for key in given.keys}

    async def license_of(video: VideoName) -> dict[bytes, bytes]:
        body = {"kids": [encoded(key_id) for key_id in values[video]], "type": "temporary"}
        params = {"token": token(ring, video, labels=LABELS)}
        answer = await http.post("/v1/licenses/clearkey", params=params, json=body)
        assert answer.status_code == 200, answer.text
        return {decoded(key["kid"]): decoded(key["k"]) for key in answer.json()["keys"]}

    rotating = asyncio.create_task(asyncio.to_thread(reelmesh, "keys", "rotate"))
    for video in itertools.cycle(values):
        assert await license_of(video) == values[video]
        if rotating.done():
            break
    rotated = await rotating
    newest = max(file.name for file in stack.layout.wrapping_keys.iterdir())
    assert rotated["version"] == newest != "0001"
    assert rotated["rewrapped"] == rotated["examined"] >= 60
    rows = await cassandra.execute("SELECT wrapped_by FROM reelmesh_drm.content_keys")
    assert {row.wrapped_by for row in rows} == {newest}
    # What only the newest key can read is what it was.
    alone = LocalWrapper(lambda: {newest: (stack.layout.wrapping_keys / newest).read_bytes()})
    fresh = ContentKeys(CassandraKeyStore(cassandra), alone, CLOCK, time.monotonic)
    for video, expected in values.items():
        assert {key.key_id: key.value for key in (await fresh.of(video)).values()} == expected
    logged = b"".join(file.read_bytes() for file in stack.layout.logs.iterdir())
    for value in (value for keys in values.values() for value in keys.values()):
        for written in (value, value.hex().encode(), base64.b64encode(value), encoded(value).encode()):
            assert written not in logged


async def test_decisions_are_on_record(
    mesh: dict[str, KeyServiceAsyncStub],
    http: httpx.AsyncClient,
    owned: httpx.Client,
    stack: Stack,
    config: Config,
) -> None:
    ring = KeyRing.load(stack.layout.media_keys)
    video = VideoName("default", IDS.new())
    asked = CreateContentKeysRequest(video=str(video), labels=LABELS, scheme=Protection.SCHEME_CBCS)
    sound, _, high = (await mesh["transcode"].CreateContentKeys(asked)).keys
    began = datetime.now(UTC) - timedelta(seconds=1)

    async def ask(key_id: bytes, **claims: Any) -> None:
        body = {"kids": [encoded(key_id)], "type": "temporary"}
        await http.post("/v1/licenses/clearkey", params={"token": token(ring, video, **claims)}, json=body)

    for _ in range(40):
        await ask(sound.key_id)
    await ask(high.key_id)
    await ask(sound.key_id, exp=int(time.time()) - 1)
    # An orderly stop comes before the last ones are written, and loses none.
    await asyncio.to_thread(stack.stop_process, "control")
    await asyncio.to_thread(stack.start_process, "control")
    found = await asyncio.to_thread(decisions_since, owned, began, video)
    reasons = [each.get("reason", "") for each in found]
    assert reasons == ["TOKEN_EXPIRED", "KEY_NOT_GRANTED"] + [""] * 40
    times = [datetime.fromisoformat(each["time"]) for each in found]
    assert times == sorted(times, reverse=True)
    last = found[-1]
    assert (last["video"], last["viewer"], last["granted"]) == (str(video), "users/ann", True)
    assert last["keySystem"] == "KEY_SYSTEM_CLEAR_KEY"
    assert ipaddress.ip_address(last["clientAddress"])
    assert base64.b64decode(last["keyIds"][0]) == sound.key_id
    published = await asyncio.to_thread(records_of, config, str(video))
    assert {decision.id for decision in published} == {each["id"] for each in found}


def decisions_since(owned: httpx.Client, began: datetime, video: VideoName) -> list[dict[str, Any]]:
    """List every decision about a video, page by page."""
    found = []
    page = ""
    while True:
        params = {"pageSize": "25", "pageToken": page, "startTime": began.isoformat()}

        def listed(params: dict[str, str] = params) -> httpx.Response | None:
            answer = owned.get("/v1/organizations/default/licenseDecisions", params=params)
            return None if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else answer

        # The gateway finds out by itself that a process is back.
        answer = eventually(listed, "decisions are listed")
        assert answer.status_code == 200, answer.text
        found += [each for each in answer.json().get("decisions", []) if each["video"] == str(video)]
        page = answer.json().get("nextPageToken", "")
        if not page:
            return found


def records_of(config: Config, video: str) -> list[LicenseDecision]:
    """Read every decision of a video from its topic."""
    consumer = Consumer(
        {
            "bootstrap.servers": config.kafka.bootstrap_servers,
            "group.id": str(uuid.uuid4()),
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
        }
    )
    found = []
    partitions = [TopicPartition(DECISIONS, number, 0) for number in range(config.kafka.partitions)]
    consumer.assign(partitions)
    ended = 0
    while ended < len(partitions):
        message = consumer.poll(10)
        assert message is not None
        if message.error():
            ended += 1
        elif message.key() == video.encode():
            found.append(LicenseDecision.FromString(message.value() or b""))
    consumer.close()
    return found


async def test_licenses_over_http(
    mesh: dict[str, KeyServiceAsyncStub], http: httpx.AsyncClient, stack: Stack, video: VideoName
) -> None:
    ring = KeyRing.load(stack.layout.media_keys)
    other = VideoName("default", IDS.new())
    for name in (video, other):
        await mesh["transcode"].CreateContentKeys(
            CreateContentKeysRequest(video=str(name), labels=LABELS, scheme=Protection.SCHEME_CBCS)
        )
    given = await mesh["worker"].GetContentKeys(GetContentKeysRequest(video=str(video)))
    keys = {key.label: key for key in given.keys}

    async def ask(token: str, label: str = "SD") -> httpx.Response:
        kid = base64.urlsafe_b64encode(keys[label].key_id).rstrip(b"=").decode()
        return await http.post(
            "/v1/licenses/clearkey", params={"token": token}, json={"kids": [kid], "type": "temporary"}
        )

    good = token(ring, video)
    answer = await ask(good)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["cache-control"] == "no-store"
    (key,) = answer.json()["keys"]
    assert decoded(key["k"]) == keys["SD"].value
    stranger = KeyRing({key_id: ec.generate_private_key(ec.SECP256R1()) for key_id in ring.keys})
    for wrong, label, status in [
        ("", "SD", 401),
        (good[:-8] + "AAAAAAAA", "SD", 401),
        (token(stranger, video), "SD", 401),
        (token(ring, video, aud="manifests"), "SD", 401),
        (token(ring, video, exp=int(time.time()) - 1), "SD", 403),
        (token(ring, other), "SD", 403),
        (good, "HD", 403),
        (token(ring, VideoName("default", IDS.new())), "SD", 404),
    ]:
        assert (await ask(wrong, label)).status_code == status
    elsewhere = {"origin": "https://elsewhere.example", "access-control-request-method": "POST"}
    preflight = await http.options("/v1/licenses/clearkey", headers=elsewhere)
    assert preflight.headers["access-control-allow-origin"] == "https://elsewhere.example"
    assert (await http.post("/v1/licenses/clearkey", params={"token": good}, content=b"{")).status_code == 400
    assert (await http.post("/v1/licenses/clearkey", params={"token": good})).status_code == 400


def test_the_benchmark_gets_licenses(reelmesh: Callable[..., dict[str, Any]]) -> None:
    result = reelmesh("bench", "licenses", "--seconds", "1", "--in-flight", "4")
    for tokens in ("fresh", "repeated"):
        assert result[tokens]["calls"] > 0
        assert result[tokens]["cpu_seconds"].keys() == {"control", "envoy", "cassandra", "kafka"}


async def test_packagers_fetch_keys_over_http(
    mesh: dict[str, KeyServiceAsyncStub], http: httpx.AsyncClient, owned: httpx.Client, video: VideoName
) -> None:
    kid = uuid.uuid4()
    document = f"""<cpix:CPIX contentId="{video.id}" version="2.3" xmlns:cpix="urn:dashif:org:cpix">
      <cpix:ContentKeyList><cpix:ContentKey kid="{kid}" commonEncryptionScheme="cbcs"/></cpix:ContentKeyList>
      <cpix:DRMSystemList><cpix:DRMSystem kid="{kid}" systemId="edef8ba9-79d6-4ace-a3c8-27dcd51d21ed"><cpix:PSSH/>
      </cpix:DRMSystem></cpix:DRMSystemList>
      <cpix:ContentKeyUsageRuleList><cpix:ContentKeyUsageRule kid="{kid}" intendedTrackType="SD"><cpix:VideoFilter/>
      </cpix:ContentKeyUsageRule></cpix:ContentKeyUsageRuleList></cpix:CPIX>"""
    headers = {"content-type": "application/xml", "x-speke-version": "2.0"}
    filled = await asyncio.to_thread(
        owned.post, "/v1/organizations/default/speke:v2", content=document, headers=headers
    )
    assert (filled.status_code, filled.headers["content-type"]) == (200, "application/xml"), filled.text
    assert (filled.headers["x-speke-version"], filled.headers["cache-control"]) == ("2.0", "no-store")
    (key,) = (await mesh["worker"].GetContentKeys(GetContentKeysRequest(video=str(video)))).keys
    assert (key.key_id, key.label) == (kid.bytes, "SD")
    assert base64.b64encode(key.value) in filled.content
    exported = await asyncio.to_thread(owned.post, f"/v1/{video}/cpix:export")
    assert exported.status_code == 200, exported.text
    assert base64.b64encode(key.value) in exported.content
    other = VideoName("default", IDS.new())
    imported = await asyncio.to_thread(
        owned.post, f"/v1/{other}/cpix:import", content=exported.content, headers=headers
    )
    assert imported.status_code == 200, imported.text
    assert base64.b64decode(imported.json()["keys"][0]["keyId"]) == kid.bytes
    (taken,) = (await mesh["worker"].GetContentKeys(GetContentKeysRequest(video=str(other)))).keys
    assert (taken.value, taken.iv) == (key.value, key.iv)
    speke = "/v1/organizations/default/speke:v2"
    assert (await asyncio.to_thread(owned.post, speke, content="<x/>", headers=headers)).status_code == 400
    assert (await http.post(speke, content=document, headers=headers)).status_code == 401
