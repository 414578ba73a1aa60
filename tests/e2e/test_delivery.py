"""What a copied address opens: its own presentation, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import m3u8
import pytest
from e2e_world import ended, send
from lxml import etree

from reelmesh.playback.v1.session_pb2 import PlaybackSession
from reelmesh.transcode.v1.job_pb2 import Job
from reelmesh_tools.client import following
from reelmesh_tools.client.platform import Platform
from reelmesh_tools.stack.client import Stack

pytestmark = [pytest.mark.stack]


@pytest.fixture(scope="module")
def sessions(stack: Stack, clip: Callable[..., Path]) -> tuple[PlaybackSession, PlaybackSession]:
    """Viewings of two videos."""
    with Platform.of_stack(stack.layout, stack.plan.gateway_url) as platform:
        uploads = [send(platform, clip()) for _ in range(2)]
        jobs = [ended(platform, following.job_of(platform, upload.name)) for upload in uploads]
        assert [job.state for job in jobs] == [Job.STATE_READY] * 2
        first, second = (following.open_session(platform, job.video) for job in jobs)
    return first, second


def segment(platform: Platform, session: PlaybackSession) -> str:
    """Return the address of a segment as the playlist has it."""
    main = m3u8.loads(platform.http.get(session.hls_uri).text, uri=session.hls_uri)
    uri = main.playlists[0].absolute_uri
    return str(m3u8.loads(platform.http.get(uri).text, uri=uri).segments[0].absolute_uri)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Return the status and the reason of a refusal."""
    return answer.status_code, str(answer.json()["details"][0]["reason"])


def with_token(uri: str, token: str) -> str:
    return f"{uri.partition('?')[0]}?token={token}"


def test_every_object_that_a_manifest_lists_opens_by_its_address_alone(
    platform: Platform, sessions: tuple[PlaybackSession, PlaybackSession]
) -> None:
    mine, _ = sessions
    uri = segment(platform, mine)
    assert platform.http.get(uri).is_success
    assert platform.http.get(with_token(uri, mine.media_token)).is_success, "or by the session's newest token"
    part = platform.http.get(uri, headers={"range": "bytes=0-99"})
    assert (part.status_code, len(part.content)) == (206, 100)
    for representation in etree.fromstring(platform.http.get(mine.dash_uri).content).iter("{*}Representation"):
        init, track = str(representation[-1].get("initialization")), str(representation.get("id"))
        assert platform.http.get(f"{platform.url}{init.replace('$RepresentationID$', track)}").is_success


def test_a_token_opens_its_own_presentation_only(
    platform: Platform, sessions: tuple[PlaybackSession, PlaybackSession]
) -> None:
    mine, other = sessions
    uri, theirs = segment(platform, mine), segment(platform, other)
    (token,) = parse_qs(urlsplit(uri).query)["token"]
    get = platform.http.get
    assert refusal(get(with_token(theirs, token))) == (403, "MEDIA_TOKEN_MISMATCH")
    assert refusal(get(uri.partition("?")[0])) == (401, "MEDIA_TOKEN_INVALID")
    assert refusal(get(with_token(uri, token[:-4] + "AAAA"))) == (401, "MEDIA_TOKEN_INVALID")
    manifest = urlsplit(mine.hls_uri).query.partition("token=")[2]
    assert refusal(get(with_token(uri, manifest)))[0] in {401, 403}, "what opens a playlist opens no object"

    folder, target = urlsplit(uri).path.rsplit("/", 1)[0], urlsplit(theirs).path
    up = "../" * folder.count("/")
    for detour in (up, up.replace(".", "%2e"), up.replace("/", "%2f"), up.replace("../", "..%5c")):
        raw = f"{folder}/{detour}{target.lstrip('/')}?token={token}".encode()
        answer = get(httpx.URL(platform.url).copy_with(raw_path=raw))
        assert answer.status_code in {400, 403}, detour


def test_a_manifest_opens_by_its_session_s_token_only(
    platform: Platform, sessions: tuple[PlaybackSession, PlaybackSession]
) -> None:
    mine, other = sessions
    for uri, theirs in ((mine.hls_uri, other.hls_uri), (mine.dash_uri, other.dash_uri)):
        assert platform.http.get(uri).is_success
        token = urlsplit(theirs).query.partition("token=")[2]
        assert refusal(platform.http.get(with_token(uri, token))) == (403, "TOKEN_OF_OTHER_VIDEO")
        assert refusal(platform.http.get(uri.partition("?")[0])) == (401, "TOKEN_REQUIRED")
        assert refusal(platform.http.get(with_token(uri, mine.media_token))) == (401, "TOKEN_INVALID")


def test_no_token_is_in_any_log(
    stack: Stack, platform: Platform, sessions: tuple[PlaybackSession, PlaybackSession]
) -> None:
    mine, _ = sessions
    uri = segment(platform, mine)
    platform.http.get(uri)
    tokens = [urlsplit(each).query.partition("token=")[2] for each in (uri, mine.hls_uri)]
    logged = {file.name: file.read_text(errors="replace") for file in stack.layout.logs.glob("*.log")}
    assert "ingest.log" in logged
    for name, text in logged.items():
        assert not [token for token in tokens if token in text], name


def test_play_prints_what_opens_a_video(
    reelmesh: Callable[..., dict[str, Any]], sessions: tuple[PlaybackSession, PlaybackSession]
) -> None:
    printed = reelmesh("play", sessions[0].video)
    assert httpx.get(printed["hls"]).is_success
    assert httpx.get(printed["dash"]).is_success
    assert printed["token"]
