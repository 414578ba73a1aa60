"""A worker with its task: it goes on while somebody waits for it, and stops when nobody does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from reelmesh.mesh.errors import Unavailable
from reelmesh.stores.events import Record
from reelmesh.worker.agent import Agent, Report
from reelmesh.worker.v1.task_pb2 import Encoded, Task, TaskResult

TASK = Task(job="organizations/acme/jobs/1", id="video-00000", attempt=2)
RECORD = Record("tasks", "k", TASK.SerializeToString(), position="0/7")


class Desk:
    """A control that says what it is told to."""

    def __init__(self, *, wanted: bool = True) -> None:
        self.wanted = wanted
        self.away = False
        self.asked = asyncio.Event()

    async def start(self, task: Task, worker: str, record: str) -> bool:
        assert (task, worker, record) == (TASK, "w", "0/7")
        return self.wanted

    async def keep(self, task: Task, worker: str) -> bool:
        assert (task, worker) == (TASK, "w")
        self.asked.set()
        if self.away:
            raise Unavailable("away")
        return self.wanted


class Runner:
    """Works until it is told that it is done."""

    def __init__(self) -> None:
        self.begun, self.done, self.undone = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def run(self, task: Task, report: Report) -> None:
        self.begun.set()
        try:
            await self.done.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # the tools are killed, the files removed
            self.undone.set()
            raise
        await report(TaskResult(job=task.job, task=task.id, attempt=task.attempt, encoded=Encoded(final=True)))


class Results:
    def __init__(self) -> None:
        self.published: list[TaskResult] = []

    async def publish(self, record: Record) -> None:
        self.published.append(TaskResult.FromString(record.value))


class Idle:
    async def run(self, handler: Callable[[Record], Awaitable[None]]) -> None:
        raise NotImplementedError


class World:
    def __init__(self, *, wanted: bool = True) -> None:
        self.desk, self.runner, self.results = Desk(wanted=wanted), Runner(), Results()
        self.agent = Agent("w", Idle(), self.desk, self.runner, self.results, keep_seconds=0.01)

    async def begin(self) -> asyncio.Task[None]:
        handling = asyncio.create_task(self.agent.handle(RECORD))
        await self.runner.begun.wait()
        return handling


async def test_a_wanted_task_is_done_and_told_of() -> None:
    world = World()
    handling = await world.begin()
    await world.desk.asked.wait()
    world.runner.done.set()
    await handling
    (result,) = world.results.published
    assert (result.worker, result.task, result.attempt) == ("w", "video-00000", 2)
    assert not world.runner.undone.is_set()


async def test_an_unwanted_task_is_not_begun() -> None:
    world = World(wanted=False)
    await world.agent.handle(RECORD)
    assert not world.runner.begun.is_set()


async def test_a_task_that_nobody_waits_for_any_more_is_stopped_and_counts_as_handled() -> None:
    world = World()
    handling = await world.begin()
    world.desk.wanted = False
    await asyncio.wait_for(handling, 5)
    assert world.runner.undone.is_set()
    assert not world.results.published


async def test_a_control_that_is_away_stops_nobody() -> None:
    world = World()
    world.desk.away = True
    handling = await world.begin()
    for _ in range(3):
        world.desk.asked.clear()
        await world.desk.asked.wait()
    world.runner.done.set()
    await handling
    assert world.results.published


async def test_a_worker_that_stops_takes_its_tools_along() -> None:
    world = World()
    handling = await world.begin()
    handling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handling
    assert world.runner.undone.is_set()


async def test_a_runner_that_fails_gives_the_task_back() -> None:
    class Broken(Runner):
        async def run(self, task: Task, report: Report) -> None:
            raise RuntimeError("broken")

    world = World()
    agent = Agent("w", Idle(), world.desk, Broken(), world.results)
    with pytest.raises(RuntimeError):
        await agent.handle(RECORD)
