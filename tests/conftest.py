"""What tests share: one stack of real servers per run, test media, and a store door or two."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
from ports import free_port

from reelmesh.analytics.migrations import Placement, migrate
from reelmesh.mesh.config import Config, load
from reelmesh.stores.cassandra import Cassandra
from reelmesh.stores.warehouse import Warehouse
from reelmesh_tools.client.platform import Platform
from reelmesh_tools.stack.client import Stack
from reelmesh_tools.stack.lifecycle import running_stack
from reelmesh_tools.stack.owner import Credentials

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole platform on this machine, beside any other that runs."""
    home = tmp_path_factory.mktemp("stack")
    with running_stack(home=home, port=free_port()) as running:
        yield running


@pytest.fixture(scope="session")
def config(stack: Stack) -> Config:
    """The configuration that the stack's services read."""
    return load(stack.layout.services_file)


@pytest.fixture
async def cassandra(config: Config) -> AsyncIterator[Cassandra]:
    """A session on the stack's Cassandra."""
    connected = await Cassandra.connect(config.cassandra)
    yield connected
    await connected.close()


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """ClickHouse in this process, which can open one folder: every test of a run shares it. All tables are there."""

    async def make() -> Warehouse:
        made = await Warehouse.open("", tmp_path_factory.mktemp("warehouse"))
        await migrate(made, Placement())
        return made

    opened = asyncio.run(make())
    yield opened
    asyncio.run(opened.close())


@pytest.fixture
def platform(stack: Stack) -> Iterator[Platform]:
    """The stack as a client sees it."""
    with Platform.of_stack(stack.layout, stack.plan.gateway_url) as connected:
        yield connected


@pytest.fixture
def nobody(stack: Stack) -> Iterator[Platform]:
    """The stack as someone sees it who has not signed in."""
    with Platform(stack.plan.gateway_url) as connected:
        yield connected


@pytest.fixture(scope="session")
def owner(stack: Stack) -> Credentials:
    """Who owns the stack, and may do everything."""
    credentials = Credentials.load(stack.layout.credentials_file)
    assert credentials is not None
    return credentials


@pytest.fixture(scope="session")
def reelmesh(stack: Stack) -> Callable[..., dict[str, Any]]:
    """Run the command line against the stack and return the JSON that it prints."""
    environment = environment_of(stack)

    def run(*arguments: str, code: int = 0) -> dict[str, Any]:
        command = [sys.executable, "-m", "reelmesh_tools.cli", *arguments, "--json"]
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert answer.returncode == code, f"exit {answer.returncode}\n{answer.stdout}\n{answer.stderr}"
        parsed: dict[str, Any] = json.loads(answer.stdout)
        return parsed

    return run


def environment_of(stack: Stack) -> dict[str, str]:
    """Return the environment in which the command line finds the stack."""
    port = stack.plan.gateway_url.rsplit(":", 1)[-1]
    return {**os.environ, "REELMESH_HOME": str(stack.layout.home), "REELMESH_PORT": port}


@pytest.fixture(scope="session")
def media() -> Path | None:
    """The folder of real clips; None where there is none."""
    folder = Path(os.environ.get("REELMESH_TEST_MEDIA") or ROOT.parent / "shared" / "media")
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a clip of moving shapes and a tone: an MP4 with key frames ten seconds apart, as cameras' files have."""
    folder = tmp_path_factory.mktemp("clips")

    def make(seconds: int = 10, width: int = 640, height: int = 360, rate: int = 25) -> Path:
        file = folder / f"{width}x{height}-{rate}-{seconds}s.mp4"
        if not file.exists():
            picture = f"testsrc2=size={width}x{height}:rate={rate}:duration={seconds}"
            sound = f"sine=frequency=440:sample_rate=48000:duration={seconds}"
            command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"]
            command += ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound]
            command += ["-c:v", "libx264", "-preset", "ultrafast", "-g", str(rate * 10), "-pix_fmt", "yuv420p"]
            command += ["-c:a", "aac", "-movflags", "+faststart", str(file)]
            subprocess.run(command, check=True, timeout=300)
        return file

    return make
