"""What playback asks of other services, through their contracts."""

from __future__ import annotations

import grpc

from reelmesh.catalog.v1.video_pb2 import Video
from reelmesh.catalog.v1.video_service_pb2 import GetVideoRequest
from reelmesh.catalog.v1.video_service_pb2_grpc import VideoServiceStub
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import VideoName
from reelmesh.playback.errors import NothingToPlay, VideoUnknown
from reelmesh.playback.presentation import Presentation, from_proto
from reelmesh.playback.sessions import Standing
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
