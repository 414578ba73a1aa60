"""Bringing a stack up and down."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import grpc

from reelmesh_tools.stack import certificates, configuration, gateway, jarlock, keys, owner, plan, processes, state
from reelmesh_tools.stack.client import Stack, StackError
from reelmesh_tools.stack.files import BusyError, exclusive
from reelmesh_tools.stack.jarlock import LockError
from reelmesh_tools.stack.jvm import JavaError, java
from reelmesh_tools.stack.layout import Layout, repository
from reelmesh_tools.stack.plan import JVM_SERVERS, Plan
from reelmesh_tools.stack.ports import NoFreePortError
from reelmesh_tools.stack.report import Reporter, Silent
from reelmesh_tools.stack.state import Health, StackState

_POLL = 0.1
# The longest tidy stop is a killed service, a killed Caddy and a killed JVM one after the other.
_DOWN_SECONDS = 60.0
# A cold start may fetch a hundred megabytes; a second command waits for it.
_LOCK_SECONDS = 900.0
# A process that has crashed this often before it was ever healthy will not get well by waiting.
_HOPELESS_RESTARTS = 3


def up(
    layout: Layout,
    environment: Mapping[str, str],
    reporter: Reporter,
    chosen: Sequence[str] | None = None,
    timeout: float = 180.0,
) -> Stack:
    """Start the stack, or find it running, and return once all its processes are healthy.

    `chosen` limits the processes. Fetches the locked jars first where they are missing. Raises StackError when it
    cannot start or is not healthy within `timeout` seconds of the last fetch; nothing is left running then.
    """
    layout.create()
    stack = Stack(layout)
    with _alone(layout):
        started_here = not stack.is_running()
        if started_here:
            _end_leftovers(layout)
            try:
                planned = plan.make(layout.stack_file, environment, chosen, random.SystemRandom())
                java(environment)
                fetch_jars(planned, repository(), environment, reporter)
            except (ValueError, NoFreePortError, JavaError, LockError) as error:
                raise StackError(str(error)) from error
            certificates.ensure(layout.certificates, dt.datetime.now(dt.UTC))
            keys.ensure(layout.media_keys)
            keys.ensure(layout.identity_keys)
            keys.ensure_seal(layout.seal_keys)
            keys.ensure_wrapping(layout.wrapping_keys)
            keys.ensure_viewer(layout.viewer_key)
            configuration.write(layout, planned)
            _spawn(layout, environment)
        try:
            _wait_until_healthy(stack, reporter, timeout)
            if "envoy" in stack.plan.processes:
                _wait_until_routed(stack.plan, timeout)
            if "control" in stack.plan.processes:
                owner.ensure(layout, stack.plan)
        except grpc.RpcError as error:
            if started_here:
                _stop(layout)
            raise StackError(f"the stack's owner could not be made: {error}") from error
        except BaseException:
            if started_here:
                _stop(layout)
            raise
    return stack


def down(layout: Layout) -> bool:
    """Stop the stack and return once nothing of it is left; False when nothing ran."""
    if not layout.run.exists():
        return False
    with _alone(layout):
        return _stop(layout)


@contextlib.contextmanager
def running_stack(
    home: Path,
    port: int,
    processes: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 180.0,
) -> Iterator[Stack]:
    """Hold a stack up for the body, its gateway at `port`, and stop it afterwards, whatever happens.

    `environment` replaces this process's own. Raises StackError when the stack does not come up.
    """
    layout = Layout.at(home)
    settings = {**(os.environ if environment is None else environment), "REELMESH_PORT": str(port)}
    try:
        yield up(layout, settings, Silent(), processes, timeout)
    finally:
        down(layout)


def fetch_jars(planned: Plan, checkout: Path, environment: Mapping[str, str], reporter: Reporter) -> None:
    """Make sure that the jars of the planned JVM servers are there and are the locked ones.

    Touches the network only for those that are missing or damaged. Raises LockError.
    """
    folder = jarlock.repository_folder(environment)
    missing = {
        jar.coordinate: jar
        for name in JVM_SERVERS
        if name in planned.processes
        for jar in jarlock.missing(jarlock.read(checkout / "deploy" / "jvm" / f"{name}.lock"), folder)
    }
    if missing:
        # The resolver takes half a second to import, which a warm start need not pay.
        from reelmesh_tools.stack import jarfetch  # noqa: PLC0415

        with reporter.fetching(len(missing), sum(jar.size for jar in missing.values())) as received:
            jarfetch.fetch(list(missing.values()), folder, received)


@contextlib.contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    try:
        with exclusive(layout.lock_file, _LOCK_SECONDS):
            yield
    except BusyError as error:
        raise StackError(str(error)) from error


def _spawn(layout: Layout, environment: Mapping[str, str]) -> None:
    """Start the supervisor in a session of its own, so that no terminal's end or Ctrl-C reaches it."""
    layout.state_file.unlink(missing_ok=True)
    # -P: what lies in the folder it runs in is data, never modules.
    with layout.log("supervisor").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "reelmesh_tools.stack.supervisor", "--home", str(layout.home)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=layout.home,
            env=dict(environment),
            start_new_session=True,
        )
    # Known at once, so that a `down` finds it even before it has written anything itself.
    state.save(StackState(processes.identify(process.pid), ()), layout.state_file)
    # Dropped on purpose: it outlives this command. Without this, its end would be reported as a leaked child.
    process.returncode = 0


def _wait_until_healthy(stack: Stack, reporter: Reporter, timeout: float) -> None:
    planned = stack.plan
    deadline = time.monotonic() + timeout
    with reporter.starting(planned.processes) as seen:
        while True:
            now = stack.state()
            if now is None or now.supervisor is None or not processes.is_alive(now.supervisor):
                message = f"the supervisor has gone: {_last_lines(stack.layout, 'supervisor')}"
                raise StackError(message)
            seen(now.processes)
            waiting = [process for process in now.processes if process.health is not Health.HEALTHY]
            # One that a person holds down is as that person wants it.
            waiting = [process for process in waiting if process.health is not Health.STOPPED]
            if now.processes and not waiting:
                return
            for process in waiting:
                if process.restarts >= _HOPELESS_RESTARTS and process.health is Health.STARTING:
                    message = f"{process.name} keeps ending: {_last_lines(stack.layout, process.name)}"
                    raise StackError(message)
            if time.monotonic() > deadline:
                names = ", ".join(process.name for process in waiting) or "the supervisor"
                message = f"not healthy after {timeout:g} s: {names}; see {stack.layout.logs}"
                raise StackError(message)
            time.sleep(_POLL)


def _wait_until_routed(planned: Plan, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while missing := gateway.unreached(planned):
        if time.monotonic() > deadline:
            raise StackError(f"the gateway does not reach {', '.join(sorted(missing))} after {timeout:g} s")
        time.sleep(_POLL / 2)


def _stop(layout: Layout) -> bool:
    found = state.load(layout.state_file)
    if found is None:
        return False
    ran = False
    if found.supervisor is not None and processes.is_alive(found.supervisor):
        ran = True
        os.kill(found.supervisor.pid, signal.SIGTERM)
        deadline = time.monotonic() + _DOWN_SECONDS
        while processes.is_alive(found.supervisor) and time.monotonic() < deadline:
            time.sleep(_POLL / 2)
    return _end_leftovers(layout) or ran


def _end_leftovers(layout: Layout) -> bool:
    """End what a supervisor that was killed has left running; return whether there was anything."""
    found = state.load(layout.state_file)
    if found is None:
        return False
    # The supervisor first, or it would start again what is ended below.
    supervisor = [found.supervisor] if found.supervisor and processes.is_alive(found.supervisor) else []
    processes.end(supervisor, grace=5.0)
    left = [identity for identity in found.identities if processes.is_alive(identity)]
    descendants = [member for identity in found.identities for member in processes.family(identity)]
    processes.end([*left, *descendants], grace=20.0)
    stopped = tuple(state.ProcessState(process.name, restarts=process.restarts) for process in found.processes)
    state.save(StackState(None, stopped), layout.state_file)
    return bool(left or descendants or supervisor)


def _last_lines(layout: Layout, name: str, count: int = 15) -> str:
    try:
        text = layout.log(name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return f"{layout.log(name)} ends with\n" + "\n".join(line[:300] for line in text.splitlines()[-count:])
