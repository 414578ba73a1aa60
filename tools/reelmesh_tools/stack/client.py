"""A handle on one stack, running or not: where it is reached, how it is, and ways to act on its processes."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from reelmesh_tools.stack import control, plan, processes, state
from reelmesh_tools.stack.layout import Layout
from reelmesh_tools.stack.plan import Plan
from reelmesh_tools.stack.state import Health, ProcessState, StackState

_POLL = 0.05


class StackError(Exception):
    """Something about a stack did not come about; the message says what, for the person at the keyboard."""


class Stack:
    """The stack at one home."""

    def __init__(self, layout: Layout) -> None:
        """Take where the stack lies; nothing is read until it is asked for."""
        self.layout = layout

    @property
    def plan(self) -> Plan:
        """Its ports and processes; raises StackError when it was never started."""
        found = plan.load(self.layout.stack_file)
        if found is None:
            message = f"there is no stack at {self.layout.home}: run `reelmesh up`"
            raise StackError(message)
        return found

    def state(self) -> StackState | None:
        """Return what its supervisor last said, None when there never was one."""
        return state.load(self.layout.state_file)

    def is_running(self) -> bool:
        """Say whether its supervisor is alive."""
        found = self.state()
        return bool(found and found.supervisor and processes.is_alive(found.supervisor))

    def process(self, name: str) -> ProcessState:
        """Return how the process `name` is; raises StackError when the stack has none of that name."""
        found = self.state()
        for process in found.processes if found else ():
            if process.name == name:
                return process
        message = f"the stack at {self.layout.home} has no process named {name}"
        raise StackError(message)

    def stop_process(self, name: str, timeout: float = 60.0) -> None:
        """Stop the process and hold it down until `start_process`; returns once it and its descendants are gone.

        Raises StackError when there is no such process, or `timeout` seconds pass.
        """
        self._order("stop", name, timeout)

    def start_process(self, name: str, timeout: float = 120.0) -> ProcessState:
        """Let a process that was held down run again; returns once it is healthy.

        Raises StackError when there is no such process, or `timeout` seconds pass.
        """
        self._order("start", name, timeout)
        return self.wait_healthy(name, timeout)

    def kill_process(self, name: str) -> ProcessState:
        """Send SIGKILL to the process, as a crash would end it; the supervisor will start it again.

        Returns how it was before. Raises StackError when it does not run now.
        """
        before = self.process(name)
        if before.identity is None or not processes.is_alive(before.identity):
            message = f"{name} does not run"
            raise StackError(message)
        os.kill(before.identity.pid, signal.SIGKILL)
        return before

    def wait_healthy(self, name: str, timeout: float = 120.0, *, after: ProcessState | None = None) -> ProcessState:
        """Wait until the process is healthy, and return how it is.

        With `after`, an earlier state of it, wait until it is healthy as another process than then. Raises StackError
        after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            now = self.process(name)
            if now.health is Health.HEALTHY and (after is None or now.identity != after.identity):
                return now
            if time.monotonic() > deadline:
                message = f"{name} is {now.health} after {timeout:g} s: {now.detail or 'see its log'}"
                raise StackError(message)
            time.sleep(_POLL)

    def description(self, up_seconds: float | None = None) -> dict[str, Any]:
        """Return the object that `--json` prints: addresses, and every process with pid and memory in bytes."""
        planned, found = self.plan, self.state()
        return {
            "home": str(self.layout.home),
            "running": self.is_running(),
            "gateway": planned.gateway_url,
            "web": f"{planned.gateway_url}/",
            "admin": planned.admin_url,
            "endpoints": {
                "cassandra": planned.cassandra,
                "kafka": planned.kafka,
                "origin": f"http://{planned.address('caddy')}",
                "services": planned.service_addresses,
            },
            "configuration": str(self.layout.services_file),
            **({} if up_seconds is None else {"up_seconds": round(up_seconds, 2)}),
            "processes": [
                {
                    "name": process.name,
                    "health": str(process.health),
                    "pid": process.pid,
                    "rss_bytes": process.rss_bytes,
                    "restarts": process.restarts,
                    "detail": process.detail,
                }
                for process in (found.processes if found else ())
            ],
        }

    def _order(self, action: str, name: str, timeout: float) -> None:
        try:
            control.order(self.layout.control_socket, action, name, timeout)
        except control.ControlError as error:
            raise StackError(str(error)) from error
