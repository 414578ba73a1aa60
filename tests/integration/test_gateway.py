"""The gateway's configuration in a real Envoy, before fake services with mutual TLS."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
import httpx
import pytest
import pytest_asyncio
from gateway_world import PLAYLIST, UPLOAD, VIDEO, FakeCatalog, World, eventually, fake, serve
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from reelmesh.catalog.v1 import video_service_pb2, video_service_pb2_grpc
from reelmesh.ingest.v1 import upload_service_pb2
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


async def test_one_path_one_meaning(web: httpx.AsyncClient) -> None:
    async def get(path: str) -> httpx.Response:
        return await web.get(web.base_url.copy_with(raw_path=path.encode()))

    for path in ("/media/..%2fsecret", "/media/%2e%2e%2fsecret", "/media/a%5c..%5cb"):
        assert (await get(path)).status_code == 400, path
    for path in ("/media/../secret", "/media/%2e%2e/secret", "/media//..//secret"):
        assert (await get(path)).text.startswith(("GET /secret ", "GET /media/secret ")), path
    assert (await get("/media/a//b.m4s?token=x")).text == "GET /media/a/b.m4s?token=x HTTP/1.1"
    assert reason(await web.post("/media/a")) == "METHOD_NOT_ALLOWED"


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

        async with httpx.AsyncClient(base_url=world.url) as other, other.stream("GET", "/media/x") as open_stream:
            world.write()
            await eventually(moved)
            assert await open_stream.aread() == b"GET /media/x HTTP/1.1"
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
    await web.get("/media/a.m4s?token=secret")
    await web.get(f"/v1/{VIDEO}/hls/main.m3u8")
    await web.get(f"/v1/{UPLOAD}?token=secret")
    log = world.folder / "access.log"

    async def written() -> bool:
        return log.read_text().count("\n") == 3

    await eventually(written)
    lines = log.read_text().splitlines()
    assert "secret" not in "".join(lines)
    media, manifest, _ = map(json.loads, lines)
    assert (media["path"], media["service"], media["status"]) == ("/media/a.m4s", "origin", 200)
    assert (manifest["path"], manifest["grpc_status"]) == (f"/v1/{VIDEO}/hls/main.m3u8", "OK")
    assert manifest["bytes_sent"] == len(PLAYLIST)
    assert isinstance(manifest["duration_ms"], int)
