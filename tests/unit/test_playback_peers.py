from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from playback_fakes import VIDEO, index

from reelmesh.analytics.v1.experiment_pb2 import Assignment
from reelmesh.analytics.v1.experiment_service_pb2 import AssignExperimentsResponse
from reelmesh.analytics.v1.experiment_service_pb2_grpc import add_ExperimentServiceServicer_to_server
from reelmesh.billing.v1.entitlement_pb2 import Decision
from reelmesh.billing.v1.entitlement_service_pb2 import BeginResponse, CheckResponse
from reelmesh.billing.v1.entitlement_service_pb2_grpc import add_EntitlementServiceServicer_to_server
from reelmesh.catalog.v1 import video_service_pb2
from reelmesh.catalog.v1.video_pb2 import Video
from reelmesh.catalog.v1.video_service_pb2_grpc import add_VideoServiceServicer_to_server
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import SessionName
from reelmesh.mesh.person import Role
from reelmesh.playback.errors import NotEntitled, NothingToPlay, VideoUnknown
from reelmesh.playback.model import Arm, Limits, Standing
from reelmesh.playback.peers import AnalyticsExperiments, BillingEntitlements, CatalogVideos, TranscodeIndex
from reelmesh.playback.watcher import Watcher
from reelmesh.transcode.v1 import segment_index_service_pb2
from reelmesh.transcode.v1.segment_index_service_pb2_grpc import add_SegmentIndexServiceServicer_to_server


class Peers:
    """Answers both services' rpcs; `state` and `code` say how."""

    def __init__(self) -> None:
        self.state: Any = Video.STATE_READY
        self.code = grpc.StatusCode.OK
        self.decision = Decision()
        self.asked: Any = None
        self.hangs = False

    async def GetVideo(self, request: Any, context: Any) -> video_service_pb2.GetVideoResponse:  # noqa: N802
        await self._answer(context)
        return video_service_pb2.GetVideoResponse(video=Video(name=request.name, state=self.state))

    async def GetSegmentIndex(  # noqa: N802
        self, request: Any, context: Any
    ) -> segment_index_service_pb2.GetSegmentIndexResponse:
        await self._answer(context)
        return segment_index_service_pb2.GetSegmentIndexResponse(index=index(2))

    async def Begin(self, request: Any, context: Any) -> BeginResponse:  # noqa: N802
        await self._answer(context)
        self.asked = request
        return BeginResponse(decision=self.decision)

    async def Check(self, request: Any, context: Any) -> CheckResponse:  # noqa: N802
        await self._answer(context)
        self.asked = request
        return CheckResponse(decision=self.decision)

    async def AssignExperiments(self, request: Any, context: Any) -> AssignExperimentsResponse:  # noqa: N802
        if self.hangs:
            await asyncio.Event().wait()
        await self._answer(context)
        self.asked = request
        return AssignExperimentsResponse(assignments=[Assignment(experiment="e", arm="a", parameters={"k": "v"})])

    async def _answer(self, context: Any) -> None:
        if self.code is not grpc.StatusCode.OK:
            await context.abort(self.code, "no")

    def __getattr__(self, name: str) -> None:
        """Other rpcs are not asked."""


@pytest.fixture
def peers() -> Peers:
    return Peers()


@pytest.fixture
async def channel(peers: Peers) -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server()
    both: Any = peers
    add_VideoServiceServicer_to_server(both, server)
    add_EntitlementServiceServicer_to_server(both, server)
    add_SegmentIndexServiceServicer_to_server(both, server)
    add_ExperimentServiceServicer_to_server(both, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    await server.stop(0)


@pytest.mark.parametrize(
    ("state", "standing"),
    [
        (Video.STATE_DRAFT, Standing.NONE),
        (Video.STATE_PROCESSING, Standing.COMING),
        (Video.STATE_PLAYABLE, Standing.PLAYABLE),
        (Video.STATE_READY, Standing.PLAYABLE),
        (Video.STATE_FAILED, Standing.NONE),
    ],
)
async def test_the_catalog_s_states(peers: Peers, channel: grpc.aio.Channel, state: int, standing: Standing) -> None:
    peers.state = state
    assert await CatalogVideos(channel).standing(VIDEO) is standing


async def test_an_index_is_read(channel: grpc.aio.Channel) -> None:
    assert (await TranscodeIndex(channel).read(VIDEO)).segment_count == 6


@pytest.mark.parametrize(
    ("code", "of_catalog", "of_transcode"),
    [
        (grpc.StatusCode.NOT_FOUND, VideoUnknown, NothingToPlay),
        (grpc.StatusCode.UNAVAILABLE, Unavailable, Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, Unavailable, Unavailable),
        (grpc.StatusCode.PERMISSION_DENIED, grpc.aio.AioRpcError, grpc.aio.AioRpcError),
    ],
)
async def test_what_peers_refuse(
    peers: Peers,
    channel: grpc.aio.Channel,
    code: grpc.StatusCode,
    of_catalog: type[Exception],
    of_transcode: type[Exception],
) -> None:
    peers.code = code
    with pytest.raises(of_catalog):
        await CatalogVideos(channel).standing(VIDEO)
    with pytest.raises(of_transcode):
        await TranscodeIndex(channel).read(VIDEO)


async def test_billing_s_word(peers: Peers, channel: grpc.aio.Channel) -> None:
    billing = BillingEntitlements(channel)
    watcher = Watcher("users/ann", Role.VIEWER, "", "FR", "tv")
    peers.decision.allowed = True
    peers.decision.limits.concurrent_streams = 2
    peers.decision.limits.labels[:] = ["AUDIO", "SD"]
    peers.decision.limits.license_duration.seconds = 60
    for ask in (billing.begin, billing.check):
        assert await ask(VIDEO, watcher) == Limits(2, ("AUDIO", "SD"), False, timedelta(seconds=60), None)
        asked = peers.asked
        assert (asked.user, asked.role) == ("users/ann", Role.VIEWER)
        assert (asked.watch.video, asked.watch.country, asked.watch.device) == (str(VIDEO), "FR", "tv")
    peers.decision.CopyFrom(Decision(reason="RENTAL_EXPIRED", policy="p@1", offers=["a", "b"]))
    for ask in (billing.begin, billing.check):
        with pytest.raises(NotEntitled) as caught:
            await ask(VIDEO, watcher)
        assert caught.value.reason == "RENTAL_EXPIRED"
        assert caught.value.metadata == {"policy": "p@1", "offers": "a b"}
    peers.code = grpc.StatusCode.UNAVAILABLE
    for ask in (billing.begin, billing.check):
        with pytest.raises(Unavailable):
            await ask(VIDEO, watcher)


async def test_analytics_assigns_arms(peers: Peers, channel: grpc.aio.Channel) -> None:
    name = SessionName("acme", "0198c0de-0000-7000-8000-0000000000aa")
    assert await AnalyticsExperiments(channel).assign(name, "ann") == [Arm("e", "a", {"k": "v"})]
    assert (peers.asked.session, peers.asked.viewer) == (str(name), "ann")


async def test_whatever_is_wrong_with_experiments_is_told_soon(peers: Peers, channel: grpc.aio.Channel) -> None:
    name = SessionName("acme", "0198c0de-0000-7000-8000-0000000000aa")
    for code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.PERMISSION_DENIED):
        peers.code = code
        with pytest.raises(Unavailable):
            await AnalyticsExperiments(channel).assign(name, "ann")
    peers.hangs = True
    async with asyncio.timeout(2):
        with pytest.raises(Unavailable):
            await AnalyticsExperiments(channel).assign(name, "ann")
