"""Every process of the stack, put together from the plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reelmesh_tools.stack import cassandra, gateway, kafka, origin, services
from reelmesh_tools.stack.jvm import JvmServer
from reelmesh_tools.stack.layout import Layout
from reelmesh_tools.stack.plan import SERVICE_PROCESSES, Plan
from reelmesh_tools.stack.spec import ProcessSpec


def specs(layout: Layout, plan: Plan, checkout: Path, environment: Mapping[str, str]) -> list[ProcessSpec]:
    """Render the configuration of all the plan's processes and return how to run them, in the plan's order."""
    found = []
    for name in plan.processes:
        match name:
            case "cassandra":
                server = JvmServer.find(name, checkout / "deploy", environment)
                found.append(cassandra.spec(layout, plan, server))
            case "kafka":
                server = JvmServer.find(name, checkout / "deploy", environment)
                found.append(kafka.spec(layout, plan, server))
            case "caddy":
                found.append(origin.spec(layout, plan, checkout / "gateway" / "web" / "dist"))
            case "envoy":
                found.append(gateway.spec(layout, plan, checkout / "gateway" / "mesh.yaml", descriptor_set(checkout)))
            case _:
                found.append(services.spec(layout, plan, name, SERVICE_PROCESSES[name]))
    return found


def descriptor_set(checkout: Path) -> Path:
    """Return the compiled contracts, which Envoy's transcoder reads; made together with the generated code."""
    return checkout / "envoy" / "reelmesh.binpb"
