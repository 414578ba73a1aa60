"""The gateway's configuration in a real Envoy, before fake services with mutual TLS."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
import struct
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
import httpx
import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from gateway_world import PLAYLIST, UPLOAD, VIDEO, FakeCatalog, World, eventually, fake, serve, serve_origin
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from reelmesh.catalog.v1 import video_service_pb2, video_service_pb2_grpc
from reelmesh.ingest.v1 import upload_service_pb2
from reelmesh.mesh.keys import KeyRing
from reelmesh.transcode.v1 import (
    job_service_pb2,
    job_service_pb2_grpc,
    segment_index_service_pb2,
    segment_index_service_pb2_grpc,
    task_service_pb2,
    task_service_pb2_grpc,
)
from reelmesh_gateway.validate import validate

JOB = "organizations/default/jobs/00000000-0000-7000-8000-000000000003"


@pytest_asyncio.fixture
async def world(tmp_path: Any) -> AsyncIterator[World]:
    async with contextlib.AsyncExitStack() as stack:
        world = World(tmp_path)
        await world.start(stack)
        yield world


@pytest_asyncio.fixture
async def web(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=world.url, timeout=30) as client:
        yield client


@pytest_asyncio.fixture
async def channel(world: World) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{world.port}") as channel:
        yield channel


def reason(response: httpx.Response) -> str:
    """Return the reason of an error, having checked that it is google.rpc.Status with ErrorInfo."""
    assert response.headers["content-type"] == "application/json"
    (info,) = response.json()["details"]
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    return str(info["reason"])


def test_envoy_accepts_all_of_it(tmp_path: Any) -> None:
    world = World(tmp_path)
    world.addresses = {"ingest": ["127.0.0.1:9001", "unix:/run/ingest"], "origin": ["[::1]:9080"]}
    validate(world.write())


async def test_grpc(world: World, channel: grpc.aio.Channel) -> None:
    stub = video_service_pb2_grpc.VideoServiceStub(channel)
    assert (await stub.GetVideo(video_service_pb2.GetVideoRequest(name=VIDEO))).video.title == "One"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetVideo(video_service_pb2.GetVideoRequest(name="other"))
    status = rpc_status.from_call(cast(grpc.Call, caught.value))
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    assert (caught.value.code(), info.reason) == (grpc.StatusCode.NOT_FOUND, "VIDEO_UNKNOWN")

    jobs = job_service_pb2_grpc.JobServiceStub(channel)
    watched = [answer.job.revision async for answer in jobs.WatchJob(job_service_pb2.WatchJobRequest(name=JOB))]
    assert watched == [1, 2, 3]


async def test_grpc_web(web: httpx.AsyncClient) -> None:
    def framed(message: Any) -> bytes:
        return struct.pack(">BI", 0, message.ByteSize()) + bytes(message.SerializeToString())

    headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1", "origin": "http://localhost:5173"}
    path = "/reelmesh.catalog.v1.VideoService/GetVideo"
    answer = await web.post(path, content=framed(video_service_pb2.GetVideoRequest(name=VIDEO)), headers=headers)
    flag, size = struct.unpack_from(">BI", answer.content)
    message = video_service_pb2.GetVideoResponse.FromString(answer.content[5 : 5 + size])
    assert (answer.status_code, flag, message.video.title) == (200, 0, "One")
    assert answer.content[5 + size] == 0x80
    assert b"grpc-status:0" in answer.content
    assert answer.headers["access-control-allow-origin"] == "http://localhost:5173"
    assert "grpc-status-details-bin" in answer.headers["access-control-expose-headers"]

    path = "/reelmesh.transcode.v1.JobService/WatchJob"
    answer = await web.post(path, content=framed(job_service_pb2.WatchJobRequest(name=JOB)), headers=headers)
    assert answer.content.count(JOB.encode()) == 3


async def test_json(world: World, web: httpx.AsyncClient) -> None:
    answer = await web.get(f"/v1/{UPLOAD}")
    assert answer.json()["upload"]["persistedSize"] == "0", "zero values are written"
    answer = await web.get(f"/v1/{VIDEO[:-1]}9")
    assert (answer.status_code, reason(answer)) == (404, "VIDEO_UNKNOWN")
    assert reason(await web.get(f"/v1/{VIDEO}?nonsense=1")) == "REQUEST_MALFORMED"
    assert reason(await web.get("/v1/organizations/default/videos?page_size=x")) == "REQUEST_MALFORMED"
    assert reason(await web.get("/v1/nonsense")) == "ROUTE_UNKNOWN"
    answer = await web.post("/v1/organizations/default/videos", content=b'{"title": "%s"}' % (b"x" * (2 << 20)))
    assert (answer.status_code, reason(answer)) == (413, "REQUEST_TOO_LARGE")


async def test_body_with_headers(web: httpx.AsyncClient) -> None:
    answer = await web.get(f"/v1/{VIDEO}/hls/main.m3u8", headers={"origin": "https://elsewhere.example"})
    assert answer.content == PLAYLIST
    assert answer.headers["content-type"] == "application/vnd.apple.mpegurl"
    assert (answer.headers["cache-control"], answer.headers["etag"]) == ("public, max-age=1", '"7"')
    assert answer.headers["access-control-allow-origin"] == "https://elsewhere.example"
    answer = await web.get(f"/v1/{VIDEO}", headers={"origin": "https://elsewhere.example"})
    assert "access-control-allow-origin" not in answer.headers


async def test_put_streams(world: World, web: httpx.AsyncClient) -> None:
    async def file() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(1 << 20)

    url = f"/v1/{UPLOAD}:write?offset=5&crc32c=4000000000&finish=true"
    answer = await web.put(url, content=file(), headers={"content-type": "video/mp4"})
    assert answer.json()["upload"]["persistedSize"] == str(64 << 20)
    assert len(world.uploads.sizes) >= 64
    assert max(world.uploads.sizes) <= 1 << 20
    first, *rest = world.uploads.messages
    assert (first.name, first.offset, first.crc32c, first.finish) == (UPLOAD, 5, 4_000_000_000, True)
    assert first.body.content_type == "video/mp4"
    plain = [upload_service_pb2.PutUploadRequest(body=message.body) for message in rest]
    assert rest == plain, "later messages carry bytes and nothing else"

    await web.put(f"/v1/{UPLOAD}:write?offset=7&finish=true")
    (only,) = world.uploads.messages
    assert (only.name, only.offset, only.finish, only.body.data) == (UPLOAD, 7, True, b"")


async def test_media_opens_for_its_own_token_only(world: World, web: httpx.AsyncClient) -> None:
    mine = world.token("/media/acme/v1/j1/")
    path = "/media/acme/v1/j1/v720/00001.m4s"
    answer = await web.get(f"{path}?token={mine}")
    assert (answer.status_code, answer.text) == (200, f"GET {path} HTTP/1.1"), "the origin sees no token"
    assert (await web.head(f"{path}?token={mine}")).status_code == 200

    head, payload, signature = mine.split(".")
    other = KeyRing({"1": ec.generate_private_key(ec.SECP256R1())})
    unsigned = jwt.encode({"aud": "media", "iss": "reelmesh.playback", "prefix": "/media/"}, "", "none")
    refusals = {
        "none": ("", 401, "MEDIA_TOKEN_INVALID"),
        "empty": ("?token=", 401, "MEDIA_TOKEN_INVALID"),
        "tampered": (f"?token={head}.{payload[:-2]}AA.{signature}", 401, "MEDIA_TOKEN_INVALID"),
        "unsigned": (f"?token={unsigned}", 401, "MEDIA_TOKEN_INVALID"),
        "by a stranger": (f"?token={world.token(keys=other)}", 401, "MEDIA_TOKEN_INVALID"),
        "by another issuer": (f"?token={world.token(iss='someone')}", 401, "MEDIA_TOKEN_INVALID"),
        "for manifests": (f"?token={world.token(aud='manifests')}", 403, "MEDIA_TOKEN_MISMATCH"),
        "expired": (f"?token={world.token(seconds=-10)}", 403, "MEDIA_TOKEN_EXPIRED"),
        "another video": (f"?token={world.token('/media/acme/v2/')}", 403, "MEDIA_TOKEN_MISMATCH"),
        "another with a like name": (f"?token={world.token('/media/acme/v1/j1/v72/')}", 403, "MEDIA_TOKEN_MISMATCH"),
        "no path": (f"?token={world.token(prefix=None)}", 403, "MEDIA_TOKEN_MISMATCH"),
    }
    for name, (query, status, wanted) in refusals.items():
        answer = await web.get(path + query)
        assert (answer.status_code, reason(answer)) == (status, wanted), name


async def test_a_token_opens_nothing_by_a_detour(world: World, web: httpx.AsyncClient) -> None:
    mine = world.token("/media/acme/v1/")
    for detour in (
        *("/media/acme/v1/../v2/a.m4s", "/media/acme/v1/%2e%2e/v2/a.m4s", "/media/acme/v1/%2E%2E/v2/a.m4s"),
        *("/media/acme/v1/..%2fv2/a.m4s", "/media/acme/v1/..%5cv2/a.m4s", "/media/acme/v1/.%2e/v2/a.m4s"),
        *("/media//acme/v2/a.m4s", "//media/acme/v2/a.m4s", "/media/./acme/v2/a.m4s", "/x/../media/acme/v2/a.m4s"),
    ):
        url = web.base_url.copy_with(raw_path=f"{detour}?token={mine}".encode())
        assert (await web.get(url)).status_code in {400, 403}, detour
    preflight = {"origin": "https://elsewhere.example", "access-control-request-method": "GET"}
    assert (await web.options("/media/acme/v1/a.m4s", headers=preflight)).status_code == 200
    assert (await web.options("/media/acme/v1/a.m4s")).status_code == 401


async def test_one_path_one_meaning(world: World, web: httpx.AsyncClient) -> None:
    token = world.token()

    async def get(path: str) -> httpx.Response:
        return await web.get(web.base_url.copy_with(raw_path=f"{path}?token={token}".encode()))

    for path in ("/media/..%2fsecret", "/media/%2e%2e%2fsecret", "/media/a%5c..%5cb"):
        assert (await get(path)).status_code == 400, path
    for path in ("/media/../secret", "/media/%2e%2e/secret", "/media//..//secret"):
        assert (await get(path)).text.startswith(("GET /secret?", "GET /media/secret ")), path
    assert (await get("/media/a//b.m4s")).text == "GET /media/a/b.m4s HTTP/1.1"
    assert reason(await web.post(f"/media/a?token={token}")) == "METHOD_NOT_ALLOWED"


async def test_what_is_internal_has_no_route(channel: grpc.aio.Channel, web: httpx.AsyncClient) -> None:
    health: Any = health_pb2_grpc.HealthStub(channel)
    calls = [
        task_service_pb2_grpc.TaskServiceStub(channel).StartTask(task_service_pb2.StartTaskRequest()),
        segment_index_service_pb2_grpc.SegmentIndexServiceStub(channel).GetSegmentIndex(
            segment_index_service_pb2.GetSegmentIndexRequest()
        ),
        health.Check(health_pb2.HealthCheckRequest()),
    ]
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNIMPLEMENTED, "no such rpc")
    for service in ("reelmesh.transcode.v1.TaskService/StartTask", "grpc.health.v1.Health/Check"):
        for kind in ("application/json", "application/grpc-web+proto"):
            answer = await web.post(f"/{service}", content=b"", headers={"content-type": kind})
            assert answer.status_code == 404


async def test_retries_only_without_side_effects(world: World, web: httpx.AsyncClient) -> None:
    world.catalog.failures = 2
    assert (await web.get(f"/v1/{VIDEO}")).status_code == 200
    assert world.catalog.calls == 3
    world.catalog.calls = 0
    assert (await web.post("/v1/organizations/default/videos", json={"title": "x"})).status_code == 503
    assert world.catalog.calls == 1


async def test_hot_reload(world: World, web: httpx.AsyncClient) -> None:
    assert (await web.get(f"/v1/{VIDEO}")).json()["video"]["title"] == "One"
    async with contextlib.AsyncExitStack() as stack:
        world.certificates.issue("catalog")
        second = await serve(stack, world.certificates.server("catalog"), fake(FakeCatalog, "Two"))
        world.addresses["catalog"] = [second]

        async def moved() -> bool:
            return bool((await web.get(f"/v1/{VIDEO}")).json().get("video", {}).get("title") == "Two")

        async with httpx.AsyncClient(base_url=world.url) as other, other.stream("GET", "/x") as open_stream:
            world.write()
            await eventually(moved)
            assert await open_stream.aread() == b"GET /x HTTP/1.1"
        stats = await world.stats()
        assert stats["listener_manager.listener_added"] == 1
        assert stats["listener_manager.listener_modified"] == 0
        assert stats["http.gateway.downstream_cx_total"] <= 3, "the client's connection was kept"
        assert not [name for name, value in stats.items() if name.endswith("update_rejected") and value]
    world.addresses["catalog"] = []
    world.write()
    await world.until(lambda stats: stats["cluster.catalog.membership_total"] == 0)
    answer = await web.get(f"/v1/{VIDEO}")
    assert (answer.status_code, reason(answer)) == (503, "SERVICE_UNAVAILABLE")


async def test_another_services_certificate_is_refused(world: World, web: httpx.AsyncClient) -> None:
    async with contextlib.AsyncExitStack() as stack:
        wrong = await serve(stack, world.certificates.server("ingest"), fake(FakeCatalog))
        world.addresses["catalog"] = [wrong]
        world.write()
        await world.until(lambda stats: stats["cluster.catalog.ssl.fail_verify_san"] > 0)
        assert reason(await web.get(f"/v1/{VIDEO}")) == "SERVICE_UNAVAILABLE"


async def test_access_log(world: World, web: httpx.AsyncClient) -> None:
    token = world.token()
    await web.get(f"/media/a.m4s?token={token}")
    await web.get(f"/v1/{VIDEO}/hls/main.m3u8")
    await web.get(f"/v1/{UPLOAD}?token=secret")
    log = world.folder / "access.log"

    async def written() -> bool:
        return log.read_text().count("\n") == 3

    await eventually(written)
    lines = log.read_text().splitlines()
    assert "secret" not in "".join(lines)
    assert token not in "".join(lines)
    media, manifest, _ = map(json.loads, lines)
    assert (media["path"], media["service"], media["status"]) == ("/media/a.m4s", "origin", 200)
    assert (manifest["path"], manifest["grpc_status"]) == (f"/v1/{VIDEO}/hls/main.m3u8", "OK")
    assert manifest["bytes_sent"] == len(PLAYLIST)
    assert isinstance(manifest["duration_ms"], int)


async def test_what_a_persons_token_says_goes_to_the_service(world: World, web: httpx.AsyncClient) -> None:
    path = f"/v1/{VIDEO}"
    said = {"x-reelmesh-person": "eyJzdWIiOiJmb3JnZWQifQ"}
    assert (await web.get(path, headers=said)).is_success
    assert "x-reelmesh-person" not in world.catalog.metadata, "only the gateway says who calls"
    signed = world.person(organizations={"default": "editor"})
    assert (await web.get(path, headers={**said, **signed})).is_success
    seen = world.catalog.metadata["x-reelmesh-person"]
    claims = json.loads(base64.urlsafe_b64decode(seen + "=" * (-len(seen) % 4)))
    assert (claims["sub"], claims["organizations"]) == ("users/1", {"default": "editor"})
    assert "authorization" not in world.catalog.metadata, "the token itself goes no further"


async def test_a_persons_token_is_good_or_refused(world: World, web: httpx.AsyncClient) -> None:
    path, good = f"/v1/{VIDEO}", world.person()
    stranger = KeyRing({"p": ec.generate_private_key(ec.SECP256R1())})
    wrong = {
        "expired": (world.person(seconds=-60), "TOKEN_EXPIRED"),
        "another key": (world.person(keys=stranger), "TOKEN_INVALID"),
        "another audience": (world.person(aud="refresh"), "TOKEN_INVALID"),
        "another issuer": (world.person(iss="elsewhere"), "TOKEN_INVALID"),
        "none": ({"authorization": "Bearer nonsense"}, "TOKEN_INVALID"),
    }
    calls = world.catalog.calls
    for name, (header, why) in wrong.items():
        answer = await web.get(path, headers=header)
        assert (answer.status_code, reason(answer)) == (401, why), name
    token = good["authorization"].removeprefix("Bearer ")
    assert (await web.get(path, params={"access_token": token})).status_code == 400, "never by the query"
    assert world.catalog.calls == calls, "the service was not asked"
    assert (await web.get(path, headers=good)).is_success
    assert (await web.get("/v1/nothing")).status_code == 404, "who has no token gets the answer that everyone gets"


async def test_another_issuer_is_believed_once_it_is_named(world: World, web: httpx.AsyncClient) -> None:
    theirs = KeyRing({"t": ec.generate_private_key(ec.SECP256R1())})
    signed = world.person(keys=theirs, iss="https://sign-in.example", aud="video")
    assert (await web.get(f"/v1/{VIDEO}", headers=signed)).status_code == 401
    async with contextlib.AsyncExitStack() as stack:
        keys = await serve_origin(stack, json.dumps(theirs.jwks()).encode())
        issuer = {"issuer": "https://sign-in.example", "audiences": ["video"], "jwks_uri": f"http://{keys}/jwks"}
        world.write(issuers={"company": issuer})

        async def believed() -> bool:
            return (await web.get(f"/v1/{VIDEO}", headers={**signed, "connection": "close"})).is_success

        await eventually(believed)
    assert (await web.get(f"/v1/{VIDEO}", headers=world.person())).is_success, "and ours still is"


async def answers(web: httpx.AsyncClient, count: int, headers: dict[str, str]) -> list[int]:
    return [(await web.get(f"/v1/{VIDEO}", headers=headers)).status_code for _ in range(count)]


async def test_who_asks_too_often_is_told_to_wait(world: World, web: httpx.AsyncClient) -> None:
    rate = {"per_second": 1, "burst": 5}
    world.write(limits={"person_rate": rate, "address_rate": {"per_second": 1, "burst": 40}})
    ann, bob = world.person(sub="users/ann"), world.person(sub="users/bob")

    async def limited() -> bool:
        async with httpx.AsyncClient(base_url=world.url) as fresh:
            return 429 in await answers(fresh, 3, ann)

    await eventually(limited)
    async with httpx.AsyncClient(base_url=world.url) as fresh:
        refused = await fresh.get(f"/v1/{VIDEO}", headers=ann)
        assert (refused.status_code, reason(refused)) == (429, "TOO_MANY_REQUESTS")
        assert await answers(fresh, 5, bob) == [200] * 5, "another person is not held up"
        assert 429 in await answers(fresh, 60, {}), "nor does an address ask for ever"
        media = [(await fresh.get("/media/x", params={"token": world.token()})).status_code for _ in range(60)]
        assert media == [200] * 60, "segments are not counted"
    async with grpc.aio.insecure_channel(f"127.0.0.1:{world.port}") as channel:
        stub = video_service_pb2_grpc.VideoServiceStub(channel)
        calls = [stub.GetVideo(video_service_pb2.GetVideoRequest(name=VIDEO)) for _ in range(10)]
        refusals = [error for error in await asyncio.gather(*calls, return_exceptions=True) if error]
    assert grpc.StatusCode.RESOURCE_EXHAUSTED in {getattr(error, "code", str)() for error in refusals}


async def test_tls_and_its_certificate_are_taken_up(world: World) -> None:
    folder = world.certificates.folder
    world.certificates.issue("catalog")  # any name will do: clients see that it is this one
    tls = {"certificate": str(folder / "catalog.pem"), "key": str(folder / "catalog.key")}
    trusted = ssl.create_default_context(cafile=folder / "ca.pem")
    trusted.check_hostname = False
    world.write(tls=tls)

    def taken_up(stats: dict[str, int]) -> bool:
        # Envoy reads listener and routes one after the other: TLS may be there while the old routes still answer. What
        # its main thread counts here it has handed to the workers, who take it before the connections that come then.
        listener = stats["listener_manager.listener_modified"] and not stats["listener_manager.total_listeners_warming"]
        return bool(listener and stats["http.gateway.rds.routes.config_reload"] == 2)

    await world.until(taken_up)
    async with httpx.AsyncClient(base_url=f"https://127.0.0.1:{world.port}", verify=trusted) as client:
        answer = await client.get(f"/v1/{VIDEO}")
    assert answer.is_success
    assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
    before = ssl.get_server_certificate(("127.0.0.1", world.port))
    world.certificates.issue("catalog")
    for file in (folder / "catalog.key", folder / "catalog.pem"):
        file.with_suffix(".new").write_bytes(file.read_bytes())
        file.with_suffix(".new").replace(file)

    async def renewed() -> bool:
        return await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", world.port)) != before

    await eventually(renewed)


async def test_media_is_not_for_pages_that_nobody_named(world: World, web: httpx.AsyncClient) -> None:
    uri, own = f"/media/x?token={world.token()}", "https://video.example"
    thieves = ["https://thief.example", f"{own}.thief.example", f"https://thief.example/?{own}/"]
    assert (await web.get(uri, headers={"origin": thieves[0]})).is_success, "anyone may embed by default"
    world.write(cors={"origins": [], "media_origins": [own]})

    async def refused() -> bool:
        async with httpx.AsyncClient(base_url=world.url) as fresh:
            return (await fresh.get(uri, headers={"origin": thieves[0]})).status_code == 403

    await eventually(refused)
    async with httpx.AsyncClient(base_url=world.url) as fresh:
        for name in ("origin", "referer"):
            for thief in thieves:
                answer = await fresh.get(uri, headers={name: thief})
                assert (answer.status_code, reason(answer)) == (403, "MEDIA_HOTLINKED"), f"{name} {thief}"
        named: list[dict[str, str]] = [{}, {"origin": own}, {"referer": f"{own}/watch/1"}, {"referer": own}]
        for headers in named:
            assert (await fresh.get(uri, headers=headers)).is_success, headers
        mismatch = await fresh.get(f"/media/x?token={world.token('/media/y/')}")
        assert (mismatch.status_code, reason(mismatch)) == (403, "MEDIA_TOKEN_MISMATCH")
