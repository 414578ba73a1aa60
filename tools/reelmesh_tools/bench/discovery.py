"""`reelmesh bench discovery`: a large library on a platform of its own, searched through the gateway, and built anew.

The library is told on Kafka as the catalog tells it, without its database: what is measured is the read model. Two
replicas search. Each has its index built anew, from the first record, and has to give the same answers then.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import grpc

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.discovery.v1 import discovery_service_pb2 as pb
from reelmesh.discovery.v1 import index_service_pb2 as index_pb
from reelmesh.discovery.v1.discovery_service_pb2_grpc import DiscoveryServiceStub
from reelmesh.discovery.v1.index_service_pb2_grpc import IndexServiceStub
from reelmesh.events.v1.title_event_pb2 import TitleEvent
from reelmesh.mesh.config import load
from reelmesh.stores.events import TITLES, Publisher, Record, Sending, ensure_topics
from reelmesh_tools import reindex
from reelmesh_tools.bench import homes, judged, own, search_library
from reelmesh_tools.bench.errors import BenchError
from reelmesh_tools.bench.meter import Meter, pids_of
from reelmesh_tools.bench.playback import CONNECTIONS, percentile
from reelmesh_tools.client.platform import CALL_SECONDS, Platform
from reelmesh_tools.stack.client import Stack
from reelmesh_tools.stack.inside import channel_to

SEARCHING = ("kafka", "envoy", "discovery", "discovery-2")
"""What searching needs; home pages need all that is measured of one."""
HOMES = ("cassandra", "kafka", "envoy", "control", "analytics", "recommend", "discovery", "discovery-2")
BATCH = 500
"""Records that are published together."""
TOLD_SECONDS = 900.0
WARM_UP_SECONDS = 3.0
VIEWER = pb.ViewerContext(territory="DE", language="en")
Progress = Callable[[str], None]


def measure(titles: int, seed: int, seconds: float, in_flight: int, viewers: int, progress: Progress) -> dict[str, Any]:
    """Search so long with so many calls under way, for each way of asking; then ask for `viewers`' home pages.

    Returns what is printed: `index` (by replica: titles, bytes and, of the build from the first record, seconds and
    records), `same_answers` and `differences` (queries whose answers differ after the build), `search`, `suggest` and
    `browse` (calls, per_second, p50_ms, p99_ms, cpu_seconds and rss_mb by process), and `home` unless viewers is 0.
    Raises StackError, BenchError, grpc.RpcError.
    """
    now = datetime.now(UTC)
    progress("starting a platform")
    with own.stack(HOMES if viewers else SEARCHING) as (stack, platform):
        progress(f"telling of {titles:,} titles")
        began = time.perf_counter()
        asyncio.run(publish(stack, search_library.library(titles, seed, now)))
        until_told(stack, titles)
        told = time.perf_counter() - began
        queries = _queries(titles, seed, now)
        progress("building the indexes anew")
        before = answers(stack, queries)
        built = reindex.rebuild(stack, lambda index: progress(reindex.told(index)))
        after = answers(stack, queries)
        differences = [": ".join(asked) for asked, found in before.items() if after[asked] != found]
        result: dict[str, Any] = {
            "titles": titles,
            "told_seconds": round(told, 1),
            "index": {index.replica: _built(index) for index in built},
            "queries": len(queries),
            "same_answers": not differences,
            "differences": differences,
            "seconds": seconds,
            "in_flight": in_flight,
        }
        pids = pids_of(stack, "envoy", *reindex.replicas(stack))
        for name, requests in _ways(platform, queries).items():
            progress(name)
            result[name] = _rate(platform.url, requests, pids, seconds, in_flight)
        if viewers:
            progress("home pages")
            library = list(search_library.library(titles, seed, now))
            names = asyncio.run(homes.prepare(load(stack.layout.services_file), library, viewers, seed))
            pids |= pids_of(stack, "recommend", "control")
            result["home"] = homes.measure(platform, pids, names, seconds, in_flight)
    result["load_average"] = round(os.getloadavg()[0], 2)
    return result


async def publish(stack: Stack, library: Iterable[Title]) -> None:
    """Tell of titles on Kafka, as the catalog does. Raises Unavailable."""
    config = load(stack.layout.services_file).kafka
    await ensure_topics(config, {TITLES: config.partitions})
    publisher = Publisher(config, "bench", sending=Sending(batch=BATCH))
    try:
        waiting = iter(library)
        while batch := list(islice(waiting, BATCH)):
            await publisher.publish(
                *(Record(TITLES, title.name, TitleEvent(title=title).SerializeToString()) for title in batch)
            )
    finally:
        await publisher.close()


def until_told(stack: Stack, titles: int) -> None:
    """Wait until every replica holds so many titles. Raises BenchError."""
    end = time.monotonic() + TOLD_SECONDS
    for name in reindex.replicas(stack):
        with channel_to("cli", stack.layout, stack.plan.address(name), "discovery") as channel:
            stub = IndexServiceStub(channel)
            while (held := stub.GetIndex(index_pb.GetIndexRequest(), timeout=CALL_SECONDS).index).titles < titles:
                if time.monotonic() > end:
                    raise BenchError(f"{name} holds {held.titles} of {titles} titles after {TOLD_SECONDS:g} s")
                time.sleep(0.1)  # asked again


def answers(stack: Stack, queries: Sequence[str]) -> dict[tuple[str, str], list[str]]:
    """Return what each replica answers to each query: names of titles, by replica and query."""
    found = {}
    for name in reindex.replicas(stack):
        with channel_to("gateway", stack.layout, stack.plan.address(name), "discovery") as channel:
            stub = DiscoveryServiceStub(channel)
            for query in queries:
                answer = stub.Search(_search("organizations/default", query), timeout=CALL_SECONDS)
                found[name, query] = [hit.title.title for hit in answer.hits]
    return found


def _queries(titles: int, seed: int, now: datetime) -> list[str]:
    library = list(search_library.library(min(titles, 20_000), seed, now))
    known = judged.queries(search_library.landmarks(seed, now), library, seed)
    return list(dict.fromkeys(each.text for each in known))


def _built(index: index_pb.Index) -> dict[str, Any]:
    build = index.build
    seconds = (build.end_time.ToNanoseconds() - build.start_time.ToNanoseconds()) / 1e9
    return {
        "titles": index.titles,
        "bytes": index.bytes,
        "build_seconds": round(seconds, 1),
        "records": build.records,
        "records_per_second": round(build.records / seconds),
        "skipped": build.skipped,
    }


def _search(parent: str, query: str) -> pb.SearchRequest:
    return pb.SearchRequest(parent=parent, query=query, viewer=VIEWER)


def _ways(platform: Platform, queries: Sequence[str]) -> dict[str, list[tuple[str, bytes]]]:
    """Return encoded requests with their rpcs, by what is measured."""
    parent = platform.parent
    prefixes = sorted({query[:size] for query in queries for size in (2, 4, 6) if query[:size].isalnum()})
    orders = [pb.BrowseRequest.ORDER_POPULAR, pb.BrowseRequest.ORDER_NEW, pb.BrowseRequest.ORDER_TRENDING]
    listed = [pb.BrowseRequest(parent=parent, viewer=VIEWER, order=order, facets=["genre"]) for order in orders]
    suggested = [pb.SuggestRequest(parent=parent, prefix=each, viewer=VIEWER) for each in prefixes]
    return {
        "search": [("Search", _search(parent, query).SerializeToString()) for query in queries],
        "suggest": [("Suggest", each.SerializeToString()) for each in suggested],
        "browse": [("Browse", each.SerializeToString()) for each in listed],
    }


def _rate(
    url: str, requests: Sequence[tuple[str, bytes]], pids: dict[str, int], seconds: float, in_flight: int
) -> dict[str, Any]:
    asyncio.run(_ask(url, requests, WARM_UP_SECONDS, in_flight))
    with Meter(pids, 0.2) as meter:
        began = time.perf_counter()
        took = asyncio.run(_ask(url, requests, seconds, in_flight))
        elapsed = time.perf_counter() - began
    return {
        "calls": len(took),
        "per_second": round(len(took) / elapsed, 1),
        "p50_ms": round(percentile(took, 0.50) * 1000, 2),
        "p99_ms": round(percentile(took, 0.99) * 1000, 2),
        "cpu_seconds": {process: cost.cpu_seconds for process, cost in meter.costs.items()},
        "rss_mb": {process: round(cost.rss_peak / 1e6) for process, cost in meter.costs.items()},
    }


async def _ask(url: str, requests: Sequence[tuple[str, bytes]], seconds: float, in_flight: int) -> list[float]:
    """Keep so many calls under way for so long; return how many seconds each took.

    Requests and answers stay encoded: reading them would cost the machine as much as some searches.
    """
    channels = [
        grpc.aio.insecure_channel(urlsplit(url).netloc, options=[("grpc.use_local_subchannel_pool", 1)])
        for _ in range(CONNECTIONS)
    ]
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def one_after_another(place: int) -> None:
        calls: dict[str, Any] = {
            rpc: channels[place % CONNECTIONS].unary_unary(f"/reelmesh.discovery.v1.DiscoveryService/{rpc}")
            for rpc in {rpc for rpc, _ in requests}
        }
        at = place
        while (began := time.perf_counter()) < end:
            rpc, request = requests[at % len(requests)]
            await calls[rpc](request, timeout=CALL_SECONDS)
            took.append(time.perf_counter() - began)
            at += in_flight

    try:
        async with asyncio.TaskGroup() as group:
            for place in range(in_flight):
                group.create_task(one_after_another(place))
    finally:
        for channel in channels:
            await channel.close()
    return took
