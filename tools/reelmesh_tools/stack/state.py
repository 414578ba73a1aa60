"""What the supervisor says about its processes, in a file that others read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from reelmesh_tools.stack.files import write_whole
from reelmesh_tools.stack.processes import Identity


class Health(StrEnum):
    """How a process of the stack is."""

    STARTING = "starting"
    """Not answering yet, or waiting for what it needs."""
    HEALTHY = "healthy"
    """Running and answering."""
    UNHEALTHY = "unhealthy"
    """Running, was healthy, and does not answer now."""
    STOPPED = "stopped"
    """Held down, or the whole stack is down."""


@dataclass(frozen=True)
class ProcessState:
    """One process as the supervisor last saw it."""

    name: str
    health: Health = Health.STOPPED
    pid: int | None = None
    """None while it does not run."""
    started: float | None = None
    """Unix time in seconds at which the kernel started it."""
    restarts: int = 0
    """How often it ended by itself and was started again."""
    rss_bytes: int = 0
    """Resident memory; 0 while it does not run."""
    detail: str = ""
    """Why it is not healthy, in words."""

    @property
    def identity(self) -> Identity | None:
        """The running process, if there is one."""
        if self.pid is None or self.started is None:
            return None
        return Identity(self.pid, self.started)


@dataclass(frozen=True)
class StackState:
    """The whole stack as the supervisor last saw it."""

    supervisor: Identity | None
    """None once the supervisor has stopped everything and is about to leave."""
    processes: tuple[ProcessState, ...]

    @property
    def identities(self) -> list[Identity]:
        """The processes that ran when this was written, the supervisor left out."""
        return [process.identity for process in self.processes if process.identity]


def save(state: StackState, path: Path) -> None:
    """Write the state to `path`, whole."""
    write_whole(path, json.dumps(asdict(state)), mode=0o600)


def load(path: Path) -> StackState | None:
    """Read the state from `path`; None when no supervisor has ever written one, or not one of ours."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        supervisor = Identity(**raw["supervisor"]) if raw["supervisor"] else None
        processes = tuple(
            ProcessState(**{**process, "health": Health(process["health"])}) for process in raw["processes"]
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return StackState(supervisor, processes)
