"""The audit log: every decision about a license, written down after the answer but never instead of it."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from reelmesh.drm.errors import AuditBehind, IntervalTooLong
from reelmesh.drm.systems import System
from reelmesh.mesh.errors import PageTokenInvalid, Unavailable
from reelmesh.mesh.names import SessionName, VideoName

BACKLOG = 50_000
"""Decisions that may wait to be written. With more, no license is given: none goes out that is not on record."""
BATCH = 256
"""Decisions that are written at once."""
GATHER_SECONDS = 0.05
"""A decision waits this long for others to be written with."""
FINISH_SECONDS = 4.0
"""What a process that stops gives its stores for what is not yet written."""
WEEK = timedelta(days=7)
LONGEST = timedelta(days=31)
"""Interval that one list may cover."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about one request."""

    id: str
    time: datetime
    session: SessionName
    video: VideoName
    viewer: str
    system: System
    persistent: bool
    """Whether the token grants a license to keep."""
    client: str
    """Address that asked; empty where it is not known."""
    reason: str = ""
    """Why no license was given; empty where one was."""
    key_ids: Sequence[bytes] = ()
    """Keys that the license holds."""


Write = Callable[[Sequence[Decision]], Awaitable[None]]
"""Writes decisions down; the same ones again change nothing. Raises Unavailable."""


class Trail:
    """Decisions on their way to one place. Whatever is noted is written, unless the process is killed."""

    def __init__(self, name: str, write: Write) -> None:
        self._name = name
        self._write = write
        self._waiting: deque[Decision] = deque()
        self._noted = asyncio.Event()

    @property
    def full(self) -> bool:
        """Whether too much waits."""
        return len(self._waiting) >= BACKLOG

    def note(self, decision: Decision) -> None:
        """Take a decision to be written down in a moment."""
        self._waiting.append(decision)
        self._noted.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._noted.wait()
            await asyncio.sleep(GATHER_SECONDS)  # for others to come
            self._noted.clear()
            await self._drain()

    async def finish(self) -> None:
        """Write what waits, for at most FINISH_SECONDS. Called when nothing is noted any more and `run` has ended."""
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                await self._drain()
        except TimeoutError:
            log.error("%d decisions about licenses did not reach %s", len(self._waiting), self._name)  # noqa: TRY400

    async def _drain(self) -> None:
        delay = 0.1
        while self._waiting:
            batch = list(itertools.islice(self._waiting, BATCH))
            try:
                await self._write(batch)
            except Unavailable as error:
                log.warning("the audit log waits for %s: %s", self._name, error)
                await asyncio.sleep(delay)  # back-off
                delay = min(delay * 2, 2.0)
            else:
                for _ in batch:
                    self._waiting.popleft()
                delay = 0.1


class Audit:
    """Takes decisions down in every place that they are to be."""

    def __init__(self, trails: Sequence[Trail]) -> None:
        self._trails = trails

    def note(self, decision: Decision) -> None:
        """Take a decision down. Raises AuditBehind where too many wait; then the answer must not go out."""
        if any(trail.full for trail in self._trails):
            raise AuditBehind("decisions cannot be written down at the moment", retry_after=timedelta(seconds=2))
        for trail in self._trails:
            trail.note(decision)

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as group:
            for trail in self._trails:
                group.create_task(trail.run())

    async def finish(self) -> None:
        """Write what waits."""
        await asyncio.gather(*(trail.finish() for trail in self._trails))


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the log a decision stands: among those of its day the later one is first."""

    time: datetime
    id: str

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read what `str` wrote. Raises PageTokenInvalid."""
        time, _, id_ = text.partition("/")
        try:
            return cls(datetime.fromisoformat(time).astimezone(UTC), id_)
        except (ValueError, OverflowError) as error:
            raise PageTokenInvalid("page_token was not made by this list") from error

    def __str__(self) -> str:
        return f"{self.time.isoformat()}/{self.id}"


class DecisionStore(Protocol):
    """What the log needs of a database; store.py has the one on Cassandra."""

    async def of_day(
        self, organization: str, day: date, since: datetime, before: Place, size: int
    ) -> Sequence[Decision]:
        """Return up to `size` decisions of a day, latest first: from `since` on, those that stand behind `before`."""


class Decisions:
    """Reads the log."""

    def __init__(self, store: DecisionStore) -> None:
        self._store = store

    async def page(
        self, organization: str, since: datetime | None, until: datetime, after: str, size: int
    ) -> tuple[Sequence[Decision], str]:
        """Return up to `size` decisions from `since` to before `until`, latest first, and the position of the next.

        Without `since` it is a week. Raises IntervalTooLong, PageTokenInvalid.
        """
        since = until - WEEK if since is None else since
        if until - since > LONGEST:
            raise IntervalTooLong(f"a list covers {LONGEST.days} days at most")
        # Before every id of that time.
        before = Place.parse(after) if after else Place(until, "")
        if before.time > until:
            raise PageTokenInvalid("page_token was made by a list that ends later")
        found: list[Decision] = []
        day = before.time.date()
        while day >= since.date() and len(found) <= size:
            found += await self._store.of_day(organization, day, since, before, size + 1 - len(found))
            day -= timedelta(days=1)
        last = found[size - 1] if len(found) > size else None
        return found[:size], str(Place(last.time, last.id)) if last else ""
