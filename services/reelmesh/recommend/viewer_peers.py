"""What recommend asks of other services for a viewer, through their contracts.

Whatever is wrong there costs a viewer some rows, so that every failed call is Unavailable here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

import grpc

from reelmesh.analytics.v1.experiment_service_pb2 import AssignExperimentsRequest
from reelmesh.analytics.v1.experiment_service_pb2_grpc import ExperimentServiceStub
from reelmesh.discovery.v1.discovery_service_pb2 import (
    BatchGetTitlesRequest,
    BrowseRequest,
    FacetFilter,
    TitleSummary,
)
from reelmesh.discovery.v1.discovery_service_pb2_grpc import DiscoveryServiceStub
from reelmesh.mesh.clock import IdSource
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import SessionName
from reelmesh.playback.v1.playback_service_pb2 import ListWatchHistoryRequest
from reelmesh.playback.v1.playback_service_pb2_grpc import PlaybackServiceStub
from reelmesh.playback.v1.session_pb2 import WatchedVideo
from reelmesh.recommend.library import parse
from reelmesh.recommend.viewing import Found, Trial, Viewer, Watched

PARAMETER = "recommend_model"
"""Parameter of an experiment's arms that names a model."""
WORKS = FacetFilter(facet="kind", values=["film", "series"])
"""What rows show."""


class PlaybackHistories:
    """Playback's word on what a viewer watched."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = PlaybackServiceStub(channel)

    async def latest(self, organization: str, viewer: str, size: int) -> Sequence[Watched]:
        """Return the latest of it, latest first. Raises Unavailable."""
        request = ListWatchHistoryRequest(parent=f"organizations/{organization}", viewer=viewer, page_size=size)
        try:
            answer = await self._stub.ListWatchHistory(request)
        except grpc.aio.AioRpcError as error:
            raise _away("playback", error) from error
        return [_watched(video) for video in answer.videos]


class DiscoveryTitles:
    """Discovery's word on what a viewer may find."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = DiscoveryServiceStub(channel)

    async def browse(self, viewer: Viewer, order: BrowseRequest.Order.ValueType, size: int) -> Sequence[TitleSummary]:
        """Return films and series in an order. Raises Unavailable."""
        request = BrowseRequest(
            parent=f"organizations/{viewer.organization}",
            viewer=viewer.context,
            filters=[WORKS],
            order=order,
            page_size=size,
        )
        try:
            return (await self._stub.Browse(request)).titles
        except grpc.aio.AioRpcError as error:
            raise _away("discovery", error) from error

    async def named(self, viewer: Viewer, titles: Sequence[str]) -> Found:
        """Return those of some titles, given by their ids, that the viewer may find. Raises Unavailable."""
        parent = f"organizations/{viewer.organization}"
        if not titles:
            return {}
        request = BatchGetTitlesRequest(
            parent=parent,
            names=[f"{parent}/titles/{title}" for title in titles],
            viewer=viewer.context,
            signed_in=viewer.signed_in,
            member=viewer.member,
        )
        try:
            answer = await self._stub.BatchGetTitles(request)
        except grpc.aio.AioRpcError as error:
            raise _away("discovery", error) from error
        return {parse(title.title)[1]: title for title in answer.titles}


class AnalyticsTrials:
    """Analytics' word on experiments with models."""

    def __init__(self, channel: grpc.aio.Channel, ids: IdSource) -> None:
        self._stub = ExperimentServiceStub(channel)
        self._ids = ids

    async def assign(self, organization: str, viewer: str) -> Trial | None:
        """Put a page in an arm of the experiment with models, and log that; None where none runs. Raises Unavailable.

        Where several run, the first by name decides, as for everyone.
        """
        page = SessionName(organization, self._ids.new())
        request = AssignExperimentsRequest(session=str(page), viewer=viewer, parameter=PARAMETER)
        try:
            answer = await self._stub.AssignExperiments(request)
        except grpc.aio.AioRpcError as error:
            raise _away("analytics", error) from error
        if not answer.assignments:
            return None
        first = min(answer.assignments, key=lambda each: each.experiment)
        return Trial(f"{first.experiment}:{first.arm}", first.parameters.get(PARAMETER, ""))


def _watched(video: WatchedVideo) -> Watched:
    return Watched(
        video=parse(video.video)[1],
        position=video.position.ToTimedelta() if video.HasField("position") else None,
        duration=video.duration.ToTimedelta(),
        finished=video.finished,
        time=video.update_time.ToDatetime(UTC),
    )


def _away(service: str, error: grpc.aio.AioRpcError) -> Unavailable:
    return Unavailable(f"{service} does not answer: {error.code().name}")
