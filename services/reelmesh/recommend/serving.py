"""Models made ready to choose, once for as long as they are in use."""

from __future__ import annotations

from typing import Protocol

from reelmesh.mesh.lru import Lru
from reelmesh.recommend.factors import Factors
from reelmesh.recommend.running import Served

READY = 64
"""Models that are kept ready."""


class Models(Protocol):
    """Models in memory; running.py has them."""

    async def load(self, organization: str, model: str = "") -> Served | None:
        """Return a model by its id, or the one that runs; None where there is none. Raises Unavailable.

        It is the same object as long as it is remembered.
        """


class Ready:
    """Makes models ready."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._ready: Lru[str, tuple[Served, Factors]] = Lru(READY, lambda ready: 1)

    async def load(self, organization: str, model: str) -> Factors | None:
        """Return a model, given by its id, or the one that runs where that is empty; None where there is none.

        It is the same object as long as it is the same model. Raises Unavailable.
        """
        served = await self._models.load(organization, model)
        if served is None:
            return None
        name = str(served.name)
        known = self._ready.get(name)
        if known is not None and known[0] is served:
            return known[1]
        artefact = served.artefact
        made = Factors.of(served.name.id, artefact.titles, artefact.factors, artefact.regularization, artefact.alpha)
        self._ready.put(name, (served, made))
        return made
