"""Experiments: ways to do something, who gets which, and the word of it.

Two hashes of who watches decide, each by itself: one says whether they take part, the other in which arm. The first is
held against the traffic alone, so that more traffic adds people and moves nobody; the second does not know the traffic.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from reelmesh.analytics.errors import (
    ArmRepeated,
    ExperimentEnded,
    ExperimentExists,
    ExperimentUnknown,
    TooManyExperiments,
    TrafficShrunk,
)
from reelmesh.mesh.clock import Clock
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.lru import Lru
from reelmesh.mesh.names import ResourceName, SessionName

RUNNING = 20
"""Experiments of one organization that may run at once: the arms of a viewing travel in its telemetry token."""
ORGANIZATIONS = 10_000
"""Organizations whose running experiments are kept in mind."""
FRESH = timedelta(seconds=5)
"""How long what runs is believed to be what runs."""
STALE = timedelta(minutes=5)
"""…and how long where the database does not answer."""
WAIT_SECONDS = 0.2
"""How long a viewer who presses play waits for the log of exposures."""
_HASHED = 1 << 64

log = logging.getLogger(__name__)


class ExperimentName(ResourceName):
    """Name of an experiment."""

    __slots__ = ()
    collection = "experiments"


@dataclass(frozen=True, slots=True)
class Arm:
    """One way."""

    id: str
    weight: int = 1
    """Its part of those who take part, in proportion to the others'."""
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Experiment:
    """Two or more ways, each tried on some of the viewings; the first is what the others are held against."""

    name: ExperimentName
    display_name: str
    arms: tuple[Arm, ...]
    traffic: float
    """Part of the viewers who take part, 0 to 1."""
    create_time: datetime
    end_time: datetime | None = None

    def arm_of(self, unit: bytes) -> Arm | None:
        """Return the arm of a unit; None for one that does not take part."""
        if self._number("part", unit) >= self.traffic * _HASHED:
            return None
        place = self._number("arm", unit) * sum(arm.weight for arm in self.arms) // _HASHED
        ends = itertools.accumulate(arm.weight for arm in self.arms)
        return next(arm for arm, end in zip(self.arms, ends, strict=True) if place < end)

    def _number(self, purpose: str, unit: bytes) -> int:
        digest = hashlib.sha256(f"{self.name}\0{purpose}\0".encode() + unit).digest()
        return int.from_bytes(digest[:8])


@dataclass(frozen=True, slots=True)
class Exposure:
    """A viewing that was put in an arm."""

    session: SessionName
    unit: bytes
    """What was assigned by, 16 bytes."""
    experiment: str
    arm: Arm

    @property
    def time_ms(self) -> int:
        """When the session began, by its id: the same however often it is assigned."""
        return uuid.UUID(self.session.id).int >> 80


def unit_of(pseudonym: Callable[[str, str], bytes], organization: str, viewer: bytes) -> bytes:
    """Return what a viewer, given by their pseudonym, is assigned by.

    It is another keyed hash, so that exposures do not tell who is behind the events of viewers who want no name kept.
    Whoever has the key can still find the exposures of one viewer, to erase them.
    """
    return pseudonym(organization, f"unit:{viewer.hex()}")


class ExperimentStore(Protocol):
    """What experiments need of a database; experiment_store.py is the one on Cassandra. All may raise Unavailable."""

    async def load(self, name: ExperimentName) -> Experiment | None:
        """Return an experiment; None when there is none."""

    async def list(self, organization: str) -> Sequence[Experiment]:
        """Return the experiments of an organization by name."""

    async def add(self, experiment: Experiment) -> bool:
        """Keep an experiment; False when there is one of that name."""

    async def grow(self, name: ExperimentName, traffic: float) -> bool:
        """Raise the traffic of an experiment that runs; False where it has more, or does not run."""

    async def end(self, name: ExperimentName, time: datetime) -> bool:
        """End an experiment that there is; False when it has ended."""


class ExposureLog(Protocol):
    """Where exposures are written down."""

    async def write(self, exposures: Sequence[Exposure]) -> None:
        """Return when they are safe. Raises Unavailable."""


class Experiments:
    """Experiments of all organizations."""

    def __init__(self, store: ExperimentStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(self, name: ExperimentName, display_name: str, arms: Sequence[Arm], traffic: float) -> Experiment:
        """Begin an experiment, or raise the traffic of the one that there is.

        Raises ArmRepeated, ExperimentExists, TrafficShrunk, ExperimentEnded, TooManyExperiments.
        """
        if len({arm.id for arm in arms}) < len(arms):
            raise ArmRepeated("every arm needs an id of its own", violations=[("experiment.arms", "ids must differ")])
        there = await self._store.load(name)
        if there is None:
            running = [each for each in await self._store.list(name.organization) if each.end_time is None]
            if len(running) >= RUNNING:
                raise TooManyExperiments(f"{RUNNING} experiments run already; end one first", limit=RUNNING)
            made = Experiment(name, display_name, tuple(arms), traffic, self._clock.now())
            if await self._store.add(made):
                return made
            there = await self.get(name)  # someone was faster
        return await self._again(there, tuple(arms), traffic)

    async def _again(self, there: Experiment, arms: tuple[Arm, ...], traffic: float) -> Experiment:
        if there.arms != arms:
            raise ExperimentExists(f"{there.name} has other arms, which never change")
        if traffic == there.traffic:
            return there
        if there.end_time is None and traffic > there.traffic and await self._store.grow(there.name, traffic):
            return replace(there, traffic=traffic)
        now = await self.get(there.name)
        if now.end_time is not None:
            raise ExperimentEnded(f"{there.name} has ended")
        raise TrafficShrunk(f"{there.name} has a traffic of {now.traffic}, which may only grow", traffic=now.traffic)

    async def get(self, name: ExperimentName) -> Experiment:
        """Return an experiment. Raises ExperimentUnknown."""
        found = await self._store.load(name)
        if found is None:
            raise ExperimentUnknown(f"there is no {name}")
        return found

    async def list(self, organization: str) -> Sequence[Experiment]:
        """Return all of an organization's by name."""
        return await self._store.list(organization)

    async def end(self, name: ExperimentName) -> Experiment:
        """End an experiment; one that has ended is left. Raises ExperimentUnknown."""
        there = await self.get(name)
        if there.end_time is None:
            await self._store.end(name, self._clock.now())
        return await self.get(name)


@dataclass(frozen=True, slots=True)
class _Known:
    running: Sequence[Experiment]
    time: float


class Running:
    """The experiments that run, asked for every few seconds and not for every viewer."""

    def __init__(self, store: ExperimentStore, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._monotonic = monotonic
        self._known: Lru[str, _Known] = Lru(ORGANIZATIONS, lambda known: 1)
        self._asking: dict[str, asyncio.Task[Sequence[Experiment]]] = {}

    async def of(self, organization: str) -> Sequence[Experiment]:
        """Return those of an organization. Raises Unavailable."""
        known = self._known.get(organization)
        if known is not None and self._monotonic() - known.time < FRESH.total_seconds():
            return known.running
        # All who come meanwhile wait for one question, which goes on when one of them leaves.
        asking = self._asking.get(organization)
        if asking is None:
            asking = self._asking[organization] = asyncio.create_task(self._ask(organization))
            asking.add_done_callback(lambda done: self._answered(organization, done))
        try:
            return await asyncio.shield(asking)
        except Unavailable:
            if known is None or self._monotonic() - known.time > STALE.total_seconds():
                raise
            return known.running

    async def _ask(self, organization: str) -> Sequence[Experiment]:
        time = self._monotonic()
        running = [each for each in await self._store.list(organization) if each.end_time is None]
        self._known.put(organization, _Known(running, time))
        return running

    def _answered(self, organization: str, done: asyncio.Task[Sequence[Experiment]]) -> None:
        del self._asking[organization]
        if not done.cancelled():
            done.exception()  # whoever waited has it; nobody may have


class Assignments:
    """Puts viewings in arms."""

    def __init__(
        self,
        running: Running,
        exposures: ExposureLog,
        pseudonym: Callable[[str, str], bytes],
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        """`pseudonym` names a viewer of an organization by a keyed hash."""
        self._running = running
        self._exposures = exposures
        self._pseudonym = pseudonym
        self._wait_seconds = wait_seconds
        self._writing: set[asyncio.Task[None]] = set()

    async def assign(self, session: SessionName, viewer: str, parameter: str = "") -> Sequence[Exposure]:
        """Put a viewing in an arm of each experiment that runs. Raises Unavailable, and then it is in none.

        With a `parameter` only experiments count of which some arm has it.

        What the log refuses at once nobody is exposed to. A log that takes its time does not hold the viewer up: the
        arms stand, and it goes on being told. Whatever is lost then is lost for all arms alike, since a viewing's
        exposures go by one record each that know nothing of what the arms do.
        """
        organization = session.organization
        if viewer:
            unit = unit_of(self._pseudonym, organization, self._pseudonym(organization, viewer))
        else:
            unit = self._pseudonym(organization, f"session:{session.id}")  # no viewer's name has a colon
        exposures = [
            Exposure(session, unit, each.name.id, arm)
            for each in await self._running.of(organization)
            if (not parameter or any(parameter in arm.parameters for arm in each.arms))
            and (arm := each.arm_of(unit)) is not None
        ]
        if not exposures:
            return []
        writing = asyncio.create_task(self._exposures.write(exposures))
        self._writing.add(writing)
        writing.add_done_callback(self._written)
        done, _ = await asyncio.wait({writing}, timeout=self._wait_seconds)
        for task in done:
            task.result()
        return exposures

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writing.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("exposures are lost: %s", error)

    async def finish(self) -> None:
        """Wait for what is still being written down."""
        if self._writing:
            await asyncio.wait(self._writing, timeout=2.0)
