"""Lets calls that come while others are under way go together, as one statement for many.

Nobody waits for company: a call that comes alone goes at once. Under load, what comes while a statement is under way
goes with the next one, so that the more comes, the less each costs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Gathering(Generic[T, R]):
    """Does something with many things at once that is asked for one by one."""

    def __init__(
        self,
        work: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        most: int,
        apart: Callable[[T], Hashable] = lambda _: None,
    ) -> None:
        """`work` does it with up to `most` things, and returns what comes of each, in their order.

        Things of which `apart` says something else never go together.
        """
        self._work = work
        self._most = most
        self._apart = apart
        self._waiting: dict[Hashable, deque[tuple[T, asyncio.Future[R]]]] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def __call__(self, thing: T) -> R:
        """Do it with one thing. Raises what the work raises; of things that went together each call raises it."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        key = self._apart(thing)
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append((thing, answer))
        else:
            self._waiting[key] = deque([(thing, answer)])
            task = asyncio.create_task(self._go(key))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await answer

    async def _go(self, key: Hashable) -> None:
        waiting = self._waiting[key]
        try:
            while waiting:
                some = [waiting.popleft() for _ in range(min(self._most, len(waiting)))]
                # Whoever was cancelled meanwhile wants nothing any more.
                await self._do([each for each in some if not each[1].done()])
        finally:
            del self._waiting[key]
            for _, answer in waiting:
                answer.cancel()

    async def _do(self, some: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        if not some:
            return
        try:
            results = await self._work([thing for thing, _ in some])
        except Exception as error:
            for _, answer in some:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), result in zip(some, results, strict=True):
            if not answer.done():
                answer.set_result(result)
