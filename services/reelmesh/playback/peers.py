"""What playback asks of other services, through their contracts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import grpc

from reelmesh.analytics.v1.experiment_service_pb2 import AssignExperimentsRequest
from reelmesh.analytics.v1.experiment_service_pb2_grpc import ExperimentServiceStub
from reelmesh.annotations.v1.annotations_pb2 import Role
from reelmesh.billing.v1.entitlement_pb2 import Decision
from reelmesh.billing.v1.entitlement_service_pb2 import BeginRequest, CheckRequest, Watch
from reelmesh.billing.v1.entitlement_service_pb2_grpc import EntitlementServiceStub
from reelmesh.billing.v1.usage_service_pb2 import RecordViewingRequest
from reelmesh.billing.v1.usage_service_pb2_grpc import UsageServiceStub
from reelmesh.catalog.v1.video_pb2 import Video
from reelmesh.catalog.v1.video_service_pb2 import GetVideoRequest
from reelmesh.catalog.v1.video_service_pb2_grpc import VideoServiceStub
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import SessionName, VideoName
from reelmesh.playback.errors import NotEntitled, NothingToPlay, VideoUnknown
from reelmesh.playback.model import Arm, Limits, Standing
from reelmesh.playback.presentation import Presentation, from_proto
from reelmesh.playback.watcher import Watcher
from reelmesh.transcode.v1.segment_index_service_pb2 import GetSegmentIndexRequest
from reelmesh.transcode.v1.segment_index_service_pb2_grpc import SegmentIndexServiceStub

PASSING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
"""What may pass by itself."""
STANDINGS = {
    Video.STATE_PROCESSING: Standing.COMING,
    Video.STATE_PLAYABLE: Standing.PLAYABLE,
    Video.STATE_READY: Standing.PLAYABLE,
}
"""Other states have nothing to play, and nothing comes by itself."""
ASSIGN_SECONDS = 0.5
"""How long a viewer who presses play waits for experiments at most."""


class TranscodeIndex:
    """Presentations from transcode's segment index."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = SegmentIndexServiceStub(channel)

    async def read(self, video: VideoName) -> Presentation:
        """Return what can be played of a video now. Raises NothingToPlay, Unavailable."""
        try:
            answer = await self._stub.GetSegmentIndex(GetSegmentIndexRequest(video=str(video)))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise NothingToPlay("nothing of this video can be played yet") from error
            if error.code() in PASSING:
                raise Unavailable("transcode does not answer") from error
            raise
        return from_proto(answer.index)


class CatalogVideos:
    """The catalog's word on a video."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = VideoServiceStub(channel)

    async def standing(self, video: VideoName) -> Standing:
        """Say where a video stands. Raises VideoUnknown, Unavailable."""
        try:
            answer = await self._stub.GetVideo(GetVideoRequest(name=str(video)))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise VideoUnknown("there is no such video") from error
            if error.code() in PASSING:
                raise Unavailable("the catalog does not answer") from error
            raise
        return STANDINGS.get(answer.video.state, Standing.NONE)


class BillingEntitlements:
    """Billing's word on who may watch."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = EntitlementServiceStub(channel)

    async def begin(self, video: VideoName, watcher: Watcher) -> Limits:
        """Say what a viewer may do who begins to watch. Raises NotEntitled, Unavailable."""
        request = BeginRequest(user=watcher.user, watch=_watch(video, watcher), role=Role.ValueType(watcher.role))
        try:
            return _limits((await self._stub.Begin(request)).decision)
        except grpc.aio.AioRpcError as error:
            raise _billing(error) from error

    async def check(self, video: VideoName, watcher: Watcher) -> Limits:
        """Say what a viewer may do who watches. Raises NotEntitled, Unavailable."""
        request = CheckRequest(user=watcher.user, watch=_watch(video, watcher), role=Role.ValueType(watcher.role))
        try:
            return _limits((await self._stub.Check(request)).decision)
        except grpc.aio.AioRpcError as error:
            raise _billing(error) from error


class AnalyticsExperiments:
    """Analytics' word on which experiments a viewing takes part in."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = ExperimentServiceStub(channel)

    async def assign(self, session: SessionName, viewer: str) -> Sequence[Arm]:
        """Put a viewing in an arm of each experiment that runs. Raises Unavailable."""
        request = AssignExperimentsRequest(session=str(session), viewer=viewer)
        try:
            answer = await self._stub.AssignExperiments(request, timeout=ASSIGN_SECONDS)
        except grpc.aio.AioRpcError as error:
            # Whatever is wrong there, nobody is kept from watching.
            raise Unavailable(f"analytics assigns nothing: {error.code().name}") from error
        return [Arm(each.experiment, each.arm, dict(each.parameters)) for each in answer.assignments]


class BillingMeter:
    """Tells billing what was watched."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = UsageServiceStub(channel)

    async def record(self, session: SessionName, create_time: datetime, total: timedelta) -> None:
        """Count the total that a session was watched. Raises Unavailable."""
        request = RecordViewingRequest(session=str(session))
        request.create_time.FromDatetime(create_time)
        request.watched.FromTimedelta(total)
        try:
            await self._stub.RecordViewing(request)
        except grpc.aio.AioRpcError as error:
            raise _billing(error) from error


def _watch(video: VideoName, watcher: Watcher) -> Watch:
    return Watch(video=str(video), country=watcher.country, device=watcher.device)


def _billing(error: grpc.aio.AioRpcError) -> Exception:
    return Unavailable("billing does not answer") if error.code() in PASSING else error


def _limits(decision: Decision) -> Limits:
    if not decision.allowed:
        raise NotEntitled(decision.reason, decision.policy, decision.offers)
    limits = decision.limits
    return Limits(
        limits.concurrent_streams,
        tuple(limits.labels),
        limits.offline_allowed,
        limits.license_duration.ToTimedelta() if limits.HasField("license_duration") else None,
        limits.license_renewal.ToTimedelta() if limits.HasField("license_renewal") else None,
    )
