"""The half of `reelmesh bench discovery` that asks for home pages: viewers with histories, and a model for all works.

What they watched and the model are made up and written where playback and recommend keep theirs: what is measured is
how fast pages are made, not how good they are.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import grpc
import numpy as np

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.discovery.v1.discovery_service_pb2 import ViewerContext
from reelmesh.mesh.clock import SystemClock, TimeOrderedIds
from reelmesh.mesh.config import Config
from reelmesh.mesh.names import ModelName, VideoName
from reelmesh.playback.progress import Progress
from reelmesh.playback.store import CassandraProgressStore
from reelmesh.recommend.artefacts import Artefact, Artefacts, pack
from reelmesh.recommend.model import Model, State
from reelmesh.recommend.model_store import CassandraModelStore
from reelmesh.recommend.parameters import Parameters
from reelmesh.recommend.v1 import recommendation_service_pb2 as pb
from reelmesh.recommend.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from reelmesh.stores.cassandra import Cassandra
from reelmesh.stores.objects import Objects
from reelmesh_tools.bench.errors import BenchError
from reelmesh_tools.bench.meter import Meter
from reelmesh_tools.bench.playback import CONNECTIONS, percentile
from reelmesh_tools.client.platform import CALL_SECONDS, Platform

ORGANIZATION = "default"
HISTORY = (3, 60)
"""Videos that a viewer watched, from and to."""
COUNTRIES = ("DE", "FR", "US")
LENGTH = timedelta(minutes=90)
CLUSTERS = 40
"""Tastes that the model tells apart."""
WARM_UP_SECONDS = 5.0
WAIT_SECONDS = 60.0
_TOGETHER = 32


async def prepare(config: Config, library: Sequence[Title], viewers: int, seed: int) -> list[str]:
    """Write down what viewers watched of a library that the catalog has told of, and a model of it; return the viewers.

    Raises Unavailable.
    """
    rng = random.Random(seed)  # noqa: S311 - the same viewers again
    played = [title for title in library if title.video and title.kind in (Title.KIND_FILM, Title.KIND_EPISODE)]
    names = [f"bench-{number}" for number in range(viewers)]
    cassandra = await Cassandra.connect(config.cassandra)
    try:
        store, free = CassandraProgressStore(cassandra), asyncio.Semaphore(_TOGETHER)
        now = datetime.now(UTC)

        async def watch(viewer: str, title: Title, ago: timedelta, part: float) -> None:
            video = VideoName(ORGANIZATION, title.video.rpartition("/")[2])
            progress = Progress(ORGANIZATION, viewer, video, LENGTH * part, LENGTH, now - ago)
            async with free:
                await (store.finish if progress.finished else store.put)(progress)

        async with asyncio.TaskGroup() as group:
            for viewer in names:
                for title in rng.sample(played, min(len(played), rng.randint(*HISTORY))):
                    ago = timedelta(days=rng.uniform(0, 90))
                    group.create_task(watch(viewer, title, ago, rng.choice((0.05, 0.4, 0.8, 1.0, 1.0, 1.0))))
        await _run_model(config, cassandra, library, seed)
    finally:
        await cassandra.close()
    return names


async def _run_model(config: Config, cassandra: Cassandra, library: Sequence[Title], seed: int) -> None:
    """Let a model run by which titles of a cluster are watched together."""
    noise = np.random.default_rng(seed)
    works = [title for title in library if title.kind in (Title.KIND_FILM, Title.KIND_SERIES)]
    size = Parameters().factors
    tastes = noise.normal(0, 0.2, (CLUSTERS, size))
    factors = tastes[noise.integers(0, CLUSTERS, len(works))] + noise.normal(0, 0.05, (len(works), size))
    artefact = Artefact(
        titles=tuple(title.name.rpartition("/")[2] for title in works),
        factors=factors.astype(np.float32),
        popularity=np.ones(len(works), np.float32),
        neighbours=np.full((len(works), 1), -1, np.int32),
        likeness=np.zeros((len(works), 1), np.float32),
        regularization=Parameters().regularization,
        alpha=Parameters().alpha,
        facts={},
    )
    clock = SystemClock()
    name = ModelName(ORGANIZATION, TimeOrderedIds(clock).new())
    checksum = await Artefacts(Objects.at(config.objects.models)).save(name, 1, pack(artefact, b""))
    store = CassandraModelStore(cassandra)
    before = await store.load(ORGANIZATION)
    model = Model(name, State.READY, clock.now(), attempt=1, end_time=clock.now(), checksum=checksum)
    if not await store.save(before, before.with_model(model).run(name.id, clock.now())):
        raise BenchError("another model was being made")


def measure(
    platform: Platform, pids: dict[str, int], viewers: Sequence[str], seconds: float, in_flight: int
) -> dict[str, Any]:
    """Ask for viewers' home pages for so long, with so many calls under way, through the gateway.

    Returns calls, per_second, p50_ms, p99_ms, rows and titles (means of a page), missing (pages that lacked a part),
    and by process cpu_seconds and rss_mb. Raises BenchError where pages do not become personal, grpc.RpcError.
    """
    _until_personal(platform, viewers)
    asyncio.run(_ask(platform.url, viewers, WARM_UP_SECONDS, in_flight))
    with Meter(pids, 0.2) as meter:
        began = time.perf_counter()
        pages = asyncio.run(_ask(platform.url, viewers, seconds, in_flight))
        elapsed = time.perf_counter() - began
    took = [each[0] for each in pages]
    return {
        "calls": len(pages),
        "per_second": round(len(pages) / elapsed, 1),
        "p50_ms": round(percentile(took, 0.50) * 1000, 1),
        "p99_ms": round(percentile(took, 0.99) * 1000, 1),
        "rows": round(sum(each[1] for each in pages) / len(pages), 2),
        "titles": round(sum(each[2] for each in pages) / len(pages), 1),
        "missing": sum(each[3] for each in pages),
        "in_flight": in_flight,
        "cpu_seconds": {process: cost.cpu_seconds for process, cost in meter.costs.items()},
        "rss_mb": {process: round(cost.rss_peak / 1e6) for process, cost in meter.costs.items()},
    }


def _until_personal(platform: Platform, viewers: Sequence[str]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    request = pb.GetHomeRequest(parent=platform.parent, viewer=viewers[0])
    while True:
        page = platform.unsigned_recommendations.GetHome(request, timeout=CALL_SECONDS)
        if page.personal and page.model and not page.missing:
            return
        if time.monotonic() > end:
            raise BenchError(f"pages are not what they should be: missing {list(page.missing)}, model {page.model!r}")
        time.sleep(0.5)  # replicas look for another model every few seconds, and have no event for it


async def _ask(url: str, viewers: Sequence[str], seconds: float, in_flight: int) -> list[tuple[float, int, int, bool]]:
    """Return of each page how many seconds it took, its rows, its titles, and whether a part was missing."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(urlsplit(url).netloc, options=options) for _ in range(CONNECTIONS)]
    requests = itertools.cycle(
        pb.GetHomeRequest(
            parent=f"organizations/{ORGANIZATION}", viewer=viewer, context=ViewerContext(territory=country)
        )
        for viewer, country in zip(viewers, itertools.cycle(COUNTRIES), strict=False)
    )
    found: list[tuple[float, int, int, bool]] = []
    end = time.perf_counter() + seconds

    async def one_after_another(ask: Callable[..., Any]) -> None:
        while (began := time.perf_counter()) < end:
            page = await ask(next(requests), timeout=CALL_SECONDS)
            took = time.perf_counter() - began
            found.append((took, len(page.rows), sum(len(row.titles) for row in page.rows), bool(page.missing)))

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(in_flight):
                stub = RecommendationServiceStub(channels[number % CONNECTIONS])
                group.create_task(one_after_another(stub.GetHome))
    finally:
        for channel in channels:
            await channel.close()
    return found
