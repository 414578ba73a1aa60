"""The one process above all others of a stack: `python -m reelmesh_tools.stack.supervisor --home FOLDER`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from reelmesh_tools.stack import assembly, control, plan, state
from reelmesh_tools.stack.backoff import Backoff
from reelmesh_tools.stack.child import Child
from reelmesh_tools.stack.layout import Layout, repository
from reelmesh_tools.stack.processes import identify
from reelmesh_tools.stack.spec import ProcessSpec, Stage

# How often memory is measured and the state written when nothing else has changed.
_REFRESH = 2.0
# Changes come in bursts; readers ask every tenth of a second at most.
_SETTLE = 0.05

_log = logging.getLogger(__name__)


class Supervisor:
    """Keeps the processes of one stack running until it is told to stop."""

    def __init__(self, layout: Layout, specs: Sequence[ProcessSpec]) -> None:
        """Take the processes, each listed after those that it needs."""
        self._layout = layout
        self._identity = identify(os.getpid())
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()
        self._children: dict[str, Child] = {}
        for spec in specs:
            needs = [self._children[name] for name in spec.needs if name in self._children]
            self._children[spec.name] = Child(
                spec, layout.log(spec.name), Backoff(time.monotonic), self._changed.set, needs
            )

    def stop(self) -> None:
        """Begin the end; `run` returns once every process is gone."""
        self._stopping.set()

    async def run(self) -> None:
        """Start everything, keep it running, and stop it in order after `stop`."""
        server = await control.serve(self._layout.control_socket, self._obey)
        keeper = asyncio.create_task(self._keep_state())
        try:
            for child in self._children.values():
                child.release()
            await self._stopping.wait()
        finally:
            server.close()
            for stage in Stage:
                stopped = [child.hold() for child in self._children.values() if child.spec.stage is stage]
                await asyncio.gather(*stopped)
            keeper.cancel()
            self._layout.control_socket.unlink(missing_ok=True)
            self._save(leaving=True)

    async def _obey(self, action: str, name: str) -> None:
        child = self._children.get(name)
        if child is None:
            message = f"this stack runs no process named {name}; it runs {', '.join(self._children)}"
            raise ValueError(message)
        if self._stopping.is_set():
            message = "the stack is stopping"
            raise ValueError(message)
        _log.info("%s %s", action, name)
        match action:
            case "stop":
                await child.hold()
            case "start":
                child.release()
            case _:
                message = f"no action named {action}"
                raise ValueError(message)
        self._save()

    async def _keep_state(self) -> None:
        while True:
            self._changed.clear()
            self._save()
            await asyncio.sleep(_SETTLE)
            try:
                await asyncio.wait_for(self._changed.wait(), _REFRESH)
            except TimeoutError:
                continue

    def _save(self, *, leaving: bool = False) -> None:
        children = tuple(child.state() for child in self._children.values())
        state.save(state.StackState(None if leaving else self._identity, children), self._layout.state_file)


async def supervise(layout: Layout) -> None:
    """Run the stack that is planned at `layout` until SIGTERM or SIGINT; raises when there is no plan."""
    planned = plan.load(layout.stack_file)
    if planned is None:
        message = f"{layout.stack_file} does not exist: `reelmesh up` writes it"
        raise FileNotFoundError(message)
    supervisor = Supervisor(layout, assembly.specs(layout, planned, repository(), os.environ))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
    _log.info("starting %s", ", ".join(planned.processes))
    await supervisor.run()
    _log.info("everything has stopped")


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description="Keeps the processes of one local reelmesh stack running.")
    parser.add_argument("--home", type=Path, required=True, help="folder of the stack")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(supervise(Layout.at(arguments.home)))


if __name__ == "__main__":
    main()
