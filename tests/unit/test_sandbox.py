from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
import textwrap
from pathlib import Path

import pytest

from reelmesh.worker.sandbox import Invocation, Limits, Sandbox, ToolError, ToolTimeout

QUICK = Limits(wall_seconds=10)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    (folder / "source").write_bytes(b"x")
    return folder


def program(folder: Path, body: str) -> Path:
    """A stand-in for ffmpeg: a shell script."""
    path = folder / "program"
    path.write_text("#!/bin/sh\n" + textwrap.dedent(body))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def fake(tmp_path: Path, body: str, *, bubblewrap: str | None = None) -> Sandbox:
    path = program(tmp_path, body)
    return Sandbox(path, path, path, bubblewrap=bubblewrap)


def invocation(scratch: Path, limits: Limits = QUICK) -> Invocation:
    return Invocation("ffmpeg", scratch / "source", scratch, ("-ss", "1"), ("-f", "null", "-"), limits)


async def pid_in(path: Path) -> int:
    for _ in range(1_000):
        if path.exists() and (text := path.read_text()).endswith("\n"):
            return int(text)
        await asyncio.sleep(0.01)
    raise AssertionError(f"nothing wrote {path}")


async def gone(pid: int) -> bool:
    for _ in range(200):
        state = Path(f"/proc/{pid}/stat")
        try:
            if state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        await asyncio.sleep(0.02)
    return False


async def test_every_run_is_guarded(tmp_path: Path, scratch: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "reelmesh.worker.sandbox")
    output = (await fake(tmp_path, 'for a in "$@"; do echo "$a"; done').run(invocation(scratch))).decode().split("\n")
    before = output[: output.index("-i")]
    assert before[before.index("-protocol_whitelist") + 1] == "file,pipe"
    formats = before[before.index("-format_whitelist") + 1].split(",")
    assert "mov" in formats
    assert not {"hls", "concat", "image2", "dash", "lavfi"} & set(formats)
    assert int(before[before.index("-max_pixels") + 1]) == QUICK.max_pixels
    assert float(before[before.index("-t") + 1]) == QUICK.media_seconds
    assert "-nostdin" in before
    assert output[output.index("-i") + 1] == str(scratch / "source")
    line = next(record.message for record in caplog.records if record.message.startswith("run: "))
    pasted = await asyncio.create_subprocess_shell(line[5:], stdout=asyncio.subprocess.PIPE)
    assert (await pasted.communicate())[0].decode().split("\n") == output


async def test_limits_and_environment(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    limits = Limits(cpu_seconds=7, address_space=1 << 30, file_size=4096)
    output = await fake(tmp_path, "ulimit -t; ulimit -v; ulimit -f; ulimit -c; env; pwd").run(
        invocation(scratch, limits)
    )
    lines = output.decode().split()
    assert lines[:4] == ["7", str(1 << 20), "8", "0"]
    assert not [line for line in lines if line.startswith(("SECRET", "REELMESH"))]
    assert lines[-1] == str(scratch)


async def test_a_file_too_large_ends_the_program(tmp_path: Path, scratch: Path) -> None:
    sandbox = fake(tmp_path, "head -c 100000 /dev/zero > big")
    with pytest.raises(ToolError):
        await sandbox.run(invocation(scratch, Limits(wall_seconds=10, file_size=8192)))
    assert (scratch / "big").stat().st_size <= 8192


async def test_failure_tells_the_end_of_stderr(tmp_path: Path, scratch: Path) -> None:
    with pytest.raises(ToolError) as caught:
        await fake(tmp_path, "head -c 100000 /dev/zero | tr '\\0' x >&2; echo the reason >&2; exit 3").run(
            invocation(scratch)
        )
    assert caught.value.status == 3
    assert caught.value.stderr.endswith("the reason\n")
    assert len(caught.value.stderr) <= 8192


async def test_too_much_output_is_refused(tmp_path: Path, scratch: Path) -> None:
    with pytest.raises(ToolError):
        await fake(tmp_path, "cat /dev/zero").run(invocation(scratch), max_output=1 << 20)


async def test_the_wall_clock_kills_the_whole_group(tmp_path: Path, scratch: Path) -> None:
    sandbox = fake(tmp_path, "sleep 60 & echo $! > child; echo $$ > self; wait")
    with pytest.raises(ToolTimeout):
        await sandbox.run(invocation(scratch, Limits(wall_seconds=0.5)))
    for name in ("self", "child"):
        assert await gone(int((scratch / name).read_text()))


async def test_cancellation_kills_the_whole_group(tmp_path: Path, scratch: Path) -> None:
    task = asyncio.create_task(fake(tmp_path, "sleep 60 & echo $! > child; wait").run(invocation(scratch)))
    child = await pid_in(scratch / "child")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone(child)


async def test_output_flows(tmp_path: Path, scratch: Path) -> None:
    pieces = []
    async with fake(tmp_path, "echo one; sleep 0.2; echo two").start(invocation(scratch)) as output:
        async for piece in output:
            pieces.append(piece)  # noqa: PERF401  # its pace is what is looked at
    assert pieces == [b"one\n", b"two\n"]


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
async def test_a_killed_worker_leaves_no_encoder(tmp_path: Path, scratch: Path) -> None:
    path = program(tmp_path, "echo $$ > self; exec sleep 60")
    code = f"""
        import asyncio
        from pathlib import Path
        from reelmesh.worker.sandbox import Invocation, Sandbox
        scratch = Path({str(scratch)!r})
        sandbox = Sandbox(*[Path({str(path)!r})] * 3, bubblewrap=None)
        asyncio.run(sandbox.run(Invocation("ffmpeg", scratch / "source", scratch)))
    """
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", textwrap.dedent(code))
    encoder = await pid_in(scratch / "self")
    worker.send_signal(signal.SIGKILL)
    await worker.wait()
    assert await gone(encoder)


async def test_a_program_behind_the_fence_sees_its_file_and_its_folder_and_nothing_else(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    monkeypatch.setenv("SECRET", "secret")
    path = tmp_path / "program"
    path.write_text(
        textwrap.dedent(f"""\
            #!/usr/bin/sh
            [ "$1" = -version ] && exit 0
            [ -e {secret} ] && echo sees a file beside its folder
            ls /root /home /etc/passwd 2>/dev/null && echo sees ours
            [ -n "$SECRET" ] && echo sees our environment
            read source < source && echo "source: $source"
            (echo more >> source) 2>/dev/null && echo writes to the source
            (echo more >> {path}) 2>/dev/null && echo writes to the program
            (echo more > /usr/more) 2>/dev/null && echo writes to the system
            echo made > made
            while read name rest; do case $name in *:) echo "network: $name" ;; esac; done < /proc/net/dev
            for each in /proc/[0-9]*; do echo process; done
            while read name it; do case $name in CapEff:|CapBnd:) echo "$name $it" ;; esac; done < /proc/self/status
            """)
    )
    path.chmod(0o755)
    (scratch / "source").write_text("film\n")
    sandbox = Sandbox(path, path, path)
    if not await sandbox.fenced():
        pytest.skip("no bubblewrap that works here, which nothing needs")
    seen = (await sandbox.run(invocation(scratch))).decode().splitlines()
    nothing = "0" * 16
    wanted = ["source: film", "network: lo:", f"CapEff: {nothing}", f"CapBnd: {nothing}"]
    assert [line for line in seen if line != "process"] == wanted
    assert seen.count("process") <= 3, "the fence's own, and the program's"
    assert (scratch / "made").read_text() == "made\n"
    assert (scratch / "source").read_text() == "film\n"


async def test_bubblewrap_that_does_not_work_is_not_used(tmp_path: Path, scratch: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho no namespaces >&2\nexit 1\n")
    broken.chmod(0o755)
    sandbox = fake(tmp_path, "echo ran", bubblewrap=str(broken))
    assert not await sandbox.fenced()
    assert await sandbox.run(invocation(scratch)) == b"ran\n"


async def test_bubblewrap_is_used_where_it_works(tmp_path: Path, scratch: Path) -> None:
    calls = tmp_path / "calls"
    wrapper = tmp_path / "bwrap"
    wrapper.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nwhile [ "$1" != -- ]; do shift; done; shift; exec "$@"\n')
    wrapper.chmod(0o755)
    sandbox = fake(tmp_path, "echo ran", bubblewrap=str(wrapper))
    assert await sandbox.fenced()
    assert await sandbox.run(invocation(scratch)) == b"ran\n"
    await sandbox.run(invocation(scratch))
    probe, run, _ = calls.read_text().splitlines()
    assert "-version" in probe
    for option in ("--unshare-all", "--clearenv", "--cap-drop ALL", "--die-with-parent"):
        assert option in run
    assert f"--bind {scratch} {scratch}" in run
    assert f"--ro-bind {scratch}/source {scratch}/source" in run
    assert str(Path.home()) not in run or os.fspath(Path.home()) == "/"
