"""The worker's side of the queue: take a task, ask whether it is still wanted, do it, answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Protocol

from google.protobuf.message import DecodeError

from reelmesh.mesh.errors import Unavailable
from reelmesh.stores.events import RESULTS, Record, retry_forever
from reelmesh.worker.v1.task_pb2 import Task, TaskResult

ASK_SECONDS = 60.0
"""How long the control may be away before a task goes back to the queue."""

KEEP_SECONDS = 5.0
"""From one look to the next at whether a task is still wanted: how long a cancelled one may go on."""

log = logging.getLogger(__name__)

Report = Callable[[TaskResult], Awaitable[None]]


class Runner(Protocol):
    """Does a task; task.py has the one that encodes."""

    async def run(self, task: Task, report: Report) -> None:
        """Do `task`, reporting what it made. A failure is reported, not raised."""


class TaskDesk(Protocol):
    """Where a worker asks for a task that it was handed; desk.py asks the control."""

    async def start(self, task: Task, worker: str, record: str) -> bool:
        """Return False when the task is no longer wanted. Raises Unavailable."""

    async def keep(self, task: Task, worker: str) -> bool:
        """Return False when nobody waits for the task any more. Raises Unavailable."""


class Queue(Protocol):
    """Where tasks come from; stores/queue.py has Kafka's."""

    async def run(self, handler: Callable[[Record], Awaitable[None]]) -> None:
        """Hand one record at a time to `handler` until cancelled."""


class Results(Protocol):
    """Where answers go; stores/events.py has Kafka's publisher."""

    async def publish(self, record: Record) -> None:
        """Publish. Raises Unavailable."""


class Agent:
    """One worker: one task at a time."""

    def __init__(
        self,
        name: str,
        queue: Queue,
        desk: TaskDesk,
        runner: Runner,
        results: Results,
        keep_seconds: float = KEEP_SECONDS,
    ) -> None:
        self._name = name
        self._queue = queue
        self._desk = desk
        self._runner = runner
        self._results = results
        self._keep_seconds = keep_seconds

    async def run(self) -> None:
        """Work until cancelled."""
        await self._queue.run(self.handle)

    async def handle(self, record: Record) -> None:
        """Do the task in a record. Raises Unavailable, which gives it back to the queue."""
        try:
            task = Task.FromString(record.value)
        except DecodeError:
            log.exception("record %s is no task", record.position)
            return
        if not await self._wanted(task, record.position):
            log.info("task unwanted: job=%s task=%s attempt=%d record=%s", *_identity(task, record))
            return
        log.info("task begins: job=%s task=%s attempt=%d record=%s", *_identity(task, record))
        how = "ends" if await self._do(task) else "dropped"
        log.info("task %s: job=%s task=%s attempt=%d record=%s", how, *_identity(task, record))

    async def _do(self, task: Task) -> bool:
        """Do a task; False when it was given up because nobody waits for it any more."""
        running = asyncio.create_task(self._runner.run(task, self._report))
        try:
            while not (await asyncio.wait({running}, timeout=self._keep_seconds))[0]:
                if not await self._kept(task):
                    return False
            await running
        finally:
            if not running.done():
                running.cancel()
                await asyncio.wait({running})  # the tools below it are gone then, and their files
        return True

    async def _kept(self, task: Task) -> bool:
        try:
            return await self._desk.keep(task, self._name)
        except Unavailable as error:
            log.warning("the control does not answer: %s", error)
            return True  # what is made meanwhile is not lost

    async def _wanted(self, task: Task, position: str) -> bool:
        async with asyncio.timeout(ASK_SECONDS):
            delay = timedelta(milliseconds=100)
            while True:
                try:
                    return await self._desk.start(task, self._name, position)
                except Unavailable as error:
                    log.warning("the control does not answer: %s", error)
                await asyncio.sleep(delay.total_seconds())  # back-off
                delay = min(delay * 2, timedelta(seconds=2))

    async def _report(self, result: TaskResult) -> None:
        result.worker = self._name
        # What was made must be told, however long Kafka is away.
        await retry_forever(lambda: self._results.publish(Record(RESULTS, result.job, result.SerializeToString())))


def _identity(task: Task, record: Record) -> tuple[str, str, int, str]:
    """Return what tells one run of a task from all others, in the order in which the log names it."""
    return task.job, task.id, task.attempt, record.position
