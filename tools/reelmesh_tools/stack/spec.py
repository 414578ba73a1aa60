"""What the supervisor has to know about a process, whatever it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from reelmesh_tools.stack.probes import Probe


class Stage(IntEnum):
    """When a process is stopped: lower ones first, so that nobody loses a server that it still uses."""

    SERVICE = 0
    EDGE = 1
    STORE = 2


@dataclass(frozen=True)
class ProcessSpec:
    """How to start one process and how to tell that it works."""

    name: str
    command: tuple[str, ...]
    probe: Probe
    stage: Stage
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the supervisor's own."""
    needs: tuple[str, ...] = ()
    """Processes that must be healthy before this one starts; those that the stack does not run are left out."""
    prepare: Callable[[], Awaitable[None]] | None = None
    """Run before every start; what it raises counts as a crash."""
    stop_seconds: float = 10.0
    """How long it may take to leave after SIGTERM before it is killed."""
