"""Kafka as a child JVM, broker and controller in one: the events and the work queue."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import uuid
from pathlib import Path

from reelmesh_tools.stack import probes
from reelmesh_tools.stack.files import write_whole
from reelmesh_tools.stack.jvm import JvmServer
from reelmesh_tools.stack.layout import Layout
from reelmesh_tools.stack.plan import Plan
from reelmesh_tools.stack.spec import ProcessSpec, Stage

_FORMAT_SECONDS = 60.0


class FormatError(Exception):
    """Kafka's storage could not be formatted."""


def spec(layout: Layout, plan: Plan, server: JvmServer) -> ProcessSpec:
    """Render server.properties and return how to run the broker, which formats its storage before the first start."""
    data = layout.data("kafka")
    config = layout.config / "kafka.properties"
    write_whole(config, render((server.folder / "server.properties").read_text(encoding="utf-8"), layout, plan))
    log4j = f"-Dlog4j.configuration={(server.folder / 'log4j.properties').as_uri()}"
    launcher = (*server.launcher(layout.config / "kafka.args"), log4j)

    async def prepare() -> None:
        if not (data / "meta.properties").exists():
            data.mkdir(parents=True, exist_ok=True)
            arguments = ("format", "--standalone", "--ignore-formatted", "-t", _cluster_id(), "-c", str(config))
            await _run((*launcher, "kafka.tools.StorageTool", *arguments), layout.log("kafka"))

    return ProcessSpec(
        name="kafka",
        command=(*launcher, "kafka.Kafka", str(config)),
        probe=probes.kafka_answers(plan.ports["kafka"]),
        stage=Stage.STORE,
        environment={"MALLOC_ARENA_MAX": "2"},
        prepare=prepare,
        stop_seconds=20.0,
    )


def render(template: str, layout: Layout, plan: Plan) -> str:
    """Return `template`, a server.properties, with this stack's listeners and folders added."""
    broker, controller = plan.address("kafka"), plan.address("kafka-controller")
    added = {
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{broker}",
        "controller.quorum.bootstrap.servers": controller,
        "log.dirs": str(layout.data("kafka")),
    }
    return template + "".join(f"{key}={value}\n" for key, value in added.items())


def _cluster_id() -> str:
    """Return a new random id as Kafka writes them: 22 characters of URL-safe base64."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


async def _run(command: tuple[str, ...], log_file: Path) -> None:
    with log_file.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=asyncio.subprocess.STDOUT
        )
    try:
        status = await asyncio.wait_for(process.wait(), _FORMAT_SECONDS)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if status != 0:
        message = f"the storage tool ended with status {status}"
        raise FormatError(message)
