from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from reelmesh_tools.stack import files, state
from reelmesh_tools.stack.layout import Layout
from reelmesh_tools.stack.processes import Identity
from reelmesh_tools.stack.state import Health, ProcessState, StackState

STATE = StackState(
    Identity(7, 1.5),
    (
        ProcessState("kafka", Health.HEALTHY, pid=8, started=2.5, restarts=1, rss_bytes=9),
        ProcessState("caddy", Health.STARTING, detail="waiting"),
    ),
)


def test_state_survives_the_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    state.save(STATE, path)
    assert state.load(path) == STATE
    assert STATE.identities == [Identity(8, 2.5)]
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", ["", "{", "[]", '{"supervisor": null}', '{"supervisor": 3, "processes": []}'])
def test_a_damaged_state_reads_as_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(content)
    assert state.load(path) is None


def test_a_missing_state_reads_as_none(tmp_path: Path) -> None:
    assert state.load(tmp_path / "state.json") is None


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    state.save(STATE, path)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            state.save(STATE, path)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(state.load(path) == STATE for _ in range(200))
    finally:
        stop.set()
        writer.join()
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


def test_only_one_holds_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "run" / "up.lock"
    with files.exclusive(lock, timeout=0):
        began = time.monotonic()
        with pytest.raises(files.BusyError), files.exclusive(lock, timeout=0.2):
            pass
        assert 0.2 <= time.monotonic() - began < 5
    with files.exclusive(lock, timeout=0):
        pass


def test_a_long_home_gets_a_short_socket_path(tmp_path: Path) -> None:
    short = Layout(Path("/srv/reel"))
    assert short.control_socket == Path("/srv/reel/run/control.sock")
    long = [Layout(tmp_path / ("x" * 120) / name) for name in ("a", "b")]
    assert all(len(str(layout.control_socket)) < 100 for layout in long)
    assert long[0].control_socket != long[1].control_socket
