"""Threads that look things up in the index, and a bound on how much may wait for them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

from reelmesh.discovery.errors import TooBusy

Result = TypeVar("Result")


class Pool:
    """Does so much at once, lets so much wait, and refuses the rest at once."""

    def __init__(self, threads: int, waiting: int) -> None:
        """`threads` is 0 for as many as there are processors."""
        count = threads or os.cpu_count() or 1
        self._most = count + waiting
        self._held = 0
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="search")

    async def run(self, work: Callable[[], Result]) -> Result:
        """Do something in a thread, and return its result. Raises TooBusy, and what the work raises.

        Who is cancelled while waiting, as when their deadline has passed, is never begun.
        """
        if self._held >= self._most:
            raise TooBusy("too many searches wait", retry_after=timedelta(milliseconds=200))
        self._held += 1
        future = self._threads.submit(work)
        # It holds its place until it is done or was never begun, whoever still waits for it.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._left))
        return await asyncio.wrap_future(future)

    def _left(self) -> None:
        self._held -= 1

    async def close(self) -> None:
        """Wait for what goes on."""
        await asyncio.to_thread(self._threads.shutdown)
