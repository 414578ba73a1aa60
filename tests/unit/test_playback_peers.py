from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from playback_fakes import VIDEO, index

from reelmesh.catalog.v1 import video_service_pb2
from reelmesh.catalog.v1.video_pb2 import Video
from reelmesh.catalog.v1.video_service_pb2_grpc import add_VideoServiceServicer_to_server
from reelmesh.mesh.errors import Unavailable
from reelmesh.playback.errors import NothingToPlay, VideoUnknown
from reelmesh.playback.peers import CatalogVideos, TranscodeIndex
from reelmesh.playback.sessions import Standing
from reelmesh.transcode.v1 import segment_index_service_pb2
from reelmesh.transcode.v1.segment_index_service_pb2_grpc import add_SegmentIndexServiceServicer_to_server


class Peers:
    """Answers both services' rpcs; `state` and `code` say how."""

    def __init__(self) -> None:
        self.state: Any = Video.STATE_READY
        self.code = grpc.StatusCode.OK

    async def GetVideo(self, request: Any, context: Any) -> video_service_pb2.GetVideoResponse:  # noqa: N802
        await self._answer(context)
        return video_service_pb2.GetVideoResponse(video=Video(name=request.name, state=self.state))

    async def GetSegmentIndex(  # noqa: N802
        self, request: Any, context: Any
    ) -> segment_index_service_pb2.GetSegmentIndexResponse:
        await self._answer(context)
        return segment_index_service_pb2.GetSegmentIndexResponse(index=index(2))

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
    add_SegmentIndexServiceServicer_to_server(both, server)
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
