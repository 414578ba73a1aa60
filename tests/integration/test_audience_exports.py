"""What analytics tells other services of an audience, on chDB, held against plain counting."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from analytics_world import Audience as Viewings
from analytics_world import arrive, audience, counted

from reelmesh.analytics.audience import ROWS, Audience
from reelmesh.analytics.audience_service import AudienceService
from reelmesh.analytics.v1 import audience_service_pb2 as pb
from reelmesh.mesh.clock import TimeOrderedIds
from reelmesh.stores.warehouse import Warehouse
from reelmesh.telemetry.v1 import event_pb2 as events
from reelmesh.telemetry.v1.record_pb2 import TelemetryRecord

START = (datetime.now(UTC) - timedelta(days=1)).replace(hour=23, minute=20, second=0, microsecond=0) - timedelta(days=1)
"""Across midnight, and of late: how far viewers got is only kept by the minute for three days."""
NOBODY: Any = None
"""A context that is not asked."""


class _Clock:
    def now(self) -> datetime:
        return START + timedelta(days=2)


@pytest.fixture(scope="module")
def people(warehouse: Warehouse) -> Viewings:
    made = audience("watchers", 150, START, 7200, seed=9)
    asyncio.run(arrive(warehouse, made.records))
    asyncio.run(arrive(warehouse, made.records[:40]))  # once more
    asyncio.run(arrive(warehouse, audience("not watchers", 5, START, 7200).records))
    asyncio.run(counted(warehouse, _Clock()))
    return made


@pytest.fixture
def service(warehouse: Warehouse) -> AudienceService:
    return AudienceService(Audience(warehouse), _Clock())


async def collected(parts: AsyncIterator[pb.ExportInteractionsResponse]) -> dict[tuple[bytes, str], Any]:
    found: dict[tuple[bytes, str], Any] = {}
    order: list[bytes] = []
    async for part in parts:
        assert len(part.viewers) == len(part.videos) == len(part.watch_ms) * 16
        assert 0 < len(part.watch_ms) == len(part.completions) == len(part.last_times_ms) <= ROWS
        columns = zip(part.watch_ms, part.completions, part.last_times_ms, strict=True)
        for at, (watch, completion, last) in enumerate(columns):
            viewer = part.viewers[at * 16 : at * 16 + 16]
            video = str(uuid.UUID(bytes=part.videos[at * 16 : at * 16 + 16]))
            order.append(viewer)
            assert (viewer, video) not in found
            found[viewer, video] = (watch, completion, last)
    assert order == sorted(order)
    return found


def watched(people: Viewings, before: datetime | None = None) -> dict[tuple[bytes, str], list[Any]]:
    """Viewings in which something was watched, by viewer and video: watch time, and when each began."""
    found = defaultdict(list)
    for facts in people.viewings().values():
        record, watch = facts[0].record, max(fact.event.watch_total_ms for fact in facts)
        begun = min(fact.event.event_time_ms for fact in facts)
        if record.viewer and watch and (before is None or begun < before.timestamp() * 1000):
            found[record.viewer, record.video].append((watch, begun))
    return found


@pytest.mark.parametrize("minutes", [None, 40])
async def test_there_is_one_interaction_for_each_viewer_and_video(
    service: AudienceService, people: Viewings, minutes: int | None
) -> None:
    request = pb.ExportInteractionsRequest(parent="organizations/watchers")
    end = START + timedelta(minutes=minutes) if minutes else None
    if end is not None:
        request.end_time.FromDatetime(end)
    found = await collected(service.ExportInteractions(request, NOBODY))
    expected = watched(people, end)
    assert found.keys() == expected.keys()
    assert len(expected) > 30
    furthest: dict[str, int] = defaultdict(int)
    for fact in people.facts():
        if fact.event.watch_ms:
            furthest[fact.record.video] = max(furthest[fact.record.video], fact.event.position_ms)
    for pair, viewings in expected.items():
        watch, completion, last = found[pair]
        assert watch == sum(each[0] for each in viewings)
        assert last == max(each[1] for each in viewings)
        assert completion == pytest.approx(min(1, max(viewings)[0] / furthest[pair[1]]), abs=0.03)


async def test_a_time_has_the_viewings_that_began_in_it(service: AudienceService, people: Viewings) -> None:
    request = pb.ExportInteractionsRequest(parent="organizations/watchers")
    request.start_time.FromDatetime(START + timedelta(hours=3))
    assert await collected(service.ExportInteractions(request, NOBODY)) == {}
    request.parent = "organizations/nobody"
    request.ClearField("start_time")
    assert await collected(service.ExportInteractions(request, NOBODY)) == {}


async def test_many_interactions_come_in_parts(service: AudienceService, warehouse: Warehouse) -> None:
    chance, ids, clock = random.Random(4), TimeOrderedIds(_Clock()), _Clock()  # noqa: S311
    time = int(clock.now().timestamp() * 1000)
    records = []
    for number in range(1, ROWS + 8):
        record = TelemetryRecord(
            received_time_ms=time,
            organization="many watchers",
            video=f"0198c0de-0000-7000-8000-{chance.randrange(1000):012x}",
            session=uuid.UUID(ids.new()).bytes,
            viewer=number.to_bytes(16),
            weight=1,
            source=TelemetryRecord.SOURCE_REPORT,
        )
        beat = events.TelemetryEvent(event_id=uuid.UUID(ids.new()).bytes, event_time_ms=time, watch_total_ms=60_000)
        record.events.append(beat)
        records.append(record)
    await arrive(warehouse, records)
    found = await collected(
        service.ExportInteractions(pb.ExportInteractionsRequest(parent="organizations/many watchers"), NOBODY)
    )
    assert len(found) == ROWS + 7
    assert {each[:2] for each in found.values()} == {(60_000, 0.0)}  # nobody told how far they got


async def test_popularity_is_told_in_all_and_by_country(service: AudienceService, people: Viewings) -> None:
    request = pb.ExportPopularityRequest(parent="organizations/watchers")
    request.start_time.FromDatetime(START - timedelta(days=28))
    expected: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for fact in people.facts():
        for country in {"", fact.record.country}:
            figures = expected[f"organizations/watchers/videos/{fact.record.video}", country]
            figures[0] += fact.weight * (fact.event.type == events.EVENT_TYPE_REQUESTED)
            figures[1] += fact.weight * fact.event.watch_ms
    assert await popularity(service, request) == {pair: tuple(figures) for pair, figures in expected.items()}
    request.ClearField("parent")
    everyone = await popularity(service, request)
    assert {video.split("/")[1] for video, _ in everyone} >= {"watchers", "not watchers"}
    request.parent = "organizations/watchers"
    request.end_time.FromDatetime(START - timedelta(days=1))
    assert await popularity(service, request) == {}


async def popularity(service: AudienceService, request: pb.ExportPopularityRequest) -> dict[Any, Any]:
    parts = service.ExportPopularity(request, NOBODY)
    return {(each.video, each.country): (each.views, each.watch_ms) async for part in parts for each in part.videos}
