"""One child of the supervisor: started, watched, started again when it crashes, held down, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from pathlib import Path

from reelmesh_tools.stack import processes
from reelmesh_tools.stack.backoff import Backoff
from reelmesh_tools.stack.processes import Identity
from reelmesh_tools.stack.spec import ProcessSpec
from reelmesh_tools.stack.state import Health, ProcessState

_ASK_WHILE_STARTING = 0.1
_ASK_WHILE_UNHEALTHY = 0.5
_ASK_WHILE_HEALTHY = 2.0
# One late answer of a busy machine is not an illness.
_FAILURES_TO_UNHEALTHY = 3
_LOG_LIMIT = 16 * 1024 * 1024


class Child:
    """A process that is kept running from `release` until `hold`."""

    def __init__(
        self, spec: ProcessSpec, log: Path, backoff: Backoff, changed: Callable[[], None], needs: Sequence[Child]
    ) -> None:
        """Take the log file of the process, what to call when its state changes, and the children it waits for."""
        self.spec = spec
        self.healthy = asyncio.Event()
        self._log = log
        self._backoff = backoff
        self._changed = changed
        self._needs = needs
        self._keeper: asyncio.Task[None] | None = None
        self._launching: asyncio.Task[None] | None = None
        self._process: Process | None = None
        self._identity: Identity | None = None
        self._restarts = 0
        self._health = Health.STOPPED
        self._detail = ""

    def state(self) -> ProcessState:
        """Return how the process is now."""
        identity = self._identity
        return ProcessState(
            name=self.spec.name,
            health=self._health,
            pid=identity.pid if identity else None,
            started=identity.started if identity else None,
            restarts=self._restarts,
            rss_bytes=processes.resident_bytes(identity) if identity else 0,
            detail=self._detail,
        )

    def release(self) -> None:
        """Start the process and keep it running; does nothing while it is kept already."""
        if self._keeper is None:
            self._note(Health.STARTING)
            self._keeper = asyncio.create_task(self._keep_running(), name=self.spec.name)

    async def hold(self) -> None:
        """Stop the process with all its descendants and keep it down; returns once they are gone."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
        if self._launching is not None:
            # A launch that had begun ends first, or its process would be nobody's.
            await asyncio.wait([self._launching])
        await self._stop()
        self._note(Health.STOPPED)

    async def _keep_running(self) -> None:
        while True:
            for need in self._needs:
                self._note(Health.STARTING, f"waiting for {need.spec.name}")
                await need.healthy.wait()
            self._note(Health.STARTING)
            try:
                ended = await self._run_once()
            except Exception as error:  # a start that fails, for whatever reason, is tried again
                ended = f"did not start: {error}"
            delay = self._backoff.crashed()
            self._restarts += 1
            self._write(f"{ended}; starting again in {delay:g} s")
            self._note(Health.STARTING, ended)
            await asyncio.sleep(delay)

    async def _run_once(self) -> str:
        """Run the process until it ends by itself; return how it ended."""
        self._rotate()
        if self.spec.prepare is not None:
            await self.spec.prepare()
        self._launching = asyncio.create_task(self._launch())
        await asyncio.shield(self._launching)
        watch = asyncio.create_task(self._watch())
        try:
            assert self._process is not None  # noqa: S101 - _launch has just set it
            code = await self._process.wait()
        finally:
            watch.cancel()
        identity, self._process, self._identity = self._identity, None, None
        if identity is not None:
            await asyncio.to_thread(processes.end, processes.family(identity), 1.0)
        return f"ended by signal {-code}" if code < 0 else f"ended with status {code}"

    async def _launch(self) -> None:
        self._write(f"$ {' '.join(self.spec.command)}")
        with self._log.open("ab") as log:
            # Its own process group, so that what it leaves behind can be found after its death.
            self._process = await asyncio.create_subprocess_exec(
                *self.spec.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, **self.spec.environment},
                process_group=0,
            )
        self._backoff.started()
        self._identity = processes.identify(self._process.pid)
        # Recorded at once: the next command must find the process even if this supervisor dies now.
        self._changed()

    async def _watch(self) -> None:
        failures = 0
        while True:
            if await self.spec.probe():
                failures = 0
                if self._health is not Health.HEALTHY:
                    self._note(Health.HEALTHY)
            else:
                failures += 1
                if self._health is Health.HEALTHY and failures >= _FAILURES_TO_UNHEALTHY:
                    self._note(Health.UNHEALTHY, "does not answer")
            await asyncio.sleep(self._pause(failures))

    def _pause(self, failures: int) -> float:
        if self._health is Health.STARTING:
            return _ASK_WHILE_STARTING
        return _ASK_WHILE_UNHEALTHY if failures else _ASK_WHILE_HEALTHY

    async def _stop(self) -> None:
        process, identity = self._process, self._identity
        self._process = self._identity = None
        if process is None or identity is None:
            return
        family = processes.family(identity)
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self.spec.stop_seconds)
        except TimeoutError:
            self._write(f"did not leave within {self.spec.stop_seconds:g} s: killed")
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await asyncio.to_thread(processes.end, {*family, *processes.family(identity)}, 1.0)
        self._write("stopped")

    def _note(self, health: Health, detail: str = "") -> None:
        self._health = health
        self._detail = detail
        if health is Health.HEALTHY:
            self.healthy.set()
        else:
            self.healthy.clear()
        self._changed()

    def _rotate(self) -> None:
        if self._log.exists() and self._log.stat().st_size > _LOG_LIMIT:
            self._log.replace(self._log.with_suffix(".log.1"))

    def _write(self, message: str) -> None:
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"{now} supervisor: {message}\n")
