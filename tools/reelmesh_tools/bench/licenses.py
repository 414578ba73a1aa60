"""`reelmesh bench licenses`: how many licenses of Clear Key are given in a second, over HTTP as players ask."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from reelmesh.drm.grants import AUDIENCE, ISSUER
from reelmesh.drm.v1.key_service_pb2 import CreateContentKeysRequest
from reelmesh.drm.v1.key_service_pb2_grpc import KeyServiceStub
from reelmesh.media.v1.media_pb2 import Protection
from reelmesh.mesh.keys import KeyRing
from reelmesh_tools.bench.errors import BenchError
from reelmesh_tools.bench.meter import Meter
from reelmesh_tools.bench.playback import WARM_UP_SECONDS, percentile
from reelmesh_tools.client.platform import CALL_SECONDS
from reelmesh_tools.stack.client import Stack
from reelmesh_tools.stack.inside import channel_as

VIDEOS = 20
"""Videos whose keys are asked for, as by viewers of a few films."""
LABELS = ("AUDIO", "SD")
"""Keys in each license."""
TOKEN_SECONDS = 3600
MOST_PER_SECOND = 3000
"""Tokens minted for each second in which every request brings its own: more than are used."""
REPEATED = 64
"""Tokens where players come again."""


def measure(
    stack: Stack, pids: dict[str, int], seconds: float, in_flight: int, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Ask for licenses for so long, over so many connections at once, through the gateway.

    Returns what is printed: seconds, in_flight, load_average (of one minute, before and after), and for tokens seen for
    the first time (fresh) and again (repeated) calls, per_second, p50_ms, p99_ms, and cpu_seconds by process. Raises
    BenchError where the platform gives no license, grpc.RpcError.
    """
    load_before = os.getloadavg()[0]
    ring = KeyRing.load(stack.layout.media_keys)
    progress("making keys")
    videos = _protected(stack)
    result: dict[str, Any] = {"seconds": seconds, "in_flight": in_flight}
    url = stack.plan.gateway_url
    for name, count in (("fresh", int(seconds * MOST_PER_SECOND)), ("repeated", REPEATED)):
        progress(f"minting tokens: {name}")
        requests = _requests(url, ring, videos, count)
        again = _requests(url, ring, videos, REPEATED)
        progress(f"warming up: {name}")
        asyncio.run(_ask(url, itertools.cycle(again), WARM_UP_SECONDS, in_flight))
        progress(name)
        with Meter(pids) as meter:
            began = time.perf_counter()
            took = asyncio.run(_ask(url, itertools.cycle(requests), seconds, in_flight))
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


def _protected(stack: Stack) -> dict[str, list[bytes]]:
    """Make keys of videos that are nothing else, as transcode does; return the key ids of each."""
    made = {}
    with channel_as("transcode", stack.layout, stack.plan, "drm") as channel:
        stub = KeyServiceStub(channel)
        for _ in range(VIDEOS):
            video = f"organizations/bench/videos/{uuid.uuid4()}"
            asked = CreateContentKeysRequest(video=video, labels=LABELS, scheme=Protection.SCHEME_CBCS)
            made[video] = [key.key_id for key in stub.CreateContentKeys(asked, timeout=CALL_SECONDS).keys]
    return made


def _requests(url: str, ring: KeyRing, videos: dict[str, list[bytes]], count: int) -> Sequence[bytes]:
    """Return requests as they go over the wire, each with a token of its own."""
    made = []
    for _, (video, key_ids) in zip(range(count), itertools.cycle(videos.items()), strict=False):
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": f"organizations/bench/sessions/{uuid.uuid4()}",
            "exp": int(time.time()) + TOKEN_SECONDS,
            "video": video,
            "labels": LABELS,
            "seconds": TOKEN_SECONDS,
            "renew": 0,
            "persist": False,
            "viewer": "",
        }
        kids = [base64.urlsafe_b64encode(key_id).rstrip(b"=").decode() for key_id in key_ids]
        body = json.dumps({"kids": kids, "type": "temporary"})
        made.append(
            f"POST /v1/licenses/clearkey?token={ring.sign(claims)} HTTP/1.1\r\nhost: {urlsplit(url).netloc}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
        )
    return made


async def _ask(url: str, requests: Iterator[bytes], seconds: float, in_flight: int) -> list[float]:
    """Keep `in_flight` connections busy for so long; return how many seconds each license took.

    A client library would cost more than what is measured, so requests and answers are handled as bytes.
    """
    address = urlsplit(url)
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def one_after_another() -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            while (began := time.perf_counter()) < end:
                writer.write(next(requests))
                await _license(reader)
                took.append(time.perf_counter() - began)
        finally:
            writer.close()
            await writer.wait_closed()

    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(one_after_another())
    return took


async def _license(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
    body = await reader.readexactly(length)
    if not head.startswith(b"HTTP/1.1 200 ") or b'"k":' not in body:
        status = head.splitlines()[0].decode()
        raise BenchError(f"no license: {status} {body.decode()}")
