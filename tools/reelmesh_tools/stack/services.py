"""The reelmesh processes as children of the supervisor."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from reelmesh_tools.stack import probes
from reelmesh_tools.stack.layout import Layout
from reelmesh_tools.stack.plan import LISTENING_SERVICES, REPLICAS, Plan
from reelmesh_tools.stack.spec import ProcessSpec, Stage

MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
    "MALLOC_TOP_PAD_": str(16 << 20),
    "MALLOC_ARENA_MAX": "2",
}
"""glibc's allocator, for bytes that come in messages of megabytes: it would give each buffer back to the kernel, which
has to clear the pages anew for the next. An upload costs ingest a third less processor time this way."""


def spec(layout: Layout, plan: Plan, name: str, targets: Sequence[str]) -> ProcessSpec:
    """Return how to run the process `name` with `targets` in it.

    It is healthy once it has written its ready file and every address it listens at says SERVING.
    """
    ready = layout.ready_file(name)

    async def prepare() -> None:
        ready.unlink(missing_ok=True)

    listening = [target for target in targets if target in LISTENING_SERVICES]
    addresses = [plan.address(name if name in REPLICAS else target) for target in listening]
    serving = [probes.grpc_serving(address, layout.certificates, "cli") for address in addresses]
    command: tuple[str, ...] = (
        sys.executable,
        "-P",
        "-m",
        "reelmesh.main",
        "--config",
        str(layout.services_file),
        "--process",
        name,
    )
    if name in REPLICAS:
        place = 1 + plan.service_addresses[REPLICAS[name]].index(plan.address(name))
        command = (*command, "--replica", str(place))
    return ProcessSpec(
        name=name,
        command=(*command, *targets),
        probe=probes.every([probes.file_exists(ready), *serving]),
        stage=Stage.SERVICE,
        environment={"PYTHONUNBUFFERED": "1", **MALLOC},
        needs=("cassandra", "kafka"),
        prepare=prepare,
        stop_seconds=15.0,
    )
