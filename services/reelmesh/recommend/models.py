"""An organization's models: begin one, look at them, and choose which runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from reelmesh.mesh.clock import Clock, IdSource
from reelmesh.mesh.errors import Aborted
from reelmesh.mesh.names import ModelName
from reelmesh.mesh.pseudonyms import SIZE
from reelmesh.recommend.artefacts import Artefact, ArtefactDamaged, among
from reelmesh.recommend.errors import (
    ModelNotReady,
    ModelUnknown,
    NoEarlierModel,
    TooFewViewings,
    TrainingUnderWay,
    ViewersRemoved,
)
from reelmesh.recommend.model import Evaluation, Lease, Model, Shelf, State
from reelmesh.recommend.workplace import Outcome

ATTEMPTS = 10
"""Times that a change is tried again when another came between."""


class ShelfStore(Protocol):
    """What is kept of models; model_store.py has the one on Cassandra. All may raise Unavailable."""

    async def load(self, organization: str) -> Shelf:
        """Return an organization's models."""

    async def save(self, before: Shelf, after: Shelf) -> bool:
        """Keep a shelf in place of what it was; False where another change came between."""


class Files(Protocol):
    """Where models are kept; artefacts.py has it. All may raise ArtefactDamaged and Unavailable."""

    async def load(self, name: ModelName, attempt: int, checksum: str) -> Artefact:
        """Return a model."""

    async def viewers(self, name: ModelName, attempt: int, checksum: str) -> bytes | None:
        """Return the pseudonyms that a model learned from; None where the list was removed."""


class Judge(Protocol):
    """Judges models; workplace.py has it."""

    async def judge(self, model: Model, running: Model | None, split: datetime) -> Outcome:
        """Judge a model by viewings from a time on. Raises TrainerFailed, ArtefactDamaged, Unavailable."""


class Models:
    """Changes shelves."""

    def __init__(self, store: ShelfStore, files: Files, clock: Clock, ids: IdSource, wake: Callable[[], None]) -> None:
        """`wake` is called when a model was begun, or another runs."""
        self._store = store
        self._files = files
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

    async def evaluate(self, name: ModelName, judge: Judge) -> Evaluation:
        """Judge a model by the viewings since it was trained, or by those that it was judged by before.

        Raises ModelUnknown, ModelNotReady, TooFewViewings, Unavailable.
        """
        model, shelf = await self.get(name)
        if model.state is not State.READY or model.data is None:
            raise _not_ready(model)
        running = shelf.models.get(shelf.running)
        refusal = None
        for split in (model.data.end_time, model.data.split_time):
            # The one that runs must not be judged by what it learned from.
            fair = running is not None and running.data is not None and running.data.split_time <= split
            try:
                outcome = await judge.judge(model, running if fair and not shelf.runs(model) else None, split)
            except ArtefactDamaged as error:
                raise ModelNotReady(f"what is kept of the model is damaged: {error}") from error
            if outcome.evaluation is not None:
                return outcome.evaluation
            refusal = outcome.refusal
        raise TooFewViewings(refusal.message if refusal is not None else "there is too little to judge by")

    async def learned_from(self, name: ModelName, pseudonym: bytes) -> tuple[bool, int]:
        """Say whether a model learned from a viewer, and from how many.

        Raises ModelUnknown, ModelNotReady, ViewersRemoved, Unavailable.
        """
        model, _ = await self.get(name)
        if model.state is not State.READY:
            raise _not_ready(model)
        try:
            listed = await self._files.viewers(name, model.attempt, model.checksum)
        except ArtefactDamaged as error:
            raise ModelNotReady(f"what is kept of the model is damaged: {error}") from error
        if listed is None:
            raise ViewersRemoved("the list of viewers was removed when another model ran")
        return among(listed, pseudonym), len(listed) // SIZE

    async def roll_back(self, organization: str, name: ModelName | None) -> tuple[Model, Shelf]:
        """Run the model that ran before, or the named one. Raises ModelUnknown, ModelNotReady, NoEarlierModel."""

        def change(shelf: Shelf) -> Shelf:
            model = known(shelf, name) if name is not None else shelf.earlier()
            if model is None:
                raise NoEarlierModel("no model ran before this one")
            if model.state is not State.READY:
                raise _not_ready(model)
            return shelf if shelf.runs(model) else shelf.run(model.name.id, self._clock.now())

        # What is damaged must not take the place of what chooses.
        wanted = change(await self._store.load(organization))
        model = wanted.models[wanted.running]
        try:
            await self._files.load(model.name, model.attempt, model.checksum)
        except ArtefactDamaged as error:
            raise ModelNotReady(f"what is kept of the model is damaged: {error}") from error
        shelf = await changed(self._store, organization, change)
        self._wake()
        return shelf.models[shelf.running], shelf


def _not_ready(model: Model) -> ModelNotReady:
    return ModelNotReady(f"the model is {model.state.value.lower()}", state=model.state.value)


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
