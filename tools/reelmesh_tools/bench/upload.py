"""`reelmesh bench upload`: the same bytes through the gateway and by plain HTTP PUT to disk, side by side."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import google_crc32c

from reelmesh.ingest.v1.upload_pb2 import Upload
from reelmesh.ingest.v1.upload_service_pb2 import (
    CancelUploadRequest,
    CreateUploadRequest,
    GetUploadRequest,
    WriteUploadRequest,
)
from reelmesh_tools.bench import plain
from reelmesh_tools.bench.errors import BenchError
from reelmesh_tools.bench.meter import Cost, Meter
from reelmesh_tools.client.platform import CALL_SECONDS, Platform
from reelmesh_tools.client.uploading import MESSAGE_BYTES

SLICE_BYTES = 14 << 20
"""What the web player sends in one PUT."""
BLOCK_BYTES = 4 << 20
"""Size of the random block that the source repeats."""
WARM_UP_BYTES = 64 << 20
"""Sent once by each before anything counts, so that connections and code paths are warm for all."""
MEGABYTE = 1_000_000
CONTENDERS = ("grpc", "slices", "proxied", "plain")
"""In the order of their turns in a round: WriteUpload, PutUpload by slices, the plain PUT through a bare Envoy, and the
plain PUT itself."""


@dataclass
class Contender:
    """The rounds of one way to send the bytes."""

    mb_per_second: list[float] = field(default_factory=list)
    """Megabytes (10^6 bytes) per second, first byte read to answer, one for each round."""
    client_cpu_seconds: list[float] = field(default_factory=list)
    """User and system time of this process, its threads included."""
    server_cpu_seconds: dict[str, list[float]] = field(default_factory=dict)
    """User and system time by process: ingest, envoy, or plain, or the bare Envoy as proxy."""
    ingest_rss_peak_bytes: int = 0
    """Most resident memory of ingest in any round; 0 for proxied and plain."""

    @property
    def median(self) -> float:
        """Median of the rounds, in MB/s."""
        return statistics.median(self.mb_per_second)

    def note(self, size: int, seconds: float, client_cpu: float, costs: dict[str, Cost]) -> None:
        """Add a round."""
        self.mb_per_second.append(round(size / seconds / MEGABYTE, 1))
        self.client_cpu_seconds.append(round(client_cpu, 2))
        for name, cost in costs.items():
            self.server_cpu_seconds.setdefault(name, []).append(cost.cpu_seconds)
        if "ingest" in costs:
            self.ingest_rss_peak_bytes = max(self.ingest_rss_peak_bytes, costs["ingest"].rss_peak)


def measure(
    platform: Platform, home: Path, pids: dict[str, int], size: int, rounds: int, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Run the rounds, one contender after the other in each.

    Returns what is printed:

    - size_bytes, rounds, plain_server ("nginx" or "putserver"), load_average (of one minute, before and after)
    - ratio: median of grpc / median of plain; slices_ratio, proxied_ratio: the same for slices and proxied. No server
      behind the gateway can do better than proxied_ratio
    - ingest_rss_before_bytes, ingest_rss_peak_bytes: resident memory of ingest before, and its peak in the rounds
    - contenders: grpc, slices, proxied, plain, each with median_mb_per_second and the fields of Contender

    `pids` has ingest's and envoy's. Nothing is left behind: uploads are cancelled, files removed. Raises BenchError,
    grpc.RpcError.
    """
    folder = home / "bench" / uuid.uuid4().hex
    folder.mkdir(parents=True)
    found = {name: Contender() for name in CONTENDERS}
    load_before = os.getloadavg()[0]
    try:
        progress("making the source")
        source = _source(folder / "source.bin", size)
        warm_up = _source(folder / "warm-up.bin", min(size, WARM_UP_BYTES))
        (folder / "plain").mkdir()
        with (
            plain.server(folder / "plain") as server,
            plain.proxy(server, folder) as proxy,
            Meter(pids) as whole,
        ):
            watched = {
                "grpc": pids,
                "slices": pids,
                "proxied": {"plain": server.pid, "proxy": proxy.pid},
                "plain": {"plain": server.pid},
            }
            targets = {"proxied": proxy, "plain": server}
            for number in range(rounds + 1):
                for name in CONTENDERS:
                    progress(f"round {number} of {rounds}: {name}" if number else f"warming up: {name}")
                    file = source if number else warm_up
                    _touch_pages(folder / "pages.bin", size)
                    began_cpu = time.process_time()
                    with Meter(watched[name]) as meter:
                        seconds = _send(name, platform, targets.get(name), file)
                    if number:
                        found[name].note(size, seconds, time.process_time() - began_cpu, meter.costs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "size_bytes": size,
        "rounds": rounds,
        "plain_server": server.kind,
        "load_average": [round(load_before, 2), round(os.getloadavg()[0], 2)],
        "ratio": round(found["grpc"].median / found["plain"].median, 3),
        "slices_ratio": round(found["slices"].median / found["plain"].median, 3),
        "proxied_ratio": round(found["proxied"].median / found["plain"].median, 3),
        "ingest_rss_before_bytes": whole.costs["ingest"].rss_before,
        "ingest_rss_peak_bytes": whole.costs["ingest"].rss_peak,
        "contenders": {
            name: {"median_mb_per_second": round(each.median, 1), **vars(each)} for name, each in found.items()
        },
    }


def _source(file: Path, size: int) -> Path:
    """Write `size` bytes that nothing on the way can compress or share."""
    block = os.urandom(BLOCK_BYTES)
    with file.open("wb") as out:
        for offset in range(0, size, BLOCK_BYTES):
            out.write(block[: size - offset])
    return file


def _touch_pages(file: Path, size: int) -> None:
    """Make the kernel's page cache find `size` bytes of memory that was in use just before.

    A virtual machine is given memory when it first touches it, which takes ten times as long as writing to it. Whoever
    came first would pay for all.
    """
    _source(file, size).unlink()


def _send(name: str, platform: Platform, server: plain.PlainServer | None, source: Path) -> float:
    """Send `source` to a plain server or else one way through the gateway, and remove what arrived.

    Returns the seconds from its first byte read to the answer.
    """
    if server is not None:
        began = time.perf_counter()
        plain.put(server, source)
        seconds = time.perf_counter() - began
        (server.root / source.name).unlink()
        return seconds
    size = source.stat().st_size
    wanted = Upload(display_name="bench.bin", title="bench", total_size=size)
    request = CreateUploadRequest(parent=platform.parent, upload=wanted, request_id=str(uuid.uuid4()))
    upload = platform.uploads.CreateUpload(request, timeout=CALL_SECONDS).upload
    try:
        began = time.perf_counter()
        if name == "grpc":
            platform.uploads.WriteUpload(_messages(upload.name, source))
        else:
            _put_slices(platform.url, upload.name, source)
        seconds = time.perf_counter() - began
        current = platform.uploads.GetUpload(GetUploadRequest(name=upload.name), timeout=CALL_SECONDS).upload
        if current.persisted_size != size:
            raise BenchError(f"{current.persisted_size} of {size} bytes are durable after a whole upload ({name})")
    finally:
        # Never finished, so that no job begins; cancelling removes the bytes.
        platform.uploads.CancelUpload(CancelUploadRequest(name=upload.name), timeout=CALL_SECONDS)
    return seconds


def _messages(name: str, source: Path) -> Iterator[WriteUploadRequest]:
    """Yield the stream that the command line's client sends, only without finish at its end."""
    offset = 0
    with source.open("rb") as file:
        while data := file.read(MESSAGE_BYTES):
            yield WriteUploadRequest(name=name, offset=offset, data=data, crc32c=google_crc32c.value(data))
            offset += len(data)


def _put_slices(gateway: str, upload: str, source: Path) -> None:
    """PUT slice after slice, as the web player does."""
    connection = http.client.HTTPConnection(urlsplit(gateway).netloc, timeout=plain.ANSWER_SECONDS)
    offset = 0
    try:
        with source.open("rb") as file:
            while data := file.read(SLICE_BYTES):
                query = f"offset={offset}&crc32c={google_crc32c.value(data)}"
                headers = {"Content-Type": "application/octet-stream"}
                connection.request("PUT", f"/v1/{upload}:write?{query}", data, headers)
                answer = connection.getresponse()
                text = answer.read()
                if answer.status != 200:
                    raise BenchError(f"a slice at {offset} was answered with {answer.status}: {text[:500]!r}")
                offset += len(data)
                if int(json.loads(text)["upload"]["persistedSize"]) != offset:
                    raise BenchError(f"a slice at {offset - len(data)} was acknowledged and is not durable")
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"the gateway broke off a slice at {offset}: {error}") from error
    finally:
        connection.close()
