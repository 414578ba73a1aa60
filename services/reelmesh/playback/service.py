"""PlaybackService and ManifestService: proto in, one domain call, proto out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
from google.api.httpbody_pb2 import HttpBody

from reelmesh.mesh import person
from reelmesh.mesh.edge import country_of
from reelmesh.mesh.names import SessionName, VideoName, decode_page_token, encode_page_token, organization_of
from reelmesh.mesh.person import Role
from reelmesh.playback.manifests import Manifest, Manifests
from reelmesh.playback.model import Session
from reelmesh.playback.progress import Progress, Watched
from reelmesh.playback.sessions import Sessions
from reelmesh.playback.v1 import manifest_service_pb2 as manifest_pb
from reelmesh.playback.v1 import playback_service_pb2 as pb
from reelmesh.playback.v1 import session_pb2
from reelmesh.playback.v1.manifest_service_pb2_grpc import ManifestServiceServicer
from reelmesh.playback.v1.playback_service_pb2_grpc import PlaybackServiceServicer
from reelmesh.playback.watcher import Watcher, place_of

Context = grpc.aio.ServicerContext[Any, Any]
PAGE_SIZE = 20
HISTORY_SIZE = 200
LICENSE_PATHS: Mapping[str, str] = {
    "org.w3.clearkey": "clearkey",
    "com.widevine.alpha": "widevine",
    "com.microsoft.playready": "playready",
    "com.apple.fps": "fairplay",
}
"""Key systems that there are license rpcs for, and the last part of their HTTP paths."""


@dataclass(frozen=True, slots=True)
class Told:
    """What players are told besides their session."""

    public_url: str
    """Where the gateway is reached."""
    keep_interval: timedelta
    """How often to keep a session."""
    key_systems: tuple[str, ...]
    """Whose license servers to name; keys of LICENSE_PATHS."""
    country_header: str = ""
    """Header that says where a viewer is; empty where there is none."""


class PlaybackService(PlaybackServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, sessions: Sessions, told: Told) -> None:
        self._sessions = sessions
        self._told = told
        self._public_url = told.public_url.rstrip("/")

    async def CreatePlaybackSession(
        self, request: pb.CreatePlaybackSessionRequest, context: Context
    ) -> pb.CreatePlaybackSessionResponse:
        """Start a viewing."""
        organization = organization_of(request.parent)
        session = await self._sessions.create(
            organization,
            VideoName.parse(request.session.video),
            self._watcher(organization, context, _made_up(request.session.viewer), request.device),
            request.request_id,
            take_over=request.take_over,
        )
        return pb.CreatePlaybackSessionResponse(session=self._to_proto(session))

    async def GetPlaybackSession(
        self, request: pb.GetPlaybackSessionRequest, context: Context
    ) -> pb.GetPlaybackSessionResponse:
        """Return a viewing."""
        name = SessionName.parse(request.name)
        session = await self._sessions.get(name, self._watcher(name.organization, context))
        return pb.GetPlaybackSessionResponse(session=self._to_proto(session))

    async def KeepPlaybackSession(
        self, request: pb.KeepPlaybackSessionRequest, context: Context
    ) -> pb.KeepPlaybackSessionResponse:
        """Go on with a viewing."""
        name = SessionName.parse(request.name)
        session = await self._sessions.keep(name, self._watcher(name.organization, context))
        return pb.KeepPlaybackSessionResponse(session=self._to_proto(session))

    async def EndPlaybackSession(
        self, request: pb.EndPlaybackSessionRequest, context: Context
    ) -> pb.EndPlaybackSessionResponse:
        """End a viewing."""
        name = SessionName.parse(request.name)
        await self._sessions.end(name, self._watcher(name.organization, context))
        return pb.EndPlaybackSessionResponse()

    async def UpdateProgress(self, request: pb.UpdateProgressRequest, context: Context) -> pb.UpdateProgressResponse:
        """Note how far a viewing is."""
        name = SessionName.parse(request.session)
        watcher = self._watcher(name.organization, context)
        progress = await self._sessions.update_progress(name, watcher, request.position.ToTimedelta())
        return pb.UpdateProgressResponse(progress=progress_to_proto(progress))

    async def ListContinueWatching(
        self, request: pb.ListContinueWatchingRequest, context: Context
    ) -> pb.ListContinueWatchingResponse:
        """List what a viewer began and did not finish."""
        organization = organization_of(request.parent)
        found, further = await self._sessions.unfinished(
            organization,
            self._watcher(organization, context, request.viewer).viewer,
            request.page_size or PAGE_SIZE,
            decode_page_token(request.page_token),
        )
        return pb.ListContinueWatchingResponse(
            progress=map(progress_to_proto, found), next_page_token=encode_page_token(further)
        )

    async def ListWatchHistory(
        self, request: pb.ListWatchHistoryRequest, context: Context
    ) -> pb.ListWatchHistoryResponse:
        """List what a viewer watched."""
        organization, size = organization_of(request.parent), request.page_size or HISTORY_SIZE
        found = await self._sessions.history(organization, request.viewer, size)
        return pb.ListWatchHistoryResponse(videos=map(_watched_to_proto, found))

    def _watcher(self, organization: str, context: Context, name: str = "", device: str = "") -> Watcher:
        """Say who calls; `name` is what a client calls someone who did not sign in."""
        caller, client = person.current(), person.client()
        return Watcher(
            user=caller.subject if caller else "",
            role=caller.role_in(organization) if caller else Role.ANONYMOUS,
            name=name,
            country=country_of(context, self._told.country_header),
            device=device,
            place=place_of(client.address, client.user_agent),
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
        if session.license_token:
            for system in self._told.key_systems:
                path = f"{self._public_url}/v1/licenses/{LICENSE_PATHS[system]}"
                message.license_servers.add(key_system=system, uri=f"{path}?token={session.license_token}")
        for arm in session.experiments:
            message.experiments.add(experiment=arm.experiment, arm=arm.arm, parameters=arm.parameters)
        message.telemetry_token = session.telemetry_token
        message.telemetry_uri = f"{self._public_url}/v1/telemetry:report?token={session.telemetry_token}"
        message.cmcd_uri = f"{self._public_url}/v1/telemetry:cmcd?token={session.telemetry_token}"
        message.keep_interval.FromTimedelta(self._told.keep_interval)
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


def _made_up(viewer: str) -> str:
    """Return the name that a client keeps for who did not sign in; resource names are not for clients to claim."""
    return "" if "/" in viewer else viewer


def progress_to_proto(progress: Progress) -> session_pb2.WatchProgress:
    """Write progress as the contract does."""
    message = session_pb2.WatchProgress(video=str(progress.video))
    message.position.FromTimedelta(progress.position)
    message.duration.FromTimedelta(progress.duration)
    message.update_time.FromDatetime(progress.update_time)
    return message


def _watched_to_proto(watched: Watched) -> session_pb2.WatchedVideo:
    message = session_pb2.WatchedVideo(video=str(watched.video), finished=watched.finished)
    if watched.position is not None:
        message.position.FromTimedelta(watched.position)
    message.duration.FromTimedelta(watched.duration)
    message.update_time.FromDatetime(watched.update_time)
    return message
