"""PlaybackService and ManifestService: proto in, one domain call, proto out."""

from __future__ import annotations

from typing import Any

import grpc
from google.api.httpbody_pb2 import HttpBody

from reelmesh.mesh.names import SessionName, VideoName, decode_page_token, encode_page_token, organization_of
from reelmesh.playback.manifests import Manifest, Manifests
from reelmesh.playback.progress import Progress
from reelmesh.playback.sessions import Session, Sessions
from reelmesh.playback.v1 import manifest_service_pb2 as manifest_pb
from reelmesh.playback.v1 import playback_service_pb2 as pb
from reelmesh.playback.v1 import session_pb2
from reelmesh.playback.v1.manifest_service_pb2_grpc import ManifestServiceServicer
from reelmesh.playback.v1.playback_service_pb2_grpc import PlaybackServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]
PAGE_SIZE = 20


class PlaybackService(PlaybackServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, sessions: Sessions, public_url: str) -> None:
        self._sessions = sessions
        self._public_url = public_url.rstrip("/")

    async def CreatePlaybackSession(
        self, request: pb.CreatePlaybackSessionRequest, context: Context
    ) -> pb.CreatePlaybackSessionResponse:
        """Start a viewing."""
        asked = request.session
        session = await self._sessions.create(
            organization_of(request.parent), VideoName.parse(asked.video), asked.viewer, request.request_id
        )
        return pb.CreatePlaybackSessionResponse(session=self._to_proto(session))

    async def GetPlaybackSession(
        self, request: pb.GetPlaybackSessionRequest, context: Context
    ) -> pb.GetPlaybackSessionResponse:
        """Return a viewing."""
        session = await self._sessions.get(SessionName.parse(request.name))
        return pb.GetPlaybackSessionResponse(session=self._to_proto(session))

    async def UpdateProgress(self, request: pb.UpdateProgressRequest, context: Context) -> pb.UpdateProgressResponse:
        """Note how far a viewing is."""
        progress = await self._sessions.update_progress(
            SessionName.parse(request.session), request.position.ToTimedelta()
        )
        return pb.UpdateProgressResponse(progress=progress_to_proto(progress))

    async def ListContinueWatching(
        self, request: pb.ListContinueWatchingRequest, context: Context
    ) -> pb.ListContinueWatchingResponse:
        """List what a viewer began and did not finish."""
        found, further = await self._sessions.unfinished(
            organization_of(request.parent),
            request.viewer,
            request.page_size or PAGE_SIZE,
            decode_page_token(request.page_token),
        )
        return pb.ListContinueWatchingResponse(
            progress=map(progress_to_proto, found), next_page_token=encode_page_token(further)
        )

    def _to_proto(self, session: Session) -> session_pb2.PlaybackSession:
        # The paths are those of ManifestService's google.api.http rules.
        manifests = f"{self._public_url}/v1/{session.video}"
        media = session.media_token
        message = session_pb2.PlaybackSession(
            name=str(session.name),
            video=str(session.video),
            viewer=session.viewer,
            hls_uri=f"{manifests}/hls/main.m3u8?token={session.token}",
            dash_uri=f"{manifests}/dash/main.mpd?token={session.token}",
            media_token=media.text if media else "",
        )
        if media:
            message.media_token_expire_time.FromDatetime(media.expire_time)
        message.resume_position.FromTimedelta(session.resume_position)
        message.create_time.FromDatetime(session.create_time)
        message.expire_time.FromDatetime(session.expire_time)
        return message


class ManifestService(ManifestServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, manifests: Manifests) -> None:
        self._manifests = manifests

    async def GetHlsMultivariantPlaylist(
        self, request: manifest_pb.GetHlsMultivariantPlaylistRequest, context: Context
    ) -> manifest_pb.GetHlsMultivariantPlaylistResponse:
        """Return the HLS playlist that names the others."""
        manifest = await self._manifests.hls_multivariant(VideoName.parse(request.video), request.token)
        return manifest_pb.GetHlsMultivariantPlaylistResponse(body=await _body(manifest, context))

    async def GetHlsMediaPlaylist(
        self, request: manifest_pb.GetHlsMediaPlaylistRequest, context: Context
    ) -> manifest_pb.GetHlsMediaPlaylistResponse:
        """Return the HLS playlist of one track."""
        manifest = await self._manifests.hls_media(VideoName.parse(request.video), request.track, request.token)
        return manifest_pb.GetHlsMediaPlaylistResponse(body=await _body(manifest, context))

    async def GetDashManifest(
        self, request: manifest_pb.GetDashManifestRequest, context: Context
    ) -> manifest_pb.GetDashManifestResponse:
        """Return the DASH MPD."""
        manifest = await self._manifests.dash(VideoName.parse(request.video), request.token)
        return manifest_pb.GetDashManifestResponse(body=await _body(manifest, context))


async def _body(manifest: Manifest, context: Context) -> HttpBody:
    """Send the headers as initial metadata, which Envoy turns into those of HTTP, and return the body."""
    await context.send_initial_metadata((("cache-control", manifest.cache_control), ("etag", manifest.etag)))
    return HttpBody(content_type=manifest.content_type, data=manifest.body)


def progress_to_proto(progress: Progress) -> session_pb2.WatchProgress:
    """Write progress as the contract does."""
    message = session_pb2.WatchProgress(video=str(progress.video))
    message.position.FromTimedelta(progress.position)
    message.duration.FromTimedelta(progress.duration)
    message.update_time.FromDatetime(progress.update_time)
    return message
