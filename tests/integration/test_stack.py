from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from ports import free_port

from reelmesh_tools.stack import lifecycle, origin, processes
from reelmesh_tools.stack.client import Stack, StackError
from reelmesh_tools.stack.layout import Layout
from reelmesh_tools.stack.lifecycle import running_stack
from reelmesh_tools.stack.plan import Plan
from reelmesh_tools.stack.ports import is_free
from reelmesh_tools.stack.processes import Identity
from reelmesh_tools.stack.report import Silent
from reelmesh_tools.stack.state import Health

pytestmark = pytest.mark.stack

STORES = ("cassandra", "kafka", "caddy")


def everyone(stack: Stack) -> list[Identity]:
    state = stack.state()
    assert state is not None
    assert state.supervisor is not None
    return [state.supervisor, *state.identities]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("home"), free_port(), STORES) as started:
        yield started
        identities = everyone(started)
    assert not any(processes.is_alive(identity) for identity in identities)
    assert all(is_free(port) for port in started.plan.ports.values())
    state = started.state()
    assert state is not None
    assert {process.health for process in state.processes} == {Health.STOPPED}
    assert not started.layout.control_socket.exists()


def test_a_second_up_finds_it_running(stack: Stack) -> None:
    before = everyone(stack)
    began = time.monotonic()
    again = lifecycle.up(stack.layout, os.environ, Silent(), STORES)
    assert time.monotonic() - began < 2
    assert everyone(again) == before
    described = again.description()
    assert described["endpoints"]["kafka"] == stack.plan.kafka
    assert all(process["rss_bytes"] > 0 for process in described["processes"])


def test_a_killed_kafka_is_started_again(stack: Stack) -> None:
    before = stack.kill_process("kafka")
    after = stack.wait_healthy("kafka", after=before)
    assert after.restarts == before.restarts + 1
    assert after.pid != before.pid


def test_cassandra_stays_down_until_it_is_released(stack: Stack) -> None:
    before = stack.process("cassandra")
    stack.stop_process("cassandra")
    assert before.identity is not None
    assert not processes.is_alive(before.identity)
    assert is_free(stack.plan.ports["cassandra"])
    time.sleep(1)
    assert stack.process("cassandra").health is Health.STOPPED
    after = stack.start_process("cassandra")
    assert after.health is Health.HEALTHY
    assert after.restarts == before.restarts


def test_an_unknown_process_is_refused_by_name(stack: Stack) -> None:
    with pytest.raises(StackError, match="no process named zookeeper"):
        stack.stop_process("zookeeper")


def test_the_origin_serves_objects_with_ranges_types_and_validators(stack: Stack) -> None:
    base = f"http://{stack.plan.address('caddy')}"
    folder = stack.layout.media_objects / "v1"
    folder.mkdir()
    types = {"mp4": "video/mp4", "m4s": "video/iso.segment", "vtt": "text/vtt; charset=utf-8", "jpg": "image/jpeg"}
    for extension, content_type in types.items():
        (folder / f"x.{extension}").write_bytes(b"0123456789")
        answer = httpx.get(f"{base}/media/v1/x.{extension}", headers={"Range": "bytes=2-4"})
        assert (answer.status_code, answer.content) == (206, b"234")
        assert answer.headers["content-type"] == content_type
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        unchanged = {"If-None-Match": answer.headers["etag"]}
        assert httpx.get(f"{base}/media/v1/x.{extension}", headers=unchanged).status_code == 304
    missing = httpx.get(f"{base}/media/v1/later.m4s")
    assert missing.status_code == 404
    assert missing.headers["cache-control"] == "no-store"
    for escape in ("/media/../../stack.yaml", "/media/%2e%2e/%2e%2e/stack.yaml"):
        assert b"gateway_port" not in httpx.get(f"{base}{escape}").content


def test_the_players_routes_fall_back_to_its_page(tmp_path: Path) -> None:
    web = tmp_path / "dist"
    (web / "assets").mkdir(parents=True)
    (web / "index.html").write_text("<title>the player</title>")
    (web / "assets" / "app-1a2b.js").write_text("app()")
    port = free_port()
    planned = Plan(free_port(), {"caddy": port}, ("caddy",), "", "")
    layout = Layout.at(tmp_path / "home")
    layout.create()
    spec = origin.spec(layout, planned, web)
    caddy = subprocess.Popen(
        spec.command, env={**os.environ, **spec.environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        base = f"http://127.0.0.1:{port}"
        transport = httpx.HTTPTransport(retries=8)
        with httpx.Client(base_url=base, transport=transport) as client:
            for path in ("/", "/watch/abc", "/studio/"):
                answer = client.get(path)
                assert "the player" in answer.text, path
                assert answer.headers["cache-control"] == "no-cache"
            script = client.get("/assets/app-1a2b.js")
            assert script.text == "app()"
            assert script.headers["cache-control"].endswith("immutable")
            assert client.get("/assets/gone.js").status_code == 404
    finally:
        caddy.terminate()
        caddy.wait(10)


def test_two_ups_at_once_start_one_stack(tmp_path: Path) -> None:
    layout = Layout.at(tmp_path)
    settings = {**os.environ, "REELMESH_PORT": str(free_port())}
    found: list[list[Identity]] = []

    def start() -> None:
        found.append(everyone(lifecycle.up(layout, settings, Silent(), ("caddy",))))

    threads = [threading.Thread(target=start) for _ in range(3)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(found) == 3
        assert found[0] == found[1] == found[2]
    finally:
        assert lifecycle.down(layout)
    assert not any(processes.is_alive(identity) for identity in found[0])
    assert not lifecycle.down(layout)


def test_what_a_killed_supervisor_left_is_found_and_ended(tmp_path: Path) -> None:
    layout = Layout.at(tmp_path)
    settings = {**os.environ, "REELMESH_PORT": str(free_port())}
    try:
        supervisor, caddy = everyone(lifecycle.up(layout, settings, Silent(), ("caddy",)))
        os.kill(supervisor.pid, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while processes.is_alive(supervisor) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert processes.is_alive(caddy)
        assert not Stack(layout).is_running()
        again = everyone(lifecycle.up(layout, settings, Silent(), ("caddy",)))
        assert not processes.is_alive(caddy)
        os.kill(again[0].pid, signal.SIGKILL)
    finally:
        lifecycle.down(layout)
    assert not any(processes.is_alive(identity) for identity in again)


def test_a_stack_that_cannot_start_leaves_nothing_and_shows_why(tmp_path: Path) -> None:
    layout = Layout.at(tmp_path)
    settings = {**os.environ, "REELMESH_PORT": str(free_port()), "PYTHONPATH": str(tmp_path)}
    (tmp_path / "reelmesh").mkdir()
    (tmp_path / "reelmesh" / "__init__.py").touch()
    (tmp_path / "reelmesh" / "main.py").write_text("raise SystemExit('no such codec')\n")
    with pytest.raises(StackError, match="no such codec"):
        lifecycle.up(layout, settings, Silent(), ("caddy", "ingest"))
    assert not Stack(layout).is_running()
    assert not lifecycle.down(layout)


def test_the_command_line_prints_one_object(tmp_path: Path) -> None:
    settings = {**os.environ, "REELMESH_HOME": str(tmp_path), "REELMESH_PORT": str(free_port())}

    def reelmesh(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = "from reelmesh_tools.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env=settings,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    try:
        started = httpx.Response(200, text=reelmesh("up", "--json", "--only", "caddy").stdout).json()
        assert started["gateway"] == f"http://127.0.0.1:{settings['REELMESH_PORT']}"
        assert started["up_seconds"] > 0
        assert [process["name"] for process in started["processes"]] == ["caddy"]
        assert reelmesh("status").returncode == 0
        assert reelmesh("stack", "stop", "caddy").returncode == 0
        assert reelmesh("status", "--json").returncode == 1
        assert reelmesh("stack", "start", "caddy").returncode == 0
        assert "supervisor" in reelmesh("logs", "caddy").stdout
        logged = json.loads(reelmesh("logs", "caddy", "--json").stdout)["logs"]
        assert list(logged) == ["caddy"]
        assert any("supervisor" in line for line in logged["caddy"])
        assert reelmesh("logs", "--json", "--follow").returncode == 1
    finally:
        stopped = reelmesh("down", "--json")
    assert json.loads(stopped.stdout) == {"stopped": True}
    assert reelmesh("down").stdout == "nothing was running\n"
    assert reelmesh("status").returncode == 1
