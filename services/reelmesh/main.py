"""Run any set of services in one process: ``python -m reelmesh.main --config FILE TARGET…``. Wiring only, no logic."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import importlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import uvloop
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from reelmesh.mesh import telemetry
from reelmesh.mesh.config import Config, load
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.identity import Identity
from reelmesh.mesh.server import Background, Server, Target
from reelmesh.mesh.settings import SettingError
from reelmesh.stores.bundle import Connections, Stores
from reelmesh_gateway.mesh import load as load_topology
from reelmesh_gateway.service_config import service_config

TARGETS = (
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
    "worker",
)
"""Everything that can be served; each has a wiring.py in its folder."""

log = logging.getLogger(__name__)


async def serve(config: Config, names: Sequence[str], process: str, replica: int = 1) -> None:
    """Serve the named targets until SIGTERM or SIGINT, whatever it is at then. Raises SettingError.

    `replica` is the place, from 1, of the address among those of a service at which this process listens.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stop.set)
    stopping = asyncio.create_task(stop.wait())
    running = asyncio.create_task(_run(config, names, process, replica))
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    # Every phase, from the first connection to the last drain, ends by cancelling this one task.
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def _run(config: Config, names: Sequence[str], process: str, replica: int) -> None:
    """Connect, serve and close; ends by being cancelled, or with the reason of the first part that failed."""
    ready = config.home / "run" / f"{process}.ready"
    ready.parent.mkdir(parents=True, exist_ok=True)
    connections = Connections(config, process, _service_config(config))
    try:
        servers, background = await _start(config, names, connections, replica)
        # What was loaded stays to the end; looking through it for garbage again and again would stop all calls.
        gc.collect()
        gc.freeze()
        async with asyncio.TaskGroup() as parts:
            serving = [asyncio.Event() for _ in servers]
            for server, event in zip(servers, serving, strict=True):
                parts.create_task(_endless(server.run(event.set)))
            for work in background:
                parts.create_task(_endless(work.run()))
            for event in serving:
                await event.wait()
            ready.touch()
            log.info("%s ready: %s", process, " ".join(names))
            try:
                await asyncio.Event().wait()
            finally:
                ready.unlink(missing_ok=True)
    finally:
        await connections.close()


async def _endless(part: Awaitable[None]) -> None:
    await part
    raise RuntimeError("a part of the process ended by itself")  # the others would go on without it, unnoticed


def _service_config(config: Config) -> Callable[[str], str | None]:
    """Return how channels to a service retry, which the gateway's topology says for everyone."""
    if config.mesh.topology is None or config.mesh.contracts is None:
        return lambda service: None
    topology = load_topology(config.mesh.topology)
    contracts = FileDescriptorSet.FromString(config.mesh.contracts.read_bytes())
    return lambda service: service_config(topology, service, contracts)


async def _start(
    config: Config, names: Sequence[str], connections: Connections, replica: int
) -> tuple[list[Server], list[Background]]:
    servers: list[Server] = []
    background: list[Background] = []
    for name in names:
        identity = Identity.load(config.mesh.certificates, name, config.mesh.trust_domain)
        target = await _build(name, config, Stores(connections, identity))
        background.extend(target.background)
        if target.services:
            addresses = config.services.get(name, ())
            if len(addresses) < replica:
                raise SettingError(f"services.{name}: has no address" + (f" {replica}" if addresses else ""))
            servers.append(Server(target, identity, addresses[replica - 1]))
    return servers, background


async def _build(name: str, config: Config, stores: Stores) -> Target:
    wiring = importlib.import_module(f"reelmesh.{name}.wiring")
    while True:
        try:
            target: Target = await wiring.build(config, stores)
        except Unavailable as error:
            log.info("%s waits: %s", name, error)
            await asyncio.sleep(0.2)  # a store that starts beside us; it has no event for "I am here"
        else:
            return target


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="reelmesh.main", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the installation's YAML file")
    parser.add_argument("--process", default="", help="name of the process in logs; the targets by default")
    parser.add_argument("--replica", type=int, default=1, help="which of a service's addresses to listen at, from 1")
    parser.add_argument("targets", nargs="+", metavar="TARGET", help=f"any of {', '.join(TARGETS)}")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.targets if name not in TARGETS]
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}; known are {', '.join(TARGETS)}")
    try:
        config = load(arguments.config)
    except SettingError as error:
        sys.exit(f"reelmesh: {error}")
    process = arguments.process or "-".join(arguments.targets)
    telemetry.start(process, config.environment)
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(config, arguments.targets, process, max(1, arguments.replica)))


def _leave() -> None:
    """Run, and end the process whatever its threads wait for.

    A client library may still call for a server that is away, and the interpreter would wait for it. All that is to be
    kept was closed before.
    """
    status = 1
    try:
        main()
        status = 0
    except SystemExit as error:
        if isinstance(error.code, str):
            sys.stderr.write(f"{error.code}\n")
        else:
            status = error.code or 0
    except BaseException:
        log.critical("the process ends", exc_info=True)
    finally:
        telemetry.stop()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _leave()
