"""`reelmesh bench playback`: how many viewings begin, and how many manifests are served, in a second."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import grpc

from reelmesh.catalog.v1.video_pb2 import Video
from reelmesh.catalog.v1.video_service_pb2 import ListVideosRequest
from reelmesh.playback.v1.manifest_service_pb2 import GetDashManifestRequest
from reelmesh.playback.v1.manifest_service_pb2_grpc import ManifestServiceStub
from reelmesh.playback.v1.playback_service_pb2 import CreatePlaybackSessionRequest
from reelmesh.playback.v1.playback_service_pb2_grpc import PlaybackServiceStub
from reelmesh.playback.v1.session_pb2 import PlaybackSession
from reelmesh_tools.bench.errors import BenchError
from reelmesh_tools.bench.meter import Meter
from reelmesh_tools.client.platform import CALL_SECONDS, Platform

CONNECTIONS = 4
"""As from a few clients: one HTTP/2 connection would be served by one of the gateway's threads alone."""
WARM_UP_SECONDS = 2.0

Call = Callable[[grpc.aio.Channel], Awaitable[object]]


def measure(
    platform: Platform, pids: dict[str, int], seconds: float, in_flight: int, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Call each rpc for so long, with so many calls under way at once, through the gateway.

    Returns what is printed: seconds, in_flight, load_average (of one minute, before and after), and for each of
    sessions (CreatePlaybackSession) and manifests (GetDashManifest) calls, per_second, p50_ms, p99_ms, and cpu_seconds
    by process. Raises BenchError where there is no video to play, grpc.RpcError.
    """
    video = _playable(platform)
    load_before = os.getloadavg()[0]
    result: dict[str, Any] = {"video": video, "seconds": seconds, "in_flight": in_flight}
    wanted = CreatePlaybackSessionRequest(parent=platform.parent, session=PlaybackSession(video=video))
    session = platform.playback.CreatePlaybackSession(wanted, timeout=CALL_SECONDS).session
    manifest = GetDashManifestRequest(video=video, token=urlsplit(session.dash_uri).query.partition("token=")[2])
    calls: dict[str, Call] = {
        "sessions": lambda channel: PlaybackServiceStub(channel).CreatePlaybackSession(wanted, timeout=CALL_SECONDS),
        "manifests": lambda channel: ManifestServiceStub(channel).GetDashManifest(manifest, timeout=CALL_SECONDS),
    }
    for name, call in calls.items():
        progress(f"warming up: {name}")
        asyncio.run(_call(platform.url, call, WARM_UP_SECONDS, in_flight))
        progress(name)
        with Meter(pids) as meter:
            began = time.perf_counter()
            took = asyncio.run(_call(platform.url, call, seconds, in_flight))
            elapsed = time.perf_counter() - began
        result[name] = {
            "calls": len(took),
            "per_second": round(len(took) / elapsed, 1),
            "p50_ms": round(percentile(took, 0.50) * 1000, 2),
            "p99_ms": round(percentile(took, 0.99) * 1000, 2),
            "cpu_seconds": {process: cost.cpu_seconds for process, cost in meter.costs.items()},
        }
    result["load_average"] = [round(load_before, 2), round(os.getloadavg()[0], 2)]
    return result


def percentile(values: list[float], share: float) -> float:
    """Return the least of `values` that so large a share of them does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _playable(platform: Platform) -> str:
    listed = platform.videos.ListVideos(ListVideosRequest(parent=platform.parent, page_size=100), timeout=CALL_SECONDS)
    for video in listed.videos:
        if video.state == Video.STATE_READY:
            return video.name
    raise BenchError("there is no video to play: upload one first")


async def _call(url: str, call: Call, seconds: float, in_flight: int) -> list[float]:
    """Keep `in_flight` calls under way for so long; return how many seconds each took."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(urlsplit(url).netloc, options=options) for _ in range(CONNECTIONS)]
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def one_after_another(channel: grpc.aio.Channel) -> None:
        while (began := time.perf_counter()) < end:
            await call(channel)
            took.append(time.perf_counter() - began)

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(in_flight):
                group.create_task(one_after_another(channels[number % CONNECTIONS]))
    finally:
        for channel in channels:
            await channel.close()
    return took
