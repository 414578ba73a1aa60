from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import google_crc32c
import pytest
import typer

from reelmesh.media.v1.media_pb2 import AudioFormat, Rational, Track, VideoFormat
from reelmesh.transcode.v1.job_pb2 import Job
from reelmesh_tools.bench import ffmpeg, plain, playback, upload
from reelmesh_tools.bench.commands import parse_size
from reelmesh_tools.bench.errors import BenchError
from reelmesh_tools.bench.meter import Meter

MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "size"),
    [("1GiB", 1 << 30), ("1.5 MiB", 3 << 19), ("500MB", 500_000_000), ("4096", 4096), ("2k", 2000), ("7b", 7)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1", "0", "1TiB", "1GiB please"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_size(text)


@pytest.fixture(params=["putserver", "nginx"])
def server_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "putserver":
        monkeypatch.setattr("shutil.which", lambda program: None)
    elif shutil.which("nginx") is None:
        pytest.skip("there is no nginx here, which nothing needs")
    return str(request.param)


@pytest.mark.parametrize("size", [0, 1, 3 * MIB + 5])
def test_a_plain_put_arrives_whole(server_kind: str, size: int, tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(os.urandom(size))
    (tmp_path / "server").mkdir()
    with plain.server(tmp_path / "server") as server:
        assert server.kind == server_kind
        for _ in range(2):  # a second one takes the place of the first
            plain.put(server, source)
            assert (server.root / source.name).read_bytes() == source.read_bytes()


def test_a_plain_put_through_the_bare_proxy_arrives_whole(tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(os.urandom(3 * MIB + 5))
    (tmp_path / "server").mkdir()
    with plain.server(tmp_path / "server") as server, plain.proxy(server, tmp_path) as proxy:
        assert proxy.port != server.port
        plain.put(proxy, source)
        assert (server.root / source.name).read_bytes() == source.read_bytes()


def status_of(connection: http.client.HTTPConnection, method: str, path: str, body: bytes) -> int:
    connection.request(method, path, body)
    with connection.getresponse() as answer:
        answer.read()
        return answer.status


def test_the_plain_server_takes_several_puts_of_one_connection_and_refuses_the_rest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("shutil.which", lambda program: None)
    with plain.server(tmp_path) as server:
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, 10)) as connection:
            for body in (b"one", b"two" * MIB):
                assert status_of(connection, "PUT", "/file", body) == 201
                assert (server.root / "file").read_bytes() == body
        for method, path in (("GET", "/file"), ("PUT", "/../file"), ("PUT", "/"), ("PUT", "/.hidden")):
            with closing(http.client.HTTPConnection("127.0.0.1", server.port, 10)) as connection:
                assert status_of(connection, method, path, b"x") == 400, (method, path)
        assert [file.name for file in server.root.iterdir()] == ["file"]


def test_a_put_that_breaks_off_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda program: None)
    with plain.server(tmp_path) as server:
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, 10)) as connection:
            connection.putrequest("PUT", "/cut")
            connection.putheader("Content-Length", "100")
            connection.endheaders(b"only this")
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, 10)) as connection:
            assert status_of(connection, "PUT", "/whole", b"x") == 201
        assert [file.name for file in server.root.iterdir()] == ["whole"]


def test_an_upload_is_messages_with_checksums_that_never_finish_it(tmp_path: Path) -> None:
    source = upload._source(tmp_path / "source.bin", 5 * MIB + 3)
    messages = list(upload._messages("organizations/default/uploads/u", source))
    assert [message.offset for message in messages] == [0, 2 * MIB, 4 * MIB]
    assert b"".join(message.data for message in messages) == source.read_bytes()
    assert all(message.crc32c == google_crc32c.value(message.data) for message in messages)
    assert not any(message.finish for message in messages)


def test_the_meter_sees_memory_that_was_given_back_and_processor_time() -> None:
    program = "import sys\nfor _ in sys.stdin:\n b = bytearray(64 << 20); b[::4096] = b'x' * len(b[::4096])\n"
    program += " sum(range(3_000_000)); del b; print('done', flush=True)"
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True) as child:
        assert child.stdin
        assert child.stdout
        with Meter({"child": child.pid}) as meter:
            child.stdin.write("go\n")
            child.stdin.flush()
            assert child.stdout.readline() == "done\n"
        child.stdin.close()
    cost = meter.costs["child"]
    assert cost.rss_peak - cost.rss_before > 48 * MIB
    assert cost.cpu_seconds > 0


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert [playback.percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert playback.percentile([7.0], 0.99) == 7


def a_job(heights: tuple[int, ...]) -> Job:
    rate = Rational(numerator=25, denominator=1)
    tracks = [
        Track(id=f"v{height}", video=VideoFormat(width=height * 16 // 9, height=height, frame_rate=rate))
        for height in heights
    ]
    return Job(tracks=[*tracks, Track(id="a0", audio=AudioFormat(channels=2, sample_rate=48000))], frames=25)


def test_plain_ffmpeg_makes_every_track_of_the_job(tmp_path: Path) -> None:
    clip = ffmpeg.make_clip(tmp_path / "clip.mp4", 1)
    (tmp_path / "out").mkdir()
    _, frames = ffmpeg.encode(clip, a_job((1080, 720, 480, 360, 240)), tmp_path / "out")
    assert frames == 25
    made = {file.name for file in (tmp_path / "out").iterdir() if file.stat().st_size > 1000}
    assert made == {"v1080.mp4", "v720.mp4", "v480.mp4", "v360.mp4", "v240.mp4", "a0.mp4"}


def test_another_ladder_than_the_standard_one_is_not_compared() -> None:
    with pytest.raises(BenchError):
        ffmpeg.ladder_of(a_job((1080, 100)))
