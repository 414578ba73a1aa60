"""`reelmesh upload`, `jobs`, `videos`, `play` and `verify`: what a client does with the platform."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from reelmesh.catalog.v1.title_pb2 import Localization, Title
from reelmesh.catalog.v1.title_service_pb2 import CreateTitleRequest
from reelmesh.catalog.v1.video_pb2 import Video
from reelmesh.catalog.v1.video_service_pb2 import GetVideoRequest, ListVideosRequest
from reelmesh.ingest.v1.upload_pb2 import Upload
from reelmesh.transcode.v1.job_pb2 import Job
from reelmesh.transcode.v1.job_service_pb2 import CancelJobRequest, GetJobRequest, ListJobsRequest, RetryJobRequest
from reelmesh_tools.client import following, uploading
from reelmesh_tools.client.platform import CALL_SECONDS, Platform, problem_of
from reelmesh_tools.client.verify import Report, verify
from reelmesh_tools.stack.layout import Layout

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
_Video = Annotated[str, typer.Argument(help="A video's name or id.")]


class Protect(StrEnum):
    """Whether a presentation is encrypted."""

    CLEAR = "clear"
    DRM = "drm"


class Until(StrEnum):
    """What `reelmesh upload` waits for."""

    UPLOADED = "uploaded"
    PLAYABLE = "playable"
    READY = "ready"


_PROTECTIONS = {
    None: Upload.PROTECTION_UNSPECIFIED,
    Protect.CLEAR: Upload.PROTECTION_CLEAR,
    Protect.DRM: Upload.PROTECTION_DRM,
}


def register(app: typer.Typer) -> None:
    """Add the client's commands to `app`."""
    app.command()(upload)
    app.command()(jobs)
    app.command()(videos)
    app.command()(play)
    app.command(name="verify")(verify_video)


def upload(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The source.")],
    title: Annotated[str, typer.Option(help="Title of the video; the file's name when left out.")] = "",
    protection: Annotated[
        Protect | None, typer.Option(help="Whether to encrypt it; the installation's default when left out.")
    ] = None,
    until: Annotated[Until, typer.Option(help="What to wait for.")] = Until.READY,
    publish: Annotated[
        bool, typer.Option("--publish", help="Make it a film that viewers find, as soon as it can be watched.")
    ] = False,
    language: Annotated[str, typer.Option(help="Language of the title that is published (BCP 47).")] = "en",
    as_json: _Json = False,
) -> None:
    """Upload a file and follow it until it can be watched; run again, it goes on where it was cut off."""
    if publish and until is Until.UPLOADED:
        raise typer.BadParameter("what is published has to be waited for", param_hint="--publish")
    layout = Layout.from_environment(os.environ)
    with connected(as_json=as_json) as platform, _bars(hidden=as_json) as bars:
        memory = uploading.Memory.of(layout.home / "uploads", file, platform.url)
        size = file.stat().st_size
        sending = bars.add_task("uploading", total=size, done="")

        def sent(so_far: int) -> None:
            bars.update(sending, completed=so_far, done=f"{so_far / 1e6:.1f} of {size / 1e6:.1f} MB")

        wanted = uploading.Wanted(title, _PROTECTIONS[protection])
        done = uploading.upload(platform, file, wanted, memory, sent)
        acknowledged = time.monotonic()
        result: dict[str, Any] = {
            "upload": done.upload.name,
            "video": done.upload.video,
            "job": None,
            "hls": None,
            "dash": None,
            "watch": platform.watch_url(done.upload.video),
            "title": None,
            "resumed_from": done.resumed_from,
            "upload_seconds": round(done.seconds, 3),
            "playable_seconds": None,
            "ready_seconds": None,
        }
        if until is not Until.UPLOADED:
            _follow(platform, done.upload.name, until, acknowledged, result, bars)
        if publish:
            result["title"] = _publish(platform, done.upload.video, title or file.stem, language).name
        memory.forget()
    if as_json:
        typer.echo(json.dumps(result, indent=2))
    else:
        typer.echo(f"watch it: {result['watch']}")


def _publish(platform: Platform, video: str, words: str, language: str) -> Title:
    film = Title(
        kind=Title.KIND_FILM,
        video=video,
        state=Title.STATE_PUBLISHED,
        localizations=[Localization(language=language, title=words)],
    )
    # The video's id stands for the request: run again, the command finds what it made.
    request = CreateTitleRequest(parent=platform.parent, title=film, request_id=video.rpartition("/")[2])
    return platform.titles.CreateTitle(request, timeout=CALL_SECONDS).title


def _follow(
    platform: Platform, upload_name: str, until: Until, acknowledged: float, result: dict[str, Any], bars: Progress
) -> None:
    job = begun = following.job_of(platform, upload_name)
    result["job"] = begun.name
    encoding = bars.add_task("encoding", total=None, done="")
    for job in following.follow(platform, begun):
        tasks = job.progress
        bars.update(
            encoding, completed=tasks.tasks_done, total=tasks.tasks, done=f"{tasks.tasks_done} of {tasks.tasks} tasks"
        )
        if job.playable and result["playable_seconds"] is None:
            session = following.wait_until_listed(platform, job.video)
            result["playable_seconds"] = round(time.monotonic() - acknowledged, 3)
            result["hls"], result["dash"] = session.hls_uri, session.dash_uri
            if not bars.disable:
                bars.console.print(
                    f"playable after {result['playable_seconds']:.1f} s: {result['watch']}", soft_wrap=True
                )
            if until is Until.PLAYABLE:
                return
    if job.state != Job.STATE_READY:
        failure = job.failure
        raise _Failed(failure.reason or Job.State.Name(job.state), failure.message or "the job ended", result)
    result["ready_seconds"] = round(time.monotonic() - acknowledged, 3)


def jobs(
    name: Annotated[str | None, typer.Argument(help="One job; all when left out.")] = None,
    cancel: Annotated[bool, typer.Option(help="End the job.")] = False,
    retry: Annotated[bool, typer.Option(help="Go on with a failed or cancelled job.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many of the newest.")] = 20,
    as_json: _Json = False,
) -> None:
    """List jobs, or show, cancel or retry one."""
    with connected(as_json=as_json) as platform:
        if name is None:
            listed = platform.jobs.ListJobs(
                ListJobsRequest(parent=platform.parent, page_size=limit), timeout=CALL_SECONDS
            )
            _print_list("jobs", list(listed.jobs), _job_row, as_json=as_json)
            return
        if cancel:
            job = platform.jobs.CancelJob(CancelJobRequest(name=name), timeout=CALL_SECONDS).job
        elif retry:
            job = platform.jobs.RetryJob(RetryJobRequest(name=name), timeout=CALL_SECONDS).job
        else:
            job = platform.jobs.GetJob(GetJobRequest(name=name), timeout=CALL_SECONDS).job
        typer.echo(_json_of(job))


def videos(
    name: Annotated[str | None, typer.Argument(help="One video, by name or id; all when left out.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many of the newest.")] = 20,
    as_json: _Json = False,
) -> None:
    """List videos, or show one."""
    with connected(as_json=as_json) as platform:
        if name is None:
            request = ListVideosRequest(parent=platform.parent, page_size=limit)
            listed = platform.videos.ListVideos(request, timeout=CALL_SECONDS)
            _print_list("videos", list(listed.videos), _video_row, as_json=as_json)
            return
        request_one = GetVideoRequest(name=platform.video_name(name))
        typer.echo(_json_of(platform.videos.GetVideo(request_one, timeout=CALL_SECONDS).video))


def play(
    video: _Video,
    viewer: Annotated[str, typer.Option(help="Who watches; remembers how far they got.")] = "",
    as_json: _Json = False,
) -> None:
    """Start a viewing and print where to watch."""
    with connected(as_json=as_json) as platform:
        session = following.open_session(platform, platform.video_name(video), viewer)
        where = {
            "session": session.name,
            "hls": session.hls_uri,
            "dash": session.dash_uri,
            "token": session.media_token,
            "licenses": {server.key_system: server.uri for server in session.license_servers},
            "watch": platform.watch_url(session.video),
            "resume_position": session.resume_position.ToTimedelta().total_seconds(),
        }
    if as_json:
        typer.echo(json.dumps(where, indent=2))
    else:
        for what in ("watch", "hls", "dash"):
            typer.echo(f"{what:6} {where[what]}")


def verify_video(video: _Video, as_json: _Json = False) -> None:
    """Download a video as a player would and check every segment; exits with 1 on any fault."""
    layout = Layout.from_environment(os.environ)
    with connected(as_json=as_json) as platform:
        name = platform.video_name(video)
        job_name = platform.videos.GetVideo(GetVideoRequest(name=name), timeout=CALL_SECONDS).video.job
        job = platform.jobs.GetJob(GetJobRequest(name=job_name), timeout=CALL_SECONDS).job
        report = verify(platform, name, job, layout.media_objects)
    typer.echo(report.as_json() if as_json else "")
    if not as_json:
        _print_report(report)
    raise typer.Exit(1 if report.faults else 0)


class _Failed(Exception):
    """The platform took the file and could not make a video of it."""

    def __init__(self, reason: str, message: str, result: dict[str, Any]) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.result = result


@contextmanager
def connected(*, as_json: bool) -> Iterator[Platform]:
    """Connect, and turn what goes wrong into one line, or one JSON object, and exit code 1."""
    try:
        with Platform.from_environment() as platform:
            yield platform
    except grpc.RpcError as error:
        problem = problem_of(error)
        _fail(problem.reason or problem.code.name, problem.message, {}, as_json=as_json)
    except _Failed as error:
        _fail(error.reason, error.message, error.result, as_json=as_json)
    except following.JobMissing as error:
        _fail("JOB_MISSING", str(error), {}, as_json=as_json)


def _fail(reason: str, message: str, result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({**result, "error": {"reason": reason, "message": message}}, indent=2))
    else:
        typer.echo(f"{reason}: {message}", err=True)
    raise typer.Exit(1)


def _bars(*, hidden: bool) -> Progress:
    return Progress(
        TextColumn("{task.description:10}"),
        BarColumn(),
        TextColumn("{task.fields[done]}"),
        console=Console(stderr=True),
        disable=hidden,
    )


def _json_of(message: Message) -> str:
    return json.dumps(MessageToDict(message, always_print_fields_with_no_presence=True), indent=2)


def _print_list(key: str, messages: list[Any], row: Callable[[Any], tuple[str, ...]], *, as_json: bool) -> None:
    if as_json:
        found = [MessageToDict(m, always_print_fields_with_no_presence=True) for m in messages]
        typer.echo(json.dumps({key: found}, indent=2))
        return
    table = Table("id", "state", key.removesuffix("s"), "made")
    for message in messages:
        table.add_row(*row(message))
    Console().print(table)


def _job_row(job: Job) -> tuple[str, ...]:
    done = f"{job.progress.tasks_done}/{job.progress.tasks} tasks {job.failure.reason}"
    return job.name.rsplit("/", 1)[-1], Job.State.Name(job.state)[6:], done, job.create_time.ToJsonString()


def _video_row(video: Video) -> tuple[str, ...]:
    state = Video.State.Name(video.state)[6:]
    return video.name.rsplit("/", 1)[-1], state, video.title, video.create_time.ToJsonString()


def _print_report(report: Report) -> None:
    table = Table("track", "codec", "encryption", "segments", "frames", "gaps", "start", "end", "bytes")
    for each in report.renditions:
        numbers = (each.segments, each.samples, each.gaps, f"{each.start:.3f}", f"{each.end:.3f}", each.bytes)
        table.add_row(each.track, each.codec, each.scheme or "none", *map(str, numbers))
    Console().print(table)
    for fault in report.faults:
        typer.echo(f"fault: {fault}", err=True)
    if not report.faults:
        typer.echo(f"every frame once: {report.expected_frames} of the source's {report.source_frames}")
