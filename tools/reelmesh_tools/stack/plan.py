"""What one stack consists of: its ports and processes, kept in stack.yaml from the first start on."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from reelmesh_tools.stack import ports
from reelmesh_tools.stack.files import write_whole

TRUST_DOMAIN = "reelmesh.local"
"""Whose identities this stack's certificates carry."""

SERVICE_PROCESSES: Mapping[str, tuple[str, ...]] = {
    "ingest": ("ingest",),
    "control": ("transcode", "catalog", "playback", "identity", "drm", "billing"),
    "telemetry": ("telemetry",),
    # Alone in its process: chDB's folder belongs to one.
    "analytics": ("analytics",),
    "recommend": ("recommend",),
    "discovery": ("discovery",),
    "discovery-2": ("discovery",),
    "worker-1": ("worker",),
    "worker-2": ("worker",),
}
"""The reelmesh processes, and the targets that each serves."""

REPLICAS = {"discovery-2": "discovery"}
"""Second processes of a service, which listen at an address of their own. They run where they are asked for."""

LISTENING_SERVICES = (
    "ingest",
    "transcode",
    "catalog",
    "playback",
    "identity",
    "drm",
    "billing",
    "telemetry",
    "analytics",
    "recommend",
    "discovery",
)
"""The targets that listen on a port; a worker answers to the queue only."""

SERVERS = ("cassandra", "kafka", "caddy", "envoy")
"""The servers that are not ours."""

JVM_SERVERS = ("cassandra", "kafka")
"""Those of them whose jars are locked in deploy/jvm."""

EVERYTHING = (*SERVERS, *SERVICE_PROCESSES)
"""All that can run."""

USUAL = tuple(name for name in EVERYTHING if name not in REPLICAS)
"""What runs where nothing is said."""

_PORTS = (
    "cassandra",
    "cassandra-storage",
    "kafka",
    "kafka-controller",
    "caddy",
    "envoy-admin",
    *LISTENING_SERVICES,
    *REPLICAS,
)


@dataclass(frozen=True)
class Plan:
    """The ports and processes of one stack."""

    gateway_port: int
    """The only port that people type (REELMESH_PORT)."""
    ports: Mapping[str, int]
    """Every other port by its name, on 127.0.0.1."""
    processes: tuple[str, ...]
    """The processes to run, in the order of EVERYTHING."""
    cassandra: str
    """host:port of Cassandra, the user's own when REELMESH_CASSANDRA is set."""
    kafka: str
    """Kafka's bootstrap servers, the user's own when REELMESH_KAFKA is set."""

    @property
    def gateway_url(self) -> str:
        """Where people and clients reach the platform."""
        return f"http://127.0.0.1:{self.gateway_port}"

    @property
    def admin_url(self) -> str:
        """Envoy's admin interface."""
        return f"http://127.0.0.1:{self.ports['envoy-admin']}"

    def address(self, name: str) -> str:
        """Return host:port of the listener `name`, one of the keys of `ports`."""
        return f"127.0.0.1:{self.ports[name]}"

    @property
    def service_addresses(self) -> dict[str, list[str]]:
        """Service name → the addresses at which it listens."""
        found = {name: [self.address(name)] for name in LISTENING_SERVICES}
        for replica, service in REPLICAS.items():
            if replica in self.processes:
                found[service].append(self.address(replica))
        return found


def make(path: Path, environment: Mapping[str, str], processes: Sequence[str] | None, chance: random.Random) -> Plan:
    """Make the plan for a stack that does not run now, keep it at `path`, and return it.

    `processes` limits what is started; None means USUAL. Ports kept at `path` are used again while they are free.

    Raises ValueError for an unknown process and ports.NoFreePortError when the gateway's port is taken.
    """
    wanted = USUAL if processes is None else processes
    if unknown := sorted(set(wanted) - set(EVERYTHING)):
        message = f"no process named {', '.join(unknown)}; there are {', '.join(EVERYTHING)}"
        raise ValueError(message)
    kept = load(path)
    gateway_port = int(environment.get("REELMESH_PORT") or (kept.gateway_port if kept else 8080))
    chosen = ports.choose(_PORTS, kept.ports if kept else {}, chance)
    if "envoy" in wanted and not ports.is_free(gateway_port):
        message = f"port {gateway_port} is in use; set REELMESH_PORT to a free one"
        raise ports.NoFreePortError(message)
    plan = Plan(
        gateway_port=gateway_port,
        ports=chosen,
        processes=tuple(name for name in EVERYTHING if name in wanted),
        cassandra=f"127.0.0.1:{chosen['cassandra']}",
        kafka=f"127.0.0.1:{chosen['kafka']}",
    )
    if own := environment.get("REELMESH_CASSANDRA"):
        plan = replace(plan, cassandra=own, processes=_without(plan, "cassandra"))
    if own := environment.get("REELMESH_KAFKA"):
        plan = replace(plan, kafka=own, processes=_without(plan, "kafka"))
    save(plan, path)
    return plan


def save(plan: Plan, path: Path) -> None:
    """Write the plan to `path`, whole."""
    content = {
        "gateway_port": plan.gateway_port,
        "ports": dict(plan.ports),
        "processes": list(plan.processes),
        "cassandra": plan.cassandra,
        "kafka": plan.kafka,
    }
    write_whole(path, yaml.safe_dump(content, sort_keys=False))


def load(path: Path) -> Plan | None:
    """Read the plan from `path`; None when there is none.

    Raises ValueError when the file is not one that `save` wrote.
    """
    try:
        raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    try:
        return Plan(
            gateway_port=int(raw["gateway_port"]),
            ports={str(name): int(port) for name, port in raw["ports"].items()},
            processes=tuple(raw["processes"]),
            cassandra=str(raw["cassandra"]),
            kafka=str(raw["kafka"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        message = f"{path} is not a stack file; remove it to choose new ports"
        raise ValueError(message) from error


def _without(plan: Plan, name: str) -> tuple[str, ...]:
    return tuple(process for process in plan.processes if process != name)
