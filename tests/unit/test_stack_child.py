from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from reelmesh_tools.stack import processes
from reelmesh_tools.stack.backoff import Backoff
from reelmesh_tools.stack.child import Child
from reelmesh_tools.stack.processes import Identity
from reelmesh_tools.stack.spec import ProcessSpec, Stage
from reelmesh_tools.stack.state import Health


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_waits_double_up_to_the_ceiling_and_are_forgotten_after_a_long_life() -> None:
    clock = FakeClock()
    backoff = Backoff(clock, first=1, ceiling=5, forgiven_after=60)
    waits = []
    for lived in (0, 1, 2, 59, 60, 0):
        backoff.started()
        clock.now += lived
        waits.append(backoff.crashed())
    assert waits == [1, 2, 4, 5, 1, 2]


def test_a_long_wait_before_a_start_does_not_count_as_life() -> None:
    clock = FakeClock()
    backoff = Backoff(clock, first=1, ceiling=5, forgiven_after=60)
    backoff.crashed()
    clock.now += 1000
    backoff.started()
    assert backoff.crashed() == 2


def here() -> Identity:
    identity = processes.identify(os.getpid())
    assert identity is not None
    return identity


def identity_of(child: Child) -> Identity:
    identity = child.state().identity
    assert identity is not None
    return identity


async def always() -> bool:
    return True


def child_of(tmp_path: Path, program: str, name: str = "sleeper", needs: Sequence[Child] = (), **options: Any) -> Child:
    spec = ProcessSpec(name, (sys.executable, "-c", program), always, Stage.SERVICE, **options)
    backoff = Backoff(asyncio.get_running_loop().time, first=0.01, ceiling=0.05)
    return Child(spec, tmp_path / f"{name}.log", backoff, lambda: None, needs)


async def until(condition: Callable[[], object], timeout: float = 10.0) -> None:
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - the state is a process's, nobody could set an event
            await asyncio.sleep(0.01)


SLEEP = "import time; time.sleep(60)"


async def test_a_killed_process_is_started_again_and_counted(tmp_path: Path) -> None:
    child = child_of(tmp_path, SLEEP)
    child.release()
    await until(child.healthy.is_set)
    first = child.state()
    processes.end([identity_of(child)], grace=0)
    await until(lambda: child.state().restarts == 1 and child.healthy.is_set() and child.state().pid)
    assert child.state().pid != first.pid
    await child.hold()
    assert "ended by signal" in (tmp_path / "sleeper.log").read_text()


async def test_one_that_is_held_stays_down_until_released(tmp_path: Path) -> None:
    child = child_of(tmp_path, SLEEP)
    child.release()
    await until(child.healthy.is_set)
    identity = identity_of(child)
    await child.hold()
    assert not processes.is_alive(identity)
    assert child.state().health is Health.STOPPED
    assert child.state().restarts == 0
    await asyncio.sleep(0.2)
    assert child.state().pid is None
    child.release()
    await until(child.healthy.is_set)
    await child.hold()


async def test_holding_in_the_middle_of_a_launch_leaves_nothing(tmp_path: Path) -> None:
    before = processes.family(here())  # the stack of other tests may run below this process
    for turns in range(6):
        child = child_of(tmp_path, SLEEP)
        child.release()
        for _ in range(turns):
            await asyncio.sleep(0)
        await child.hold()
        assert child.state().identity is None
    assert [each for each in processes.family(here()) if each not in before] == []


async def test_one_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    program = (
        "import signal, time, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"pathlib.Path({str(tmp_path / 'ready')!r}).touch(); time.sleep(60)"
    )
    child = child_of(tmp_path, program, stop_seconds=0.2)
    child.release()
    await until((tmp_path / "ready").exists)
    identity = identity_of(child)
    await child.hold()
    assert not processes.is_alive(identity)
    assert "killed" in (tmp_path / "sleeper.log").read_text()


@pytest.mark.parametrize("crash", [True, False])
async def test_nothing_that_it_started_stays_behind(tmp_path: Path, crash: bool) -> None:
    pid_file = tmp_path / "grandchild"
    program = (
        "import subprocess, sys, time, pathlib;"
        f"p = subprocess.Popen([sys.executable, '-c', {SLEEP!r}]);"
        f"pathlib.Path({str(pid_file)!r}).write_text(str(p.pid)); time.sleep(60)"
    )
    child = child_of(tmp_path, program)
    child.release()
    await until(lambda: pid_file.exists() and pid_file.read_text())
    grandchild = processes.identify(int(pid_file.read_text()))
    assert grandchild is not None
    if crash:
        processes.end([identity_of(child)], grace=0)
        await until(lambda: child.state().restarts == 1)
    else:
        await child.hold()
    assert not processes.is_alive(grandchild)
    await child.hold()


async def test_it_waits_for_what_it_needs(tmp_path: Path) -> None:
    store = child_of(tmp_path, SLEEP, name="store")
    service = child_of(tmp_path, SLEEP, name="service", needs=(store,))
    service.release()
    await asyncio.sleep(0.1)
    assert service.state().pid is None
    assert service.state().detail == "waiting for store"
    store.release()
    await until(service.healthy.is_set)
    await service.hold()
    await store.hold()


async def test_a_start_that_fails_is_a_crash_with_a_reason(tmp_path: Path) -> None:
    async def broken() -> None:
        raise RuntimeError("no room")

    child = child_of(tmp_path, SLEEP, prepare=broken)
    child.release()
    await until(lambda: child.state().restarts >= 2)
    assert child.state().detail == "did not start: no room"
    await child.hold()


def test_a_reused_pid_is_somebody_else() -> None:
    current = here()
    assert processes.is_alive(current)
    earlier = processes.Identity(current.pid, current.started - 60)
    assert not processes.is_alive(earlier)
    processes.end([earlier], grace=0.1)
    assert processes.resident_bytes(earlier) == 0 < processes.resident_bytes(current)
