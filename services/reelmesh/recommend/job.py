"""The job that makes models: on a schedule, or because someone asked; one at a time for an organization.

Who makes a model holds a lease on it, in Cassandra, and lengthens it while they work. A process that dies stops doing
so, and another one begins the model anew when the lease has ended, in a place of its own among the objects: what the
first may still write is never read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from reelmesh.mesh.clock import Clock
from reelmesh.mesh.errors import DomainError, Unavailable
from reelmesh.mesh.names import ModelName
from reelmesh.recommend.artefacts import ArtefactDamaged
from reelmesh.recommend.errors import TrainingUnderWay
from reelmesh.recommend.model import Head, Lease, Model, Reason, Refusal, Shelf, State
from reelmesh.recommend.models import Models, ShelfStore, changed
from reelmesh.recommend.workplace import Outcome, TrainerFailed

LEASE = timedelta(seconds=30)
"""How long the word of a process that makes a model holds."""
KEEPS = 3
"""Times that a lease is lengthened before it would end."""
LOOK_SECONDS = 5.0
"""Seconds between two looks for a model that is to be made; Cassandra has no event for it."""
SCHEDULE_SECONDS = 60.0
"""Seconds between two looks at the schedule."""
SOON = timedelta(hours=1)
"""When a model is tried again for which there were too few viewings: a new audience grows fast."""
ATTEMPTS = 3
"""Processes that may die of one model."""
KEPT = 10
"""Models that ran, and others, that are kept: enough to go back by more than a week."""
RELEASE_SECONDS = 2.0

_FAILURES = {Reason.TOO_FEW_VIEWINGS, Reason.NUMBERS_INVALID, Reason.ARTEFACT_DAMAGED, Reason.INTERNAL}
"""What makes a model fail; for anything else it is refused."""

log = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Another process makes the model."""


class LeaseStore(ShelfStore, Protocol):
    """What is kept of models; model_store.py has the one on Cassandra. All may raise Unavailable."""

    async def keep(self, organization: str, lease: Lease) -> bool:
        """Lengthen a lease; False where another holds it, or nobody."""

    async def heads(self) -> Sequence[Head]:
        """Return the heads of all shelves."""


class Maker(Protocol):
    """Makes models; workplace.py has it."""

    async def train(self, model: Model, running: Model | None) -> Outcome:
        """Train a model. Raises TrainerFailed, ArtefactDamaged, Unavailable."""


class Keeper(Protocol):
    """Keeps models; artefacts.py has it. All may raise Unavailable."""

    async def save(self, name: ModelName, attempt: int, files: Mapping[str, bytes]) -> str:
        """Keep the files of a model, and return the checksum of its manifest. Raises ArtefactDamaged."""

    async def forget_viewers(self, name: ModelName) -> None:
        """Remove the pseudonyms that a model learned from."""

    async def remove(self, name: ModelName) -> None:
        """Remove all files of a model."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How often a job does what it does."""

    lease: timedelta = LEASE
    look_seconds: float = LOOK_SECONDS


class Job:
    """Makes models in the background, one at a time in this process."""

    def __init__(
        self,
        store: LeaseStore,
        maker: Maker,
        keeper: Keeper,
        clock: Clock,
        holder: str,
        timing: Timing,
        ready: Callable[[], Awaitable[None]],
        ran: Callable[[], None],
    ) -> None:
        """`holder` names this process like no other; `ran` is called when another model runs.

        `ready` raises Unavailable until the library is whole: a model of a part of it would be worse.
        """
        self._store = store
        self._maker = maker
        self._keeper = keeper
        self._clock = clock
        self._holder = holder
        self._timing = timing
        self._ready = ready
        self._ran = ran
        self._asked = asyncio.Event()

    def wake(self) -> None:
        """Look at once: a model was begun."""
        self._asked.set()

    async def run(self) -> None:
        """Make models until cancelled."""
        while True:
            self._asked.clear()
            try:
                await self.look()
            except DomainError as error:
                log.warning("the making of models waits: %s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timing.look_seconds):
                    await self._asked.wait()

    async def look(self) -> None:
        """Make every model that is begun and that nobody makes. Raises Unavailable, Aborted."""
        for head in await self._store.heads():
            if head.lease is not None and head.lease.free(self._clock.now()):
                await self._ready()
                await self._make(head.organization)

    async def _make(self, organization: str) -> None:
        shelf = await changed(self._store, organization, self._claimed)
        lease = shelf.lease
        if lease is None or lease.holder != self._holder:
            return
        model = shelf.models[lease.model]
        running = shelf.models.get(shelf.running)
        log.info("%s is being trained, attempt %d", model.name, model.attempt)
        working = asyncio.create_task(self._outcome(model, running))
        keeping = asyncio.create_task(self._keep(organization, lease))
        try:
            await asyncio.wait({working, keeping}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                log.warning("%s is made by another process", model.name)
                return
            await self._end(organization, working.result(), model, running)
        except LeaseLost:
            log.warning("%s is made by another process", model.name)
        except (asyncio.CancelledError, Unavailable):
            await self._release(organization)
            raise
        finally:
            for task in (working, keeping):
                task.cancel()
            await asyncio.gather(working, keeping, return_exceptions=True)

    def _claimed(self, shelf: Shelf) -> Shelf:
        """Take a model that nobody makes, or give it up where too many died of it."""
        now = self._clock.now()
        if shelf.lease is None or not shelf.lease.free(now):
            return shelf
        model = shelf.models.get(shelf.lease.model)
        if model is None:
            return replace(shelf, lease=None)
        if model.attempt >= ATTEMPTS:
            given_up = replace(
                model, state=State.FAILED, reason=Reason.INTERNAL, message="its makers died", end_time=now
            )
            return replace(shelf.with_model(given_up), lease=None)
        lease = Lease(model.name.id, self._holder, now + self._timing.lease)
        return replace(shelf.with_model(replace(model, attempt=model.attempt + 1)), lease=lease)

    async def _keep(self, organization: str, lease: Lease) -> None:
        """Lengthen a lease for as long as that is possible."""
        until = lease.end
        while self._clock.now() < until:
            await asyncio.sleep(self._timing.lease.total_seconds() / KEEPS)
            end = self._clock.now() + self._timing.lease
            try:
                if not await self._store.keep(organization, replace(lease, end=end)):
                    return
            except Unavailable as error:
                log.warning("a lease could not be lengthened: %s", error)
            else:
                until = end

    async def _release(self, organization: str) -> None:
        """Let another process, or this one later, go on at once. Nobody died, so the attempt does not count."""

        def released(shelf: Shelf) -> Shelf:
            if shelf.lease is None or shelf.lease.holder != self._holder:
                return shelf
            model = shelf.models[shelf.lease.model]
            again = shelf.with_model(replace(model, attempt=model.attempt - 1))
            return replace(again, lease=Lease(model.name.id, "", self._clock.now()))

        with contextlib.suppress(DomainError, TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                await changed(self._store, organization, released)

    async def _outcome(self, model: Model, running: Model | None) -> tuple[Outcome, str]:
        """Make a model and keep its files; return what came of it, and its checksum."""
        try:
            try:
                outcome = await self._maker.train(model, running)
            except ArtefactDamaged as error:
                # Nothing can be held against what cannot be read, and it must not keep a whole one from running.
                log.error("%s is damaged: %s", running and running.name, error)  # noqa: TRY400
                outcome = await self._maker.train(model, None)
            if outcome.refusal is not None or outcome.files is None:
                return outcome, ""
            return outcome, await self._keeper.save(model.name, model.attempt, outcome.files)
        except ArtefactDamaged as error:
            return Outcome(Refusal(Reason.ARTEFACT_DAMAGED, f"what was kept is not what was made: {error}")), ""
        except TrainerFailed:
            log.exception("%s could not be trained", model.name)
            return Outcome(Refusal(Reason.INTERNAL, "the trainer failed; its log says why")), ""

    async def _end(self, organization: str, made: tuple[Outcome, str], begun: Model, against: Model | None) -> None:
        """Write down what came of a model, and let it run where it may."""
        outcome, checksum = made
        now = self._clock.now()

        def ended(shelf: Shelf) -> Shelf:
            if shelf.lease is None or (shelf.lease.model, shelf.lease.holder) != (begun.name.id, self._holder):
                raise LeaseLost
            model = replace(
                shelf.models[begun.name.id],
                end_time=now,
                data=outcome.data,
                evaluation=outcome.evaluation,
                checksum=checksum,
            )
            free = replace(shelf, lease=None)
            if outcome.refusal is not None:
                state = State.FAILED if outcome.refusal.reason in _FAILURES else State.REFUSED
                told = replace(model, state=state, reason=outcome.refusal.reason, message=outcome.refusal.message)
                return free.with_model(told)
            if shelf.running != (against.name.id if against is not None else ""):
                message = "another model was put in place while it was trained, and it was not held against that"
                return free.with_model(replace(model, state=State.READY, message=message))
            return free.with_model(replace(model, state=State.READY)).run(begun.name.id, now)

        shelf = await changed(self._store, organization, ended)
        model = shelf.models[begun.name.id]
        log.info("%s: %s %s %s", model.name, model.state, model.reason, model.message)
        if shelf.runs(model):
            self._ran()
        await self._tidy(shelf)

    async def _tidy(self, shelf: Shelf) -> None:
        """Remove old models, and the lists of viewers of those that do not run."""
        for model in shelf.models.values():
            if not shelf.runs(model):
                await self._keeper.forget_viewers(model.name)
        old = superfluous(shelf)
        for name in old:
            await self._keeper.remove(name)
        if old:
            await changed(self._store, shelf.organization, lambda now: now.without(*(name.id for name in old)))


def superfluous(shelf: Shelf) -> Sequence[ModelName]:
    """Return the models that are not to be kept: all but the latest of those that could run, and of the others."""
    others = [model for model in shelf.latest_first if not shelf.runs(model) and model.state is not State.TRAINING]
    ready = [model.name for model in others if model.state is State.READY]
    never = [model.name for model in others if model.state is not State.READY]
    return [*ready[KEPT:], *never[KEPT:]]


def due(shelf: Shelf, interval: timedelta, now: datetime) -> bool:
    """Say whether the schedule wants another model of an organization."""
    if not interval or shelf.lease is not None:
        return False
    latest = next(iter(shelf.latest_first), None)
    if latest is None:
        return True
    wait = min(SOON, interval) if latest.reason == Reason.TOO_FEW_VIEWINGS else interval
    return latest.create_time + wait <= now


class Schedule:
    """Begins models when they are due."""

    def __init__(
        self,
        store: ShelfStore,
        models: Models,
        organizations: Callable[[], Sequence[str]],
        clock: Clock,
        interval: timedelta,
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        """`organizations` returns those that have a library, and `ready` raises Unavailable until all are known.

        An `interval` of zero is no schedule: then models are only made when someone asks.
        """
        self._store = store
        self._models = models
        self._organizations = organizations
        self._clock = clock
        self._interval = interval
        self._ready = ready

    async def run(self) -> None:
        """Begin models until cancelled."""
        while True:
            try:
                await self.look()
            except DomainError as error:
                log.warning("the schedule of models waits: %s", error)
            await asyncio.sleep(SCHEDULE_SECONDS)  # time passes without an event

    async def look(self) -> None:
        """Begin the models that are due. Raises Unavailable, Aborted."""
        if not self._interval:
            return
        await self._ready()
        for organization in self._organizations():
            if due(await self._store.load(organization), self._interval, self._clock.now()):
                with contextlib.suppress(TrainingUnderWay):
                    await self._models.begin(organization)
