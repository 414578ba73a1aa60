from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import grpc
import pytest
from discovery_fakes import NOW, Clock

from reelmesh.analytics.v1.audience_service_pb2 import ExportPopularityRequest, ExportPopularityResponse
from reelmesh.analytics.v1.audience_service_pb2_grpc import (
    add_AudienceServiceServicer_to_server,
)
from reelmesh.discovery.model import Popularity
from reelmesh.discovery.peers import AnalyticsAudience
from reelmesh.discovery.popularity import LONG, SHORT, Follow, trending
from reelmesh.mesh.errors import Unavailable

Watched = ExportPopularityResponse.VideoPopularity
VIDEO = "organizations/default/videos/1"


class Audience:
    """Says that a video was watched as often as the time asked for has days."""

    def __init__(self) -> None:
        self.code = grpc.StatusCode.OK

    def __getattr__(self, name: str) -> None:
        """Other rpcs are not asked."""

    async def ExportPopularity(  # noqa: N802
        self, request: ExportPopularityRequest, context: Any
    ) -> AsyncIterator[ExportPopularityResponse]:
        if self.code is not grpc.StatusCode.OK:
            await context.abort(self.code, "no")
        days = (request.end_time.ToDatetime() - request.start_time.ToDatetime()).days
        yield ExportPopularityResponse(videos=[Watched(video=VIDEO, views=days)])
        yield ExportPopularityResponse(videos=[Watched(video=VIDEO, country="PT", views=2)])


@pytest.fixture
async def audience() -> AsyncIterator[tuple[Audience, AnalyticsAudience]]:
    server, answers = grpc.aio.server(), Audience()
    servicer: Any = answers
    add_AudienceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield answers, AnalyticsAudience(channel)
    await server.stop(None)


async def test_what_is_watched_is_asked_of_analytics(audience: tuple[Audience, AnalyticsAudience]) -> None:
    told: list[Popularity] = []
    await Follow(audience[1], Clock(), 30, told.append).ask()
    assert told[0].views == {"": {VIDEO: 28}, "PT": {VIDEO: 2}}
    assert set(told[0].trending) == {"PT"}, "as often a day as before is no trend"


async def test_analytics_may_be_away(
    audience: tuple[Audience, AnalyticsAudience], caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Popularity] = []
    follow = Follow(audience[1], Clock(), 30, told.append)
    audience[0].code = grpc.StatusCode.UNIMPLEMENTED
    await follow.ask()
    await follow.ask()
    assert told == []
    assert [record.levelname for record in caplog.records] == ["WARNING"], "said once"
    audience[0].code = grpc.StatusCode.OK
    await follow.ask()
    assert len(told) == 1


async def test_it_is_asked_again_and_again() -> None:
    asked: list[tuple[datetime, datetime]] = []
    enough = asyncio.Event()

    class Counting:
        async def views(self, start: datetime, end: datetime) -> dict[str, dict[str, float]]:
            asked.append((start, end))
            if len(asked) == 6:
                enough.set()
            raise Unavailable("away")

    task = asyncio.create_task(Follow(Counting(), Clock(), 0.001, lambda _: None).run())
    await asyncio.wait_for(enough.wait(), 5)
    task.cancel()
    assert {end - start for start, end in asked} == {LONG, SHORT}
    assert asked[0][1] - NOW < timedelta(seconds=1)


@pytest.mark.parametrize(
    ("before", "last", "rises"),
    [
        (100, 12, False),  # as much as before
        (100, 0, False),
        (0, 1, True),
        (25, 13, True),
    ],
)
def test_a_trend_is_more_than_before(before: int, last: int, *, rises: bool) -> None:
    found = trending({"": {VIDEO: before + last}}, {"": {VIDEO: last}} if last else {})
    assert (VIDEO in found.get("", {})) is rises


def test_the_surer_trend_is_the_stronger() -> None:
    long = {"": {"few": 1 + 2, "many": 1000 + 200, "new": 5}}
    found = trending(long, {"": {"few": 2, "many": 200, "new": 5}})[""]
    assert found["many"] > found["new"] > found["few"]
    steady = trending({"": {"a": 917 + 110, "b": 17 + 10}}, {"": {"a": 110, "b": 10}})[""]
    assert steady["b"] > steady.get("a", 0)
