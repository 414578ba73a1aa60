"""A process of services ends promptly in every phase, and never goes on with a part missing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from reelmesh import main
from reelmesh.mesh.config import Config, MeshConfig, ObjectsConfig
from reelmesh.stores.bundle import Connections


class Part:
    """Work that goes on until it is cancelled, or fails when told to."""

    def __init__(self) -> None:
        self.running = asyncio.Event()
        self.fault = asyncio.Event()
        self.cancelled = False

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        self.running.set()
        try:
            await self.fault.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        raise RuntimeError("the part failed")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(
        objects=ObjectsConfig(raw=f"file://{tmp_path}/raw", media=f"file://{tmp_path}/media"),
        mesh=MeshConfig(certificates=tmp_path),
        services={},
        home=tmp_path,
    )


def started(monkeypatch: pytest.MonkeyPatch, build: Callable[[], Awaitable[object]]) -> None:
    async def start(config: Config, names: object, connections: Connections, replica: int) -> object:
        return await build()

    monkeypatch.setattr(main, "_start", start)


async def stopped(serving: asyncio.Task[None]) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(2):
        await serving


async def test_sigterm_ends_the_wait_for_a_store(monkeypatch: pytest.MonkeyPatch, config: Config) -> None:
    waiting = asyncio.Event()

    async def forever() -> object:
        waiting.set()
        return await asyncio.Event().wait()

    started(monkeypatch, forever)
    serving = asyncio.create_task(main.serve(config, ["x"], "x"))
    await waiting.wait()
    await stopped(serving)


async def test_sigterm_ends_a_server_that_never_gets_ready(monkeypatch: pytest.MonkeyPatch, config: Config) -> None:
    server, work = Part(), Part()

    async def parts() -> object:
        return [server], [work]

    started(monkeypatch, parts)
    serving = asyncio.create_task(main.serve(config, ["x"], "x"))
    await server.running.wait()
    assert not (config.home / "run" / "x.ready").exists()
    await stopped(serving)
    assert server.cancelled
    assert work.cancelled


async def test_sigterm_takes_the_ready_file_away(monkeypatch: pytest.MonkeyPatch, config: Config) -> None:
    work = Part()

    async def parts() -> object:
        return [], [work]

    started(monkeypatch, parts)
    serving = asyncio.create_task(main.serve(config, ["x"], "x"))
    await work.running.wait()
    ready = config.home / "run" / "x.ready"
    assert ready.exists()
    await stopped(serving)
    assert not ready.exists()


@pytest.mark.parametrize("before_ready", [True, False])
async def test_a_part_that_fails_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, config: Config, before_ready: bool
) -> None:
    server, work = Part(), Part()

    async def parts() -> object:
        return [server] if before_ready else [], [work]

    started(monkeypatch, parts)
    serving = asyncio.create_task(main.serve(config, ["x"], "x"))
    await work.running.wait()
    work.fault.set()
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(2):
            await serving
    assert caught.group_contains(RuntimeError, match="the part failed")
    assert server.cancelled is before_ready


async def test_a_part_that_ends_by_itself_ends_the_process(monkeypatch: pytest.MonkeyPatch, config: Config) -> None:
    class Short:
        async def run(self) -> None:
            return

    async def parts() -> object:
        return [], [Short()]

    started(monkeypatch, parts)
    with pytest.raises(ExceptionGroup) as caught:
        await main.serve(config, ["x"], "x")
    assert caught.group_contains(RuntimeError, match="ended by itself")


def test_grpc_leaves_processes_that_are_started_alone() -> None:
    # Read when gRPC is imported: later is too late, and a program that is started ends by SIGSEGV now and then.
    program = """
import os, sys
class Importing:
    def find_spec(self, name, path, target=None):
        if name == "grpc":
            print(os.environ.get("GRPC_ENABLE_FORK_SUPPORT"))
sys.meta_path.insert(0, Importing())
import reelmesh.main
"""
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_ENABLE_FORK_SUPPORT"}
    told = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["0"]
