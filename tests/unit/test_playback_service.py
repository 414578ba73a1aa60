from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

import grpc
import m3u8
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from playback_fakes import (
    PREFIX,
    VIDEO,
    CountingIds,
    FakeCatalog,
    FakeEntitlements,
    FakeExperiments,
    FakeSource,
    ManualClock,
    MemoryDeliveryStore,
    MemoryProgressStore,
    MemorySessionStore,
    MemorySlotStore,
    index,
)

from reelmesh.mesh.interceptors import Errors, Validation
from reelmesh.mesh.keys import KeyRing
from reelmesh.mesh.names import SessionName, VideoName, encode_page_token
from reelmesh.playback.cdn import GatewayTokens
from reelmesh.playback.delivery import Delivery
from reelmesh.playback.endings import Endings
from reelmesh.playback.index import Presentations
from reelmesh.playback.manifests import Manifests
from reelmesh.playback.model import Arm, Standing, Times
from reelmesh.playback.progress import Watching
from reelmesh.playback.service import ManifestService, PlaybackService, Told
from reelmesh.playback.sessions import Sessions
from reelmesh.playback.streams import Streams
from reelmesh.playback.tokens import Tokens
from reelmesh.playback.v1 import manifest_service_pb2 as manifest_pb
from reelmesh.playback.v1 import playback_service_pb2 as pb
from reelmesh.playback.v1.manifest_service_pb2_grpc import ManifestServiceStub, add_ManifestServiceServicer_to_server
from reelmesh.playback.v1.playback_service_pb2_grpc import PlaybackServiceStub, add_PlaybackServiceServicer_to_server
from reelmesh.playback.v1.session_pb2 import PlaybackSession, WatchProgress

if TYPE_CHECKING:  # the generated stubs have the types, the generated code does not
    from reelmesh.playback.v1.manifest_service_pb2_grpc import ManifestServiceAsyncStub
    from reelmesh.playback.v1.playback_service_pb2_grpc import PlaybackServiceAsyncStub

ACME = "organizations/acme"
UNKNOWN_SESSION = f"{ACME}/sessions/00000000-0000-7000-8000-00000000ffff"


KEYS = KeyRing({"1": ec.generate_private_key(ec.SECP256R1())})
LIFE = timedelta(minutes=15)
TIMES = Times(timedelta(hours=24), timedelta(seconds=60), timedelta(seconds=30), timedelta(hours=12))


@dataclass
class World:
    """Playback over memory, and a client."""

    source: FakeSource
    catalog: FakeCatalog
    clock: ManualClock
    progress: MemoryProgressStore
    experiments: FakeExperiments
    playback: PlaybackServiceAsyncStub
    manifests: ManifestServiceAsyncStub

    async def start(self, viewer: str = "", video: VideoName = VIDEO, request_id: str = "") -> PlaybackSession:
        request = pb.CreatePlaybackSessionRequest(
            parent=ACME, session=PlaybackSession(video=str(video), viewer=viewer), request_id=request_id
        )
        return (await self.playback.CreatePlaybackSession(request)).session

    async def token(self) -> str:
        """Return what opens the manifests of VIDEO."""
        return (await self.start()).hls_uri.partition("?token=")[2]

    @staticmethod
    def dash(token: str) -> manifest_pb.GetDashManifestRequest:
        return manifest_pb.GetDashManifestRequest(video=str(VIDEO), token=token)

    async def watch(self, session: PlaybackSession, seconds: float) -> WatchProgress:
        position = Duration()
        position.FromTimedelta(timedelta(seconds=seconds))
        request = pb.UpdateProgressRequest(session=session.name, position=position)
        return (await self.playback.UpdateProgress(request)).progress

    async def unfinished(self, viewer: str, size: int = 0, token: str = "") -> pb.ListContinueWatchingResponse:
        return await self.playback.ListContinueWatching(
            pb.ListContinueWatchingRequest(parent=ACME, viewer=viewer, page_size=size, page_token=token)
        )


@pytest.fixture
async def world() -> AsyncIterator[World]:
    source, catalog, clock, progress = FakeSource(index(3)), FakeCatalog(), ManualClock(), MemoryProgressStore()
    catalog.standings[VIDEO] = Standing.PLAYABLE
    presentations = Presentations(source, clock.monotonic)
    tokens = Tokens(KEYS, GatewayTokens(KEYS, "/media"), clock, LIFE)
    store, delivered, experiments = MemorySessionStore(), MemoryDeliveryStore(), FakeExperiments()
    sessions = Sessions(
        store,
        Watching(progress),
        catalog,
        FakeEntitlements(),
        experiments,
        Streams(MemorySlotStore(), clock, TIMES.keep + TIMES.grace),
        Delivery(delivered, delivered),
        presentations,
        tokens,
        clock,
        CountingIds(),
        TIMES,
        places=2,
    )
    told = Told("http://host:8080/", TIMES.keep, ("org.w3.clearkey",))
    manifests = Manifests(presentations, tokens, Endings(store, clock.monotonic), clock, "/media")
    server = grpc.aio.server(interceptors=[Errors(), Validation(b"key")])
    add_PlaybackServiceServicer_to_server(PlaybackService(sessions, told), server)
    add_ManifestServiceServicer_to_server(ManifestService(manifests), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield World(
            source, catalog, clock, progress, experiments, PlaybackServiceStub(channel), ManifestServiceStub(channel)
        )
    await server.stop(0)


def without_tokens(session: PlaybackSession) -> PlaybackSession:
    """Return a session without what is signed anew each time."""
    bare = PlaybackSession()
    bare.CopyFrom(session)
    for field in (
        "hls_uri",
        "dash_uri",
        "media_token",
        "media_token_expire_time",
        "telemetry_token",
        "telemetry_uri",
        "cmcd_uri",
    ):
        bare.ClearField(field)
    return bare


async def refused(asked: Any) -> tuple[grpc.StatusCode, str, float | None]:
    """Return the code, the reason, and after how many seconds to try again."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asked
    call: Any = caught.value
    status = rpc_status.from_call(call)
    assert status is not None
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "reelmesh.playback"
    delay = [detail for detail in status.details if detail.Unpack(retry)]
    return caught.value.code(), info.reason, retry.retry_delay.ToTimedelta().total_seconds() if delay else None


async def test_a_session_says_where_to_play(world: World) -> None:
    session = await world.start("ann")
    hls, _, token = session.hls_uri.partition("?token=")
    assert hls == f"http://host:8080/v1/{VIDEO}/hls/main.m3u8"
    assert session.dash_uri.startswith(f"http://host:8080/v1/{VIDEO}/dash/main.mpd?token=")
    claims = KEYS.read(token, issuer="reelmesh.playback", audience="manifests")
    assert (claims["sub"], claims["video"], claims["exp"]) == (session.name, str(VIDEO), session.expire_time.seconds)
    claims = KEYS.read(session.media_token, issuer="reelmesh.playback", audience="media")
    assert (claims["sub"], claims["prefix"]) == (session.name, f"/media/{PREFIX}/")
    assert session.media_token_expire_time.ToDatetime(UTC) == world.clock.now() + LIFE
    assert session.resume_position.ToTimedelta() == timedelta()
    assert session.expire_time.ToDatetime() - session.create_time.ToDatetime() == timedelta(hours=24)
    again = (await world.playback.GetPlaybackSession(pb.GetPlaybackSessionRequest(name=session.name))).session
    assert without_tokens(again) == without_tokens(session)


async def test_sessions_end(world: World) -> None:
    session = await world.start()
    world.clock.advance(24 * 3600)
    unknown = (grpc.StatusCode.NOT_FOUND, "SESSION_UNKNOWN", None)
    get = world.playback.GetPlaybackSession
    assert await refused(get(pb.GetPlaybackSessionRequest(name=session.name))) == unknown
    assert await refused(get(pb.GetPlaybackSessionRequest(name=UNKNOWN_SESSION))) == unknown
    assert await refused(world.watch(session, 1)) == unknown


async def test_a_repeated_request_starts_one_session(world: World) -> None:
    request_id = str(uuid.uuid4())
    first = await world.start("ann", request_id=request_id)
    world.clock.advance(5)
    world.catalog.standings.clear()  # what was answered once is answered again
    assert without_tokens(await world.start("ann", request_id=request_id)) == without_tokens(first)
    world.catalog.standings[VIDEO] = Standing.PLAYABLE
    assert (await world.start("ann", request_id=str(uuid.uuid4()))).name != first.name


async def test_what_cannot_be_played(world: World) -> None:
    not_playable = (grpc.StatusCode.FAILED_PRECONDITION, "VIDEO_NOT_PLAYABLE")
    unknown = (grpc.StatusCode.NOT_FOUND, "VIDEO_UNKNOWN", None)
    world.source.made = None
    world.catalog.standings[VIDEO] = Standing.COMING
    assert await refused(world.start()) == (*not_playable, 1.0)
    world.catalog.standings[VIDEO] = Standing.PLAYABLE  # said by the catalog, but gone from the index
    assert await refused(world.start()) == (*not_playable, 1.0)
    world.catalog.standings[VIDEO] = Standing.NONE
    assert await refused(world.start()) == (*not_playable, None)
    del world.catalog.standings[VIDEO]
    assert await refused(world.start()) == unknown
    foreign = VideoName("other", VIDEO.id)
    world.catalog.standings[foreign] = Standing.PLAYABLE
    assert await refused(world.start(video=foreign)) == unknown


async def test_the_index_is_believed_before_the_catalog(world: World) -> None:
    world.catalog.standings[VIDEO] = Standing.COMING
    assert (await world.start()).hls_uri


async def test_a_viewer_resumes(world: World) -> None:
    session = await world.start("ann")
    noted = await world.watch(session, 42.5)
    assert (noted.video, noted.position.ToTimedelta()) == (str(VIDEO), timedelta(seconds=42.5))
    assert noted.duration.ToTimedelta() == timedelta(seconds=100)
    assert (await world.start("ann")).resume_position.ToTimedelta() == timedelta(seconds=42.5)
    again = (await world.playback.GetPlaybackSession(pb.GetPlaybackSessionRequest(name=session.name))).session
    assert again.resume_position.ToTimedelta() == timedelta(seconds=42.5)
    assert (await world.start("bob")).resume_position.ToTimedelta() == timedelta()


@pytest.mark.parametrize(("seconds", "finished"), [(89.9, False), (90, True), (95, True), (100.9, True)])
async def test_who_saw_nearly_all_has_seen_it(world: World, seconds: float, finished: bool) -> None:
    session = await world.start("ann")
    await world.watch(session, 50)
    noted = await world.watch(session, seconds)
    assert noted.position.ToTimedelta() == timedelta(seconds=min(seconds, 100))
    assert bool((await world.unfinished("ann")).progress) is not finished
    resumed = (await world.start("ann")).resume_position.ToTimedelta()
    assert resumed == timedelta(seconds=0 if finished else seconds)


async def test_ten_seconds_of_a_short_video_are_much(world: World) -> None:
    assert world.source.made is not None
    world.source.made.duration.FromTimedelta(timedelta(seconds=30))
    session = await world.start("ann")
    await world.watch(session, 25)
    assert (await world.unfinished("ann")).progress
    await world.watch(session, 28.5)
    assert not (await world.unfinished("ann")).progress


async def test_positions_beyond_the_end(world: World) -> None:
    session = await world.start("ann")
    expected = (grpc.StatusCode.INVALID_ARGUMENT, "POSITION_BEYOND_END", None)
    assert await refused(world.watch(session, 101.001)) == expected
    assert await refused(world.watch(session, -1)) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", None)
    assert not world.progress.noted


async def test_nothing_is_remembered_of_nobody(world: World) -> None:
    session = await world.start()
    assert (await world.watch(session, 42)).position.seconds == 42
    assert not world.progress.noted
    assert (await world.start()).resume_position.ToTimedelta() == timedelta()


async def test_continue_watching_is_latest_first_and_each_video_once(world: World) -> None:
    videos = [VideoName("acme", f"0198c0de-0000-7000-8000-0000000000a{n}") for n in range(5)]
    sessions = {}
    for video in videos:
        world.catalog.standings[video] = Standing.PLAYABLE
        sessions[video] = await world.start("ann", video)
        world.clock.advance(1)
        await world.watch(sessions[video], 10)
    world.clock.advance(1)
    await world.watch(sessions[videos[1]], 20)  # watched again
    wanted = [str(videos[n]) for n in (1, 4, 3, 2, 0)]
    assert [p.video for p in (await world.unfinished("ann")).progress] == wanted

    page = await world.unfinished("ann", 2)
    assert [p.video for p in page.progress] == wanted[:2]
    # One of the next page moves to the front meanwhile: nothing is repeated, nothing else is lost.
    world.clock.advance(1)
    await world.watch(sessions[videos[2]], 30)
    page = await world.unfinished("ann", 2, page.next_page_token)
    assert [p.video for p in page.progress] == [wanted[2], wanted[4]]
    assert page.next_page_token == ""
    assert not (await world.unfinished("bob")).progress


async def test_what_was_only_opened_is_not_begun(world: World) -> None:
    session = await world.start("ann")
    request = pb.ListWatchHistoryRequest(parent=ACME, viewer="ann")
    await world.watch(session, 0.999)
    assert not (await world.unfinished("ann")).progress
    assert not (await world.playback.ListWatchHistory(request)).videos
    await world.watch(session, 1)
    assert len((await world.unfinished("ann")).progress) == 1
    assert len((await world.playback.ListWatchHistory(request)).videos) == 1
    await world.watch(session, 100)
    world.clock.advance(1)
    await world.watch(session, 0)
    assert not (await world.unfinished("ann")).progress
    (ended,) = (await world.playback.ListWatchHistory(request)).videos
    assert ended.finished
    assert not ended.HasField("position")


async def test_a_history_tells_what_was_begun_and_what_was_finished(world: World) -> None:
    ended = await world.start("ann")
    await world.watch(ended, 100)
    world.clock.advance(1)
    other = VideoName("acme", "0198c0de-0000-7000-8000-0000000000aa")
    world.catalog.standings[other] = Standing.PLAYABLE
    await world.watch(await world.start("ann", other), 12)
    asked = pb.ListWatchHistoryRequest(parent="organizations/acme", viewer="ann")
    begun, finished = (await world.playback.ListWatchHistory(asked)).videos
    assert (begun.video, begun.finished, begun.position.seconds, begun.duration.seconds) == (str(other), False, 12, 100)
    assert (finished.video, finished.finished, finished.HasField("position")) == (ended.video, True, False)
    world.clock.advance(1)
    await world.watch(ended, 3)  # begins it again
    again = (await world.playback.ListWatchHistory(asked)).videos[0]
    assert (again.video, again.finished, again.position.seconds) == (ended.video, True, 3)
    asked.page_size = 1
    assert (await world.playback.ListWatchHistory(asked)).videos == [again]


@pytest.mark.parametrize("token", ["!", "AAAA", encode_page_token("x y"), encode_page_token("12 ")])
async def test_foreign_page_tokens(world: World, token: str) -> None:
    expected = (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID", None)
    assert await refused(world.unfinished("ann", token=token)) == expected


async def test_manifests_are_served_with_their_headers(world: World) -> None:
    token = await world.token()
    request_main = manifest_pb.GetHlsMultivariantPlaylistRequest(video=str(VIDEO), token=token)
    call = world.manifests.GetHlsMultivariantPlaylist(request_main)
    body = (await call).body
    assert body.content_type == "application/vnd.apple.mpegurl"
    headers = dict(await call.initial_metadata())
    assert headers["cache-control"] == "private, max-age=1"
    assert str(headers["etag"]).startswith('"')
    for variant in m3u8.loads(body.data.decode()).playlists:
        track, _, query = str(variant.uri).partition("/index.m3u8?token=")
        assert query == token, "a playlist is opened by the same one"
        request = manifest_pb.GetHlsMediaPlaylistRequest(video=str(VIDEO), track=track, token=query)
        listed = m3u8.loads((await world.manifests.GetHlsMediaPlaylist(request)).body.data.decode())
        assert len(listed.segments) == 3
        opened = {str(segment.uri).partition("?token=")[2] for segment in listed.segments}
        (claims,) = (KEYS.read(each, issuer="reelmesh.playback", audience="media") for each in opened)
        assert all(str(segment.uri).startswith(claims["prefix"]) for segment in listed.segments)
    mpd = (await world.manifests.GetDashManifest(world.dash(token))).body
    assert mpd.content_type == "application/dash+xml"
    assert b'type="dynamic"' in mpd.data


async def test_a_final_manifest_may_be_cached_for_long(world: World) -> None:
    request = world.dash(await world.token())
    growing = world.manifests.GetDashManifest(request)
    before = (await growing).body.data
    # The same revision, but complete: a state of its own.
    world.source.made = index(3, complete=True)
    world.clock.advance(1)
    final = world.manifests.GetDashManifest(request)
    after = (await final).body.data
    assert before != after
    headers = dict(await final.initial_metadata())
    assert headers["cache-control"] == "private, max-age=60"
    assert headers["etag"] != dict(await growing.initial_metadata())["etag"]


async def test_a_manifest_is_written_once_for_each_state(world: World) -> None:
    request = world.dash(await world.token())
    first = (await world.manifests.GetDashManifest(request)).body.data
    world.clock.advance(10)  # read anew, but nothing has changed: publishTime stays
    assert (await world.manifests.GetDashManifest(request)).body.data == first
    world.source.made = index(4)
    world.clock.advance(10)
    assert (await world.manifests.GetDashManifest(request)).body.data != first


async def test_manifests_that_are_not_there(world: World) -> None:
    token = await world.token()
    request = manifest_pb.GetHlsMediaPlaylistRequest(video=str(VIDEO), track="v9", token=token)
    unknown = (grpc.StatusCode.NOT_FOUND, "TRACK_UNKNOWN", None)
    assert await refused(world.manifests.GetHlsMediaPlaylist(request)) == unknown
    nothing = (grpc.StatusCode.NOT_FOUND, "VIDEO_NOT_PLAYABLE", None)
    for made in (None, index(0)):
        world.source.made = made
        world.clock.advance(60)
        assert await refused(world.manifests.GetDashManifest(world.dash(token))) == nothing


async def test_manifests_open_for_their_own_token_only(world: World) -> None:
    token = await world.token()
    other = VideoName("acme", "0198c0de-0000-7000-8000-0000000000ff")
    world.catalog.standings[other] = Standing.PLAYABLE
    media = (await world.start()).media_token
    stranger = KeyRing({"1": ec.generate_private_key(ec.SECP256R1())})
    forged = stranger.sign(KEYS.read(token, issuer="reelmesh.playback", audience="manifests"))
    unauthenticated, denied = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
    for presented, code, reason in (
        ("", unauthenticated, "TOKEN_REQUIRED"),
        ("x", unauthenticated, "TOKEN_INVALID"),
        (token[:-3] + "abc", unauthenticated, "TOKEN_INVALID"),
        (forged, unauthenticated, "TOKEN_INVALID"),
        (media, unauthenticated, "TOKEN_INVALID"),
        ((await world.start(video=other)).dash_uri.partition("token=")[2], denied, "TOKEN_OF_OTHER_VIDEO"),
    ):
        main = manifest_pb.GetHlsMultivariantPlaylistRequest(video=str(VIDEO), token=presented)
        track = manifest_pb.GetHlsMediaPlaylistRequest(video=str(VIDEO), track="a0", token=presented)
        for call in (
            world.manifests.GetHlsMultivariantPlaylist(main),
            world.manifests.GetHlsMediaPlaylist(track),
            world.manifests.GetDashManifest(world.dash(presented)),
        ):
            assert await refused(call) == (code, reason, None)
    world.clock.advance(24 * 3600)
    assert await refused(world.manifests.GetDashManifest(world.dash(token))) == (denied, "TOKEN_EXPIRED", None)


async def test_a_media_token_is_renewed_before_its_end_and_lasts_a_complete_film(world: World) -> None:
    async def token() -> tuple[str, float]:
        session = (await world.playback.GetPlaybackSession(pb.GetPlaybackSessionRequest(name=name))).session
        left = session.media_token_expire_time.ToDatetime(UTC) - world.clock.now()
        return session.media_token, left.total_seconds()

    name = (await world.start()).name
    first, left = await token()
    assert left == LIFE.total_seconds()
    world.clock.advance(LIFE.total_seconds() / 2)
    assert await token() == (first, LIFE.total_seconds() / 2)
    world.clock.advance(1)
    second, left = await token()
    assert (second == first, left) == (False, LIFE.total_seconds())
    world.source.made = index(3, complete=True)
    world.clock.advance(LIFE.total_seconds() / 2 - 50)
    assert (await token())[1] == LIFE.total_seconds() + 100, "the film's length more"
    world.clock.advance(24 * 3600 - 3 * LIFE.total_seconds())
    world.clock.advance(LIFE.total_seconds())
    assert (await token())[1] < LIFE.total_seconds() + 100, "not beyond the session's end"


async def test_a_session_says_where_to_tell_what_is_measured_and_whose_it_is(world: World) -> None:
    world.experiments.arms = [Arm("skin", "dark", {"theme": "dark"}), Arm("abr", "fast")]
    session = await world.start("ann")
    assert session.telemetry_uri == f"http://host:8080/v1/telemetry:report?token={session.telemetry_token}"
    assert session.cmcd_uri == f"http://host:8080/v1/telemetry:cmcd?token={session.telemetry_token}"
    assert KEYS.read(session.telemetry_token, issuer="reelmesh.playback", audience="telemetry") == {
        "iss": "reelmesh.playback",
        "aud": "telemetry",
        "sub": session.name,
        "exp": session.expire_time.seconds + 2 * 3600,
        "video": str(VIDEO),
        "viewer": "ann",
        "country": "",
        "experiments": ["abr:fast", "skin:dark"],
    }
    assert [(arm.experiment, arm.arm, dict(arm.parameters)) for arm in session.experiments] == [
        ("abr", "fast", {}),
        ("skin", "dark", {"theme": "dark"}),
    ]


async def test_a_session_keeps_the_arms_that_it_began_with(world: World) -> None:
    world.experiments.arms = [Arm("skin", "dark")]
    session = await world.start("ann")
    assert world.experiments.assigned == [(SessionName.parse(session.name), "ann")]
    world.experiments.arms = [Arm("skin", "light")]
    got = (await world.playback.GetPlaybackSession(pb.GetPlaybackSessionRequest(name=session.name))).session
    kept = (await world.playback.KeepPlaybackSession(pb.KeepPlaybackSessionRequest(name=session.name))).session
    for later in (got, kept):
        assert later.experiments == session.experiments
        claims = KEYS.read(later.telemetry_token, issuer="reelmesh.playback", audience="telemetry")
        assert claims["experiments"] == ["skin:dark"]
    assert len(world.experiments.assigned) == 1


async def test_nobody_waits_for_an_experiment_to_watch(world: World) -> None:
    world.experiments.away = True
    session = await world.start("ann")
    assert not session.experiments
    claims = KEYS.read(session.telemetry_token, issuer="reelmesh.playback", audience="telemetry")
    assert claims["experiments"] == []
