"""Envoy as the gateway, with the configuration that gateway/ generates."""

from __future__ import annotations

import asyncio
import json
import sysconfig
import urllib.request
from pathlib import Path

import yaml

from reelmesh_gateway.guard import KeyFiles
from reelmesh_gateway.write import write
from reelmesh_tools.stack import keys, probes
from reelmesh_tools.stack.files import write_whole
from reelmesh_tools.stack.layout import Layout
from reelmesh_tools.stack.plan import LISTENING_SERVICES, SERVICE_PROCESSES, Plan
from reelmesh_tools.stack.spec import ProcessSpec, Stage


def spec(layout: Layout, plan: Plan, mesh_file: Path, descriptor_set: Path) -> ProcessSpec:
    """Return how to run Envoy; its configuration is generated anew before every start."""
    out = layout.config / "envoy"
    addresses = {**plan.service_addresses, "origin": [plan.address("caddy")]}

    def generate() -> None:
        out.mkdir(parents=True, exist_ok=True)
        write(
            _unlimited(mesh_file, layout.config / "mesh.yaml"),
            out,
            gateway_port=plan.gateway_port,
            admin_port=plan.ports["envoy-admin"],
            addresses=addresses,
            certificates=layout.certificates,
            keys=KeyFiles(keys.jwks_file(layout.media_keys), keys.jwks_file(layout.identity_keys)),
            descriptor_set=descriptor_set,
        )

    async def prepare() -> None:
        await asyncio.to_thread(generate)

    envoy = Path(sysconfig.get_path("scripts")) / "envoy"
    return ProcessSpec(
        name="envoy",
        command=(
            str(envoy),
            "--reject-unknown-dynamic-fields",
            "-c",
            str(out / "bootstrap.yaml"),
            # Envoys of two stacks would otherwise meet in one shared memory region.
            "--use-dynamic-base-id",
            "--concurrency",
            "2",
            "--log-level",
            "warning",
            # Streams get this long to end; a local stack does not drain for minutes.
            "--drain-time-s",
            "1",
            "--parent-shutdown-time-s",
            "2",
        ),
        probe=probes.http_ok(plan.ports["envoy-admin"], "/ready"),
        stage=Stage.EDGE,
        prepare=prepare,
        stop_seconds=5.0,
    )


def _unlimited(mesh_file: Path, out: Path) -> Path:
    """Write the mesh for one machine: all its clients have the same address, and a bench asks as often as it can."""
    mesh = yaml.safe_load(mesh_file.read_text(encoding="utf-8"))
    never = {"per_second": 0}
    mesh["gateway"]["limits"] = {**mesh["gateway"].get("limits", {}), "address_rate": never, "person_rate": never}
    write_whole(out, yaml.safe_dump(mesh, sort_keys=False))
    return out


def unreached(plan: Plan) -> set[str]:
    """Return the services that run and that Envoy does not send anything to yet: its health checks take a moment."""
    targets = {target for name in plan.processes for target in SERVICE_PROCESSES.get(name, ())}
    wanted = targets & set(LISTENING_SERVICES)
    try:
        url = f"{plan.admin_url}/stats?filter=membership_healthy&format=json"
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - Envoy's own page on this machine
            stats = json.load(answer)["stats"]
    except OSError:
        return wanted
    healthy = {stat["name"] for stat in stats if stat["value"]}
    return {service for service in wanted if f"cluster.{service}.membership_healthy" not in healthy}
