"""What chooses, kept ready: made anew beside what is in use when the library changes, or when another model runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from reelmesh.mesh.errors import DomainError
from reelmesh.recommend.candidates import Chooser, Stock
from reelmesh.recommend.factors import Factors
from reelmesh.recommend.library import Library
from reelmesh.recommend.viewing import NO_MODEL

REST = 10.0
"""After making stocks anew, so many times as long as it took: a library that always changes costs a tenth of a core."""
LEAST_REST_SECONDS = 1.0
CHOOSERS = 64
"""Choosers that are kept: of each organization one for each model that is in use."""

log = logging.getLogger(__name__)


class ModelsInUse(Protocol):
    """Models as they choose."""

    async def load(self, organization: str, model: str) -> Factors | None:
        """Return a model, given by its id, or the one that runs where that is empty; None where there is none.

        It is the same object as long as it is the same model. Raises Unavailable.
        """


class Stockroom:
    """Keeps a stock of each organization, and a chooser of each model with it."""

    def __init__(
        self, library: Library, news: asyncio.Event, models: ModelsInUse, monotonic: Callable[[], float]
    ) -> None:
        """`news` is set when the library changes."""
        self._library = library
        self._models = models
        self._monotonic = monotonic
        self._stocks: dict[str, Stock] = {}
        self._choosers: dict[tuple[str, str], Chooser] = {}
        self._making: dict[tuple[str, str], asyncio.Task[Chooser]] = {}
        self._news = news

    async def of(self, organization: str, model: str) -> Chooser:
        """Return what chooses with a model: its id, empty for the one that runs, NO_MODEL for none.

        Where models cannot be asked for it is the one that was used last, or none.
        """
        known = self._choosers.get((organization, model))
        try:
            wanted = None if model == NO_MODEL else await self._models.load(organization, model)
        except DomainError as error:
            log.warning("choosing without the newest model: %s", error)
            wanted = known.model if known is not None else None
        if known is not None and known.model is wanted:
            return known
        # All who come meanwhile wait for one, which is made to the end when one of them leaves.
        making = self._making.get((organization, model))
        if making is None:
            making = self._making[organization, model] = asyncio.create_task(self._make(organization, model, wanted))
            making.add_done_callback(lambda done: self._made(organization, model, done))
        return await asyncio.shield(making)

    async def run(self) -> None:
        """Make stocks anew until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            began = self._monotonic()
            await self.renew()
            took = self._monotonic() - began
            await asyncio.sleep(max(LEAST_REST_SECONDS, REST * took))  # what changes meanwhile is taken in at once

    async def renew(self) -> None:
        """Make anew what was made of a library that has changed since."""
        for organization in self._library.organizations():
            try:
                await self._renew(organization)
            except Exception:
                log.exception("the stock of %s stays as it was", organization)

    async def _renew(self, organization: str) -> None:
        held = self._library.of(organization)
        stock = self._stocks.get(organization)
        if stock is not None and stock.revision == held.revision:
            return
        stock = await self._stock(organization)
        for (owner, model), chooser in list(self._choosers.items()):
            if owner == organization:
                self._put(organization, model, await asyncio.to_thread(Chooser, stock, chooser.model))

    async def _stock(self, organization: str) -> Stock:
        held = self._library.of(organization)
        # Titles never change, so that a thread may look at them while others come.
        stock = await asyncio.to_thread(Stock, held.revision, held.works())
        self._stocks[organization] = stock
        return stock

    async def _make(self, organization: str, model: str, factors: Factors | None) -> Chooser:
        stock = self._stocks.get(organization) or await self._stock(organization)
        made = await asyncio.to_thread(Chooser, stock, factors)
        self._put(organization, model, made)
        return made

    def _put(self, organization: str, model: str, chooser: Chooser) -> None:
        self._choosers.pop((organization, model), None)
        self._choosers[organization, model] = chooser
        if len(self._choosers) > CHOOSERS:
            del self._choosers[next(iter(self._choosers))]

    def _made(self, organization: str, model: str, done: asyncio.Task[Chooser]) -> None:
        del self._making[organization, model]
        if not done.cancelled():
            done.exception()  # whoever waited has it; nobody may have
