"""Keys and licenses on the real stack: through the mesh as services see them, over HTTP as players do."""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from reelmesh.drm.keys import ContentKeys
from reelmesh.drm.model import Scheme
from reelmesh.drm.store import CassandraKeyStore
from reelmesh.drm.v1.key_service_pb2 import CreateContentKeysRequest, GetContentKeysRequest
from reelmesh.drm.v1.key_service_pb2_grpc import KeyServiceStub
from reelmesh.drm.wrapping import LocalWrapper, folder
from reelmesh.media.v1.media_pb2 import Protection
from reelmesh.mesh.clock import SystemClock, TimeOrderedIds
from reelmesh.mesh.keys import KeyRing
from reelmesh.mesh.names import VideoName
from reelmesh.stores.cassandra import Cassandra
from reelmesh.stores.migrations import migrate
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
    assert await store.add(video, [], await store.load(video)) is False


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
    assert base64.urlsafe_b64decode(key["k"] + "==") == keys["SD"].value
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
    assert (await http.post("/v1/licenses/clearkey", params={"token": good}, content=b"{")).status_code == 400
    assert (await http.post("/v1/licenses/clearkey", params={"token": good})).status_code == 400
