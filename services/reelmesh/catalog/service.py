"""VideoService: proto in, one domain call, proto out."""

from __future__ import annotations

import re
from typing import Any

import grpc

from reelmesh.catalog.messages import details_from_proto, video_to_proto
from reelmesh.catalog.v1 import video_service_pb2 as pb
from reelmesh.catalog.v1.video_service_pb2_grpc import VideoServiceServicer
from reelmesh.catalog.videos import Videos
from reelmesh.mesh.errors import PageTokenInvalid
from reelmesh.mesh.names import VideoName, decode_page_token, encode_page_token, organization_of

Context = grpc.aio.ServicerContext[Any, Any]
PAGE_SIZE = 50


class VideoService(VideoServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, videos: Videos) -> None:
        self._videos = videos

    async def CreateVideo(self, request: pb.CreateVideoRequest, context: Context) -> pb.CreateVideoResponse:
        """Make a draft."""
        details = details_from_proto(request.video)
        video = await self._videos.create(organization_of(request.parent), details, request.request_id)
        return pb.CreateVideoResponse(video=video_to_proto(video))

    async def GetVideo(self, request: pb.GetVideoRequest, context: Context) -> pb.GetVideoResponse:
        """Return a video."""
        return pb.GetVideoResponse(video=video_to_proto(await self._videos.get(VideoName.parse(request.name))))

    async def ListVideos(self, request: pb.ListVideosRequest, context: Context) -> pb.ListVideosResponse:
        """List an organization's videos."""
        size = request.page_size or PAGE_SIZE
        videos, further = await self._videos.list(organization_of(request.parent), size, _position(request.page_token))
        return pb.ListVideosResponse(videos=map(video_to_proto, videos), next_page_token=encode_page_token(further))

    async def UpdateVideo(self, request: pb.UpdateVideoRequest, context: Context) -> pb.UpdateVideoResponse:
        """Change some fields."""
        given = details_from_proto(request.video)
        video = await self._videos.update(
            VideoName.asked(request.video.name, "video.name"),
            given,
            list(request.update_mask.paths),
            request.video.etag,
        )
        return pb.UpdateVideoResponse(video=video_to_proto(video))

    async def DeleteVideo(self, request: pb.DeleteVideoRequest, context: Context) -> pb.DeleteVideoResponse:
        """Remove a video."""
        await self._videos.delete(VideoName.parse(request.name), request.etag, allow_missing=request.allow_missing)
        return pb.DeleteVideoResponse()


def _position(token: str) -> str:
    position = decode_page_token(token)
    if position and not re.fullmatch("[0-9a-f-]{36}", position):
        raise PageTokenInvalid("page_token was not made by this list")
    return position
