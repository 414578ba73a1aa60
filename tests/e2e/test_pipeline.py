"""One video from its upload to its end, through the gateway, on the real servers; and what is refused on the way."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import google_crc32c
import grpc
import httpx
import m3u8
import psutil
import pytest
from conftest import environment_of
from e2e_world import ended, eventually, job_named, log_of, refused, send, send_whole, upload_named, video_named
from lxml import etree

from reelmesh.catalog.v1.video_pb2 import Video
from reelmesh.catalog.v1.video_service_pb2 import DeleteVideoRequest
from reelmesh.ingest.v1.upload_pb2 import Upload
from reelmesh.ingest.v1.upload_service_pb2 import (
    CancelUploadRequest,
    CreateUploadRequest,
    ListUploadsRequest,
    WriteUploadRequest,
)
from reelmesh.playback.v1.playback_service_pb2 import ListContinueWatchingRequest, UpdateProgressRequest
from reelmesh.stores.cassandra import Cassandra
from reelmesh.transcode.v1.job_pb2 import Job
from reelmesh.transcode.v1.job_service_pb2 import CancelJobRequest, GetJobRequest, RetryJobRequest, WatchJobRequest
from reelmesh_tools.client import following
from reelmesh_tools.client.platform import Platform
from reelmesh_tools.client.verify import Report, verify
from reelmesh_tools.stack.client import Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

Run = Callable[..., dict[str, Any]]
Clip = Callable[..., Path]

UNKNOWN = "organizations/default/uploads/00000000-0000-7000-8000-000000000000"
HOSTILE = {
    "bomb-10hours.mp4": "SOURCE_TOO_LONG",
    "bomb-16000x16000.mp4": "SOURCE_TOO_LARGE",
    "broken.mp4": "SOURCE_UNREADABLE",
    "ffconcat-as.mp4": "SOURCE_NOT_MEDIA",
    "playlist-as.mp4": "SOURCE_NOT_MEDIA",
    "playlist-local.m3u8": "SOURCE_NOT_MEDIA",
    "playlist-ssrf.m3u8": "SOURCE_NOT_MEDIA",
    "truncated-moov-end.mp4": "SOURCE_TRUNCATED",
}
"""Files that must not become videos, and what their jobs say."""


def check_whole(stack: Stack, platform: Platform, job: Job) -> Report:
    report = verify(platform, job.video, job, stack.layout.media_objects)
    assert report.faults == []
    assert report.unlisted == []
    return report


def test_from_upload_to_ready(stack: Stack, platform: Platform, reelmesh: Run, clip: Clip) -> None:
    made = reelmesh("upload", str(clip()), "--title", "Shapes", "--publish")
    assert made["resumed_from"] == 0
    assert 0 < made["playable_seconds"] <= made["ready_seconds"]
    report = reelmesh("verify", made["video"])
    assert (report["ok"], report["complete"], report["unlisted"]) == (True, True, [])
    assert report["expected_frames"] == report["source_frames"] == 250
    assert abs(report["av_end_difference"]) <= 0.05

    job = reelmesh("jobs", made["job"])
    assert (job["state"], job["video"], job["upload"]) == ("STATE_READY", made["video"], made["upload"])
    assert made["job"] in {each["name"] for each in reelmesh("jobs")["jobs"]}
    video = reelmesh("videos", made["video"])
    assert (video["state"], video["title"]) == ("STATE_READY", "Shapes")
    assert made["video"] in {each["name"] for each in reelmesh("videos")["videos"]}
    title = reelmesh("catalog", "get", made["title"])
    assert (title["video"], title["state"]) == (made["video"], "STATE_PUBLISHED")
    played = reelmesh("play", made["video"])
    for manifest in ("hls", "dash"):
        assert platform.http.get(played[manifest]).status_code == 200
    status = reelmesh("status")
    assert {each["health"] for each in status["processes"]} == {"healthy"}
    command = [sys.executable, "-m", "reelmesh_tools.cli", "logs", "control", "-n", "1000"]
    logged = subprocess.run(
        command, env=environment_of(stack), capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert f"task taken: job={made['job']} task=inspect" in logged


def test_a_real_film(stack: Stack, platform: Platform, media: Path | None) -> None:
    if media is None:
        pytest.skip("there is no folder of real clips here")
    upload = send_whole(platform, media / "bbb-30s-480p-51ch.mp4")
    job = ended(platform, following.job_of(platform, upload.name))
    assert job.state == Job.STATE_READY, job.failure
    report = check_whole(stack, platform, job)
    assert report.expected_frames == report.source_frames == 720


def playlists(platform: Platform, main: str) -> dict[str, m3u8.M3U8]:
    found = m3u8.loads(platform.http.get(main).raise_for_status().text, uri=main)
    uris = [p.absolute_uri for p in found.playlists] + [m.absolute_uri for m in found.media if m.uri]
    return {uri: m3u8.loads(platform.http.get(uri).raise_for_status().text, uri=uri) for uri in uris}


def test_a_growing_presentation(stack: Stack, platform: Platform, clip: Clip) -> None:
    upload = send(platform, clip(60, 1280, 720), "Long")
    job = following.job_of(platform, upload.name)
    session = following.wait_until_listed(platform, upload.video)

    early = playlists(platform, session.hls_uri)
    early_mpd = platform.http.get(session.dash_uri).raise_for_status()
    now = job_named(platform, job.name)
    assert now.state == Job.STATE_ENCODING, "it is playable long before it is ready"
    assert now.playable
    assert all(each.segments for each in early.values())
    assert any(each.playlist_type == "event" and not each.is_endlist for each in early.values())
    assert etree.fromstring(early_mpd.content).get("type") == "dynamic"
    state = eventually(
        lambda: video if (video := video_named(platform, upload.video)).state >= Video.STATE_PLAYABLE else None,
        "the catalog says playable",
    ).state
    assert state in {Video.STATE_PLAYABLE, Video.STATE_READY}

    # A watcher that was cut off goes on behind the revision that it saw last, and misses no end.
    first = next(iter(platform.jobs.WatchJob(WatchJobRequest(name=job.name))))
    resumed = platform.jobs.WatchJob(WatchJobRequest(name=job.name, after_revision=first.job.revision))
    revisions = [answer.job.revision for answer in resumed]
    assert revisions == sorted(set(revisions))
    assert all(revision > first.job.revision for revision in revisions)

    assert job_named(platform, job.name).state == Job.STATE_READY
    late = playlists(platform, session.hls_uri)
    for uri, before in early.items():
        after = late[uri]
        assert (after.playlist_type, after.is_endlist) == ("vod", True)
        kept = [(segment.uri, segment.duration) for segment in before.segments]
        assert [(segment.uri, segment.duration) for segment in after.segments][: len(kept)] == kept
    assert etree.fromstring(platform.http.get(session.dash_uri).content).get("type") == "static"
    ready = eventually(
        lambda: video if (video := video_named(platform, upload.video)).state == Video.STATE_READY else None,
        "the catalog says ready",
    )
    assert ready.job == job.name
    assert check_whole(stack, platform, job_named(platform, job.name)).expected_frames == 1500


def test_a_job_is_cancelled_and_gone_on_with(stack: Stack, platform: Platform, reelmesh: Run, clip: Clip) -> None:
    upload = send(platform, clip(60))
    job = following.job_of(platform, upload.name)
    problem = refused(lambda: platform.jobs.RetryJob(RetryJobRequest(name=job.name)))
    assert (problem.code, problem.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_NOT_FAILED")
    assert reelmesh("jobs", job.name, "--cancel")["state"] == "STATE_CANCELLED"
    assert platform.jobs.CancelJob(CancelJobRequest(name=job.name)).job.state == Job.STATE_CANCELLED, "idempotent"
    assert reelmesh("jobs", job.name, "--retry")["state"] in {"STATE_INSPECTING", "STATE_ENCODING"}
    job = ended(platform, job)
    assert job.state == Job.STATE_READY
    check_whole(stack, platform, job)
    problem = refused(lambda: platform.jobs.CancelJob(CancelJobRequest(name=job.name)))
    assert (problem.code, problem.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_ENDED")


def test_a_cancelled_job_stops_its_workers(stack: Stack, platform: Platform, clip: Clip) -> None:
    upload = send(platform, clip(60, 1280, 720))
    job = following.job_of(platform, upload.name)
    workers = [name for name in stack.plan.processes if name.startswith("worker")]

    def lines(what: str) -> list[str]:
        found = [line.message for name in workers for line in log_of(stack, name)]
        return [message for message in found if message.startswith(f"task {what}: job={job.name} task=video")]

    eventually(lambda: len(lines("begins")) > 1, "chunks are being encoded")
    platform.jobs.CancelJob(CancelJobRequest(name=job.name))
    eventually(lambda: lines("dropped"), "a worker gives up", 15)
    pids = [stack.process(name).pid for name in workers]
    eventually(
        lambda: not any(psutil.Process(pid).children(recursive=True) for pid in pids), "their tools are gone", 15
    )
    assert platform.jobs.RetryJob(RetryJobRequest(name=job.name)).job.state == Job.STATE_ENCODING
    assert ended(platform, job).state == Job.STATE_READY
    check_whole(stack, platform, job_named(platform, job.name))


def test_a_deleted_video_leaves_nothing_to_play(stack: Stack, platform: Platform, clip: Clip) -> None:
    upload = send(platform, clip())
    assert ended(platform, following.job_of(platform, upload.name)).state == Job.STATE_READY
    eventually(lambda: video_named(platform, upload.video).state == Video.STATE_READY, "the catalog says ready")
    folder = stack.layout.media_objects / "default" / upload.video.rsplit("/", 1)[-1]
    assert any(file.is_file() for file in folder.rglob("*"))
    session = following.open_session(platform, upload.video, viewer="leaver")
    begun = UpdateProgressRequest(session=session.name)
    begun.position.FromTimedelta(timedelta(seconds=1))
    platform.playback.UpdateProgress(begun)
    asked = ListContinueWatchingRequest(parent=platform.parent, viewer="leaver")

    def begun_videos() -> list[str]:
        return [progress.video for progress in platform.playback.ListContinueWatching(asked).progress]

    assert upload.video in begun_videos()
    platform.videos.DeleteVideo(DeleteVideoRequest(name=upload.video))
    assert refused(lambda: video_named(platform, upload.video)).reason == "VIDEO_UNKNOWN"
    eventually(lambda: not any(file.is_file() for file in folder.rglob("*")), "its objects are gone")
    eventually(lambda: platform.http.get(session.hls_uri).status_code == 404, "its playlists are gone", 90)
    eventually(lambda: upload.video not in begun_videos(), "nobody is asked to go on with it")


def test_hostile_files_end_with_their_reason(stack: Stack, platform: Platform, media: Path | None) -> None:
    if media is None:
        pytest.skip("there is no folder of hostile files here")
    sent = {name: send_whole(platform, media / "hostile" / name) for name in HOSTILE}
    jobs = {name: following.job_of(platform, upload.name) for name, upload in sent.items()}
    for name, begun in jobs.items():
        job = ended(platform, begun)
        assert (job.state, job.failure.reason) == (Job.STATE_FAILED, HOSTILE[name]), name
        video = eventually(
            lambda wanted=sent[name].video: (
                found  # type: ignore[misc]  # a default binds the loop's value
                if (found := video_named(platform, wanted)).state == Video.STATE_FAILED
                else None
            ),
            "the catalog says failed",
        )
        assert video.failure_reason == HOSTILE[name]
        folder = stack.layout.media_objects / "default" / job.video.rsplit("/", 1)[-1]
        assert not folder.exists(), "nothing half-written"


def test_damage_that_can_be_decoded_around(stack: Stack, platform: Platform, media: Path | None) -> None:
    if media is None:
        pytest.skip("there is no folder of hostile files here")
    sent = [send_whole(platform, media / "hostile" / name) for name in ("bitflips.mp4", "mdat-too-long.mp4")]
    for upload in sent:
        job = ended(platform, following.job_of(platform, upload.name))
        assert job.state == Job.STATE_READY, job.failure
        check_whole(stack, platform, job)


def test_text_named_as_a_film(reelmesh: Run, tmp_path: Path) -> None:
    file = tmp_path / "text.mp4"
    file.write_text("this is no film\n" * 100)
    made = reelmesh("upload", str(file), code=1)
    assert made["error"]["reason"] == "SOURCE_NOT_MEDIA"
    assert made["upload"]
    assert reelmesh("videos", made["video"])["failureReason"] == "SOURCE_NOT_MEDIA"


def test_an_empty_file(platform: Platform, reelmesh: Run, tmp_path: Path) -> None:
    file = tmp_path / "zero.mp4"
    file.touch()
    assert reelmesh("upload", str(file), code=1)["error"]["reason"] == "EMPTY_UPLOAD"
    assert reelmesh("verify", str(uuid.uuid4()), code=1)["error"]["reason"] == "VIDEO_UNKNOWN"


# What the gateway refuses.


def create(platform: Platform, **fields: Any) -> Upload:
    return platform.uploads.CreateUpload(
        CreateUploadRequest(parent=platform.parent, upload=Upload(**fields), request_id=str(uuid.uuid4()))
    ).upload


def write(platform: Platform, upload: Upload, data: bytes, **fields: Any) -> Upload:
    message = WriteUploadRequest(name=upload.name, data=data, **fields)
    return platform.uploads.WriteUpload(iter([message])).upload


def test_uploads_are_held_to_their_word(stack: Stack, platform: Platform) -> None:
    upload = create(platform, display_name="a.mp4", total_size=10)
    write(platform, upload, b"01234", offset=0)

    problem = refused(lambda: write(platform, upload, b"x", offset=7))
    assert (problem.code, problem.reason) == (grpc.StatusCode.OUT_OF_RANGE, "OFFSET_MISMATCH")
    assert problem.metadata["persisted_size"] == "5"
    problem = refused(lambda: write(platform, upload, b"5" * 6, offset=5))
    assert (problem.code, problem.reason) == (grpc.StatusCode.OUT_OF_RANGE, "SIZE_EXCEEDED")
    problem = refused(lambda: write(platform, upload, b"56", offset=5, crc32c=google_crc32c.value(b"57")))
    assert (problem.code, problem.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CHECKSUM_MISMATCH")
    problem = refused(lambda: write(platform, upload, b"", offset=5, finish=True))
    assert (problem.code, problem.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "SIZE_MISMATCH")
    problem = refused(lambda: write(platform, upload, b"x" * (2 << 20) + b"x", offset=5))
    assert (problem.code, problem.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert refused(lambda: write(platform, upload, b"x" * (8 << 20), offset=5)).code in {
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,  # the server closed the stream before all of it was sent
    }
    assert upload_named(platform, upload.name).persisted_size == 5, "nothing of what was refused is kept"

    assert write(platform, upload, b"0123456", offset=0).persisted_size == 7, "what is there is skipped"
    platform.uploads.CancelUpload(CancelUploadRequest(name=upload.name))
    problem = refused(lambda: write(platform, upload, b"7", offset=7))
    assert (problem.code, problem.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UPLOAD_CANCELLED")
    folder = stack.layout.raw_objects / "default" / upload.name.rsplit("/", 1)[-1]
    assert not any(file.is_file() for file in folder.rglob("*")), "its bytes are gone"


def test_a_wrong_checksum_of_the_whole_ends_the_upload(stack: Stack, platform: Platform) -> None:
    upload = create(platform, display_name="a.mp4", crc32c=1)
    problem = refused(lambda: write(platform, upload, b"abc", finish=True))
    assert (problem.code, problem.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CHECKSUM_MISMATCH")
    failed = upload_named(platform, upload.name)
    assert (failed.state, failed.failure_reason) == (Upload.STATE_FAILED, "CHECKSUM_MISMATCH")
    problem = refused(lambda: write(platform, upload, b"abc"))
    assert (problem.code, problem.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UPLOAD_FAILED")
    folder = stack.layout.raw_objects / "default" / upload.name.rsplit("/", 1)[-1]
    assert not any(file.is_file() for file in folder.rglob("*")), "its bytes are gone"


def test_names_and_sizes_that_are_no_such(platform: Platform) -> None:
    for fields in ({"display_name": "../a.mp4"}, {"display_name": "a\x00"}, {"total_size": -1}, {"title": "x" * 501}):
        problem = refused(lambda fields=fields: create(platform, **fields))  # type: ignore[misc]
        assert (problem.code, problem.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"), fields
    problem = refused(lambda: create(platform, total_size=1 << 60))
    assert (problem.code, problem.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "UPLOAD_TOO_LARGE")
    for parent in ("organizations/../x", "organizations/", "x"):
        request = CreateUploadRequest(parent=parent, upload=Upload())
        assert refused(lambda request=request: platform.uploads.CreateUpload(request)).reason == "INVALID_REQUEST"  # type: ignore[misc]
    problem = refused(lambda: upload_named(platform, UNKNOWN))
    assert (problem.code, problem.reason) == (grpc.StatusCode.NOT_FOUND, "UPLOAD_UNKNOWN")
    problem = refused(lambda: write(platform, Upload(name=UNKNOWN), b"x"))
    assert (problem.code, problem.reason) == (grpc.StatusCode.NOT_FOUND, "UPLOAD_UNKNOWN")
    problem = refused(lambda: platform.uploads.ListUploads(ListUploadsRequest(parent=platform.parent, page_token="?")))  # noqa: S106 - no secret
    assert problem.reason == "PAGE_TOKEN_INVALID"
    problem = refused(lambda: platform.jobs.GetJob(GetJobRequest(name=UNKNOWN.replace("uploads", "jobs"))))
    assert (problem.code, problem.reason) == (grpc.StatusCode.NOT_FOUND, "JOB_UNKNOWN")


async def test_an_expired_upload(platform: Platform, cassandra: Cassandra) -> None:
    upload = create(platform, display_name="old.mp4")
    write(platform, upload, b"abc")
    await cassandra.execute(
        "UPDATE reelmesh_ingest.uploads SET expire_time = ? WHERE organization = ? AND upload = ? IF state = 'ACTIVE'",
        datetime.now(UTC) - timedelta(seconds=1),
        "default",
        upload.name.rsplit("/", 1)[-1],
    )
    problem = refused(lambda: write(platform, upload, b"d", offset=3))
    assert (problem.code, problem.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UPLOAD_EXPIRED")


def reason_of(answer: httpx.Response) -> str:
    details = json.loads(answer.content)["details"]
    return next(str(each["reason"]) for each in details if each["@type"].endswith("ErrorInfo"))


def test_the_same_over_http(platform: Platform) -> None:
    web = platform.signed_http
    base = f"{platform.url}/v1/{platform.parent}/uploads"
    created = web.post(base, json={"displayName": "a.mp4", "totalSize": "6"})
    assert created.status_code == 200
    url = f"{platform.url}/v1/{created.json()['upload']['name']}:write"

    def put(data: bytes, **query: object) -> httpx.Response:
        return web.put(url, content=data, params={key: str(value) for key, value in query.items()})

    answer = put(b"abc", offset=0, crc32c=google_crc32c.value(b"abc"))
    assert (answer.status_code, answer.json()["upload"]["persistedSize"]) == (200, "3")
    answer = put(b"x", offset=5)
    assert (answer.status_code, reason_of(answer)) == (400, "OFFSET_MISMATCH")
    answer = put(b"def", offset=3, crc32c=1)
    assert (answer.status_code, reason_of(answer)) == (400, "CHECKSUM_MISMATCH")
    answer = put(b"defg", offset=3)
    assert (answer.status_code, reason_of(answer)) == (400, "SIZE_EXCEEDED")
    answer = put(b"d", offset=3, finish="true")
    assert (answer.status_code, reason_of(answer)) == (400, "SIZE_MISMATCH")
    answer = put(b"d", offset=-1)
    assert (answer.status_code, reason_of(answer)) == (400, "INVALID_REQUEST")
    answer = put(b"d", offset="x")
    assert (answer.status_code, reason_of(answer)) == (400, "REQUEST_MALFORMED")
    assert web.get(url.removesuffix(":write")).json()["upload"]["persistedSize"] == "4", "the last byte that was right"

    answer = web.get(f"{platform.url}/v1/{UNKNOWN}")
    assert (answer.status_code, reason_of(answer)) == (404, "UPLOAD_UNKNOWN")
    answer = web.get(f"{platform.url}/v1/organizations/default/uploads/nonsense")
    assert (answer.status_code, reason_of(answer)) == (400, "INVALID_REQUEST")
    answer = web.post(base, json={"displayName": "a/b"})
    assert (answer.status_code, reason_of(answer)) == (400, "INVALID_REQUEST")
    answer = web.post(base, content=b"{")
    assert (answer.status_code, reason_of(answer)) == (400, "REQUEST_MALFORMED")


def test_a_finished_upload_is_returned_as_it_stands(platform: Platform, clip: Clip) -> None:
    data = clip().read_bytes()
    upload = create(platform, display_name="again.mp4", total_size=len(data))
    pieces = [(start, data[start : start + (1 << 20)]) for start in range(0, len(data), 1 << 20)]
    messages = [
        WriteUploadRequest(name=upload.name, offset=start, data=piece, finish=start + len(piece) == len(data))
        for start, piece in pieces
    ]
    done = platform.uploads.WriteUpload(iter(messages)).upload
    assert (done.state, done.crc32c) == (Upload.STATE_SUCCEEDED, google_crc32c.value(data))
    assert platform.uploads.WriteUpload(iter(messages)).upload == done
    problem = refused(lambda: platform.uploads.CancelUpload(CancelUploadRequest(name=upload.name)))
    assert (problem.code, problem.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UPLOAD_FINISHED")
    job = following.job_of(platform, upload.name)
    assert job.video == upload.video
    platform.jobs.CancelJob(CancelJobRequest(name=job.name))
