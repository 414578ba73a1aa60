"""Follow a job from its upload to its end."""

from __future__ import annotations

import time
from collections.abc import Iterator

import grpc
import m3u8

from reelmesh.playback.v1.playback_service_pb2 import CreatePlaybackSessionRequest
from reelmesh.playback.v1.session_pb2 import PlaybackSession
from reelmesh.transcode.v1.job_pb2 import Job
from reelmesh.transcode.v1.job_service_pb2 import ListJobsRequest, WatchJobRequest
from reelmesh_tools.client.platform import CALL_SECONDS, Platform, problem_of

BEGIN_SECONDS = 60.0
"""A job begins within this long of its upload's end, or something is wrong."""
AWAY_SECONDS = 120.0
"""The platform may be away for this long while a job is followed."""
ENDED = frozenset({Job.STATE_READY, Job.STATE_FAILED, Job.STATE_CANCELLED})


class JobMissing(Exception):
    """No job began for an upload."""


def job_of(platform: Platform, upload: str) -> Job:
    """Return the first job of an upload, waiting until it begins. Raises JobMissing."""
    request = ListJobsRequest(parent=platform.parent, upload=upload, page_size=10)
    deadline = time.monotonic() + BEGIN_SECONDS
    while time.monotonic() < deadline:
        try:
            jobs = list(platform.jobs.ListJobs(request, timeout=CALL_SECONDS).jobs)
        except grpc.RpcError as error:
            if not problem_of(error).passing:
                raise
            jobs = []
        if jobs:
            return jobs[-1]
        time.sleep(0.02)  # the job begins when its event arrives; until then there is nothing to watch
    raise JobMissing(f"no job began for {upload} within {BEGIN_SECONDS:.0f} s")


def follow(platform: Platform, job: Job) -> Iterator[Job]:
    """Yield the job as it changes until it has ended, also over a platform that goes away for a while."""
    revision = 0
    last_answer = time.monotonic()
    while True:
        try:
            for answer in platform.jobs.WatchJob(WatchJobRequest(name=job.name, after_revision=revision)):
                last_answer = time.monotonic()
                revision = answer.job.revision
                yield answer.job
                if answer.job.state in ENDED:
                    return
        except grpc.RpcError as error:
            if not problem_of(error).passing or time.monotonic() - last_answer > AWAY_SECONDS:
                raise
        time.sleep(0.1)  # the stream broke; before it is asked for again


def open_session(platform: Platform, video: str, viewer: str = "") -> PlaybackSession:
    """Start a viewing. Raises grpc.RpcError."""
    request = CreatePlaybackSessionRequest(parent=platform.parent, session=PlaybackSession(video=video, viewer=viewer))
    return platform.playback.CreatePlaybackSession(request, timeout=CALL_SECONDS).session


def wait_until_listed(platform: Platform, video: str) -> PlaybackSession:
    """Return a session once a player finds a segment of every rendition in the playlists."""
    deadline = time.monotonic() + BEGIN_SECONDS
    while True:
        try:
            session = open_session(platform, video)
            if _every_playlist_lists(platform, session.hls_uri):
                return session
        except grpc.RpcError as error:
            problem = problem_of(error)
            if problem.reason not in {"VIDEO_NOT_PLAYABLE", "VIDEO_UNKNOWN"} and not problem.passing:
                raise
        if time.monotonic() > deadline:
            raise JobMissing(f"{video} is said to be playable, but its playlists list nothing")
        time.sleep(0.02)  # playlists are for polling


def _every_playlist_lists(platform: Platform, uri: str) -> bool:
    answer = platform.http.get(uri)
    if not answer.is_success:
        return False
    main = m3u8.loads(answer.text, uri=uri)
    uris = {p.absolute_uri for p in main.playlists} | {m.absolute_uri for m in main.media if m.uri}
    return bool(uris) and all(
        (found := platform.http.get(each)).is_success and "#EXTINF" in found.text for each in uris
    )
