"""The models that run, in memory: each replica looks every few seconds which they are, and loads what is new.

A model is put in the place of another when it is whole in memory; until then, and where it is damaged or the stores do
not answer, the one before goes on choosing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.lru import Lru
from reelmesh.mesh.names import ModelName
from reelmesh.recommend.artefacts import Artefact, ArtefactDamaged
from reelmesh.recommend.model import Head, Shelf, State

LOOK_SECONDS = 2.0
"""Seconds between two looks; Cassandra has no event for a row that changed."""
TRIED = 8
"""Models that do not run and are remembered."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A model that chooses."""

    name: ModelName
    artefact: Artefact


class Heads(Protocol):
    """Where it is kept which model runs; model_store.py has the one on Cassandra. All may raise Unavailable."""

    async def heads(self) -> Sequence[Head]:
        """Return the heads of all shelves."""

    async def load(self, organization: str) -> Shelf:
        """Return an organization's models."""


class Files(Protocol):
    """Where models are kept; artefacts.py has it."""

    async def load(self, name: ModelName, attempt: int, checksum: str) -> Artefact:
        """Return a model. Raises ArtefactDamaged, Unavailable."""


class Running:
    """Holds the running model of each organization."""

    def __init__(self, heads: Heads, files: Files) -> None:
        self._heads = heads
        self._files = files
        self._served: dict[str, Served] = {}
        self._tried: Lru[ModelName, Served] = Lru(TRIED, lambda served: 1)
        self._damaged: set[ModelName] = set()
        self._now = asyncio.Event()

    def of(self, organization: str) -> Served | None:
        """Return the model that chooses for an organization; None where there is none."""
        return self._served.get(organization)

    def wake(self) -> None:
        """Look at once: another model runs."""
        self._now.set()

    async def load(self, organization: str, model: str = "") -> Served | None:
        """Return a model by its id, such as one that an experiment tries, or the one that runs.

        It is the same object as long as it is remembered. None where there is none that could run. Raises Unavailable.
        """
        running = self._served.get(organization)
        if not model or (running is not None and running.name.id == model):
            return running
        name = ModelName(organization, model)
        kept = self._tried.get(name)
        if kept is None and name not in self._damaged:
            kept = await self._read(name)
            if kept is not None:
                self._tried.put(name, kept)
        return kept

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._now.clear()
            try:
                await self.look()
            except Unavailable as error:
                log.warning("models wait: %s", error)
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._now.wait()
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Look once, and load what is new. Raises Unavailable."""
        for head in await self._heads.heads():
            served = self._served.get(head.organization)
            if not head.running:
                self._served.pop(head.organization, None)
            elif served is None or served.name.id != head.running:
                await self._load(ModelName(head.organization, head.running))

    async def _load(self, name: ModelName) -> None:
        if name in self._damaged:
            return
        served = self._tried.get(name) or await self._read(name)
        if served is not None:
            self._served[name.organization] = served
            log.info("%s runs, of %d titles", name, len(served.artefact.titles))

    async def _read(self, name: ModelName) -> Served | None:
        model = (await self._heads.load(name.organization)).models.get(name.id)
        if model is None or model.state is not State.READY:
            return None
        try:
            artefact = await self._files.load(name, model.attempt, model.checksum)
        except ArtefactDamaged as error:
            self._damaged.add(name)
            log.error("%s cannot run: %s", name, error)  # noqa: TRY400 - what is damaged is no fault of the code here
            return None
        return Served(name, artefact)
