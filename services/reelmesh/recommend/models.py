"""An organization's models: begin one, look at them, and choose which runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from reelmesh.mesh.clock import Clock, IdSource
from reelmesh.mesh.errors import Aborted
from reelmesh.mesh.names import ModelName
from reelmesh.recommend.errors import ModelNotReady, ModelUnknown, NoEarlierModel, TrainingUnderWay
from reelmesh.recommend.model import Lease, Model, Shelf, State

ATTEMPTS = 10
"""Times that a change is tried again when another came between."""


class ShelfStore(Protocol):
    """What is kept of models; model_store.py has the one on Cassandra. All may raise Unavailable."""

    async def load(self, organization: str) -> Shelf:
        """Return an organization's models."""

    async def save(self, before: Shelf, after: Shelf) -> bool:
        """Keep a shelf in place of what it was; False where another change came between."""


class Models:
    """Changes shelves."""

    def __init__(self, store: ShelfStore, clock: Clock, ids: IdSource, wake: Callable[[], None]) -> None:
        """`wake` tells the trainer of this process that there is something to do."""
        self._store = store
        self._clock = clock
        self._ids = ids
        self._wake = wake

    async def begin(self, organization: str, request_id: str = "") -> tuple[Model, Shelf]:
        """Begin a model. Raises TrainingUnderWay, Unavailable."""
        id_ = self._ids.new()

        def change(shelf: Shelf) -> Shelf:
            if request_id and any(each.request_id == request_id for each in shelf.models.values()):
                return shelf
            if shelf.lease is not None:
                raise TrainingUnderWay("a model is being trained", model=ModelName(organization, shelf.lease.model))
            now = self._clock.now()
            model = Model(ModelName(organization, id_), State.TRAINING, now, request_id)
            return replace(shelf.with_model(model), lease=Lease(id_, "", now))

        shelf = await changed(self._store, organization, change)
        self._wake()
        asked = (each for each in shelf.models.values() if request_id and each.request_id == request_id)
        return next(asked, None) or shelf.models[id_], shelf

    async def get(self, name: ModelName) -> tuple[Model, Shelf]:
        """Return a model, and the shelf it is on. Raises ModelUnknown, Unavailable."""
        shelf = await self._store.load(name.organization)
        return known(shelf, name), shelf

    async def list(self, organization: str, after: str, size: int) -> tuple[Sequence[Model], str, Shelf]:
        """Return up to `size` models, latest first, made before the one of id `after`, and after which the next come.

        `after` is empty for the first page, and what is returned is on the last. Raises Unavailable.
        """
        shelf = await self._store.load(organization)
        found = [each for each in shelf.latest_first if not after or each.name.id < after]
        return found[:size], found[size - 1].name.id if len(found) > size else "", shelf

    async def roll_back(self, organization: str, name: ModelName | None) -> tuple[Model, Shelf]:
        """Run the model that ran before, or the named one. Raises ModelUnknown, ModelNotReady, NoEarlierModel."""

        def change(shelf: Shelf) -> Shelf:
            model = known(shelf, name) if name is not None else shelf.earlier()
            if model is None:
                raise NoEarlierModel("no model ran before this one")
            if model.state is not State.READY:
                raise ModelNotReady(f"the model is {model.state.value.lower()}", state=model.state.value)
            return shelf if shelf.runs(model) else shelf.run(model.name.id, self._clock.now())

        shelf = await changed(self._store, organization, change)
        self._wake()
        return shelf.models[shelf.running], shelf


def known(shelf: Shelf, name: ModelName) -> Model:
    """Return a model of a shelf. Raises ModelUnknown."""
    if name.id not in shelf.models:
        raise ModelUnknown("there is no such model")
    return shelf.models[name.id]


async def changed(store: ShelfStore, organization: str, change: Callable[[Shelf], Shelf]) -> Shelf:
    """Change a shelf and return what it became; `change` returns the same one where there is nothing to change.

    Raises what `change` raises, Aborted where too many others change it, and Unavailable: then nobody knows whether it
    was changed.
    """
    for _ in range(ATTEMPTS):
        before = await store.load(organization)
        after = change(before)
        if after is before:
            return before
        if await store.save(before, after):
            return replace(after, revision=before.revision + 1)
    raise Aborted("too many others change the models")
