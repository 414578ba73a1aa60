"""Models of an organization as they are kept: what each learned from, how it was judged, and which of them runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from reelmesh.mesh.names import ModelName


class State(StrEnum):
    """Where a model stands. That it runs is said by the shelf alone."""

    TRAINING = "TRAINING"
    READY = "READY"
    REFUSED = "REFUSED"
    FAILED = "FAILED"


class Reason(StrEnum):
    """Why a model was refused, or could not be made; part of the contract."""

    RECALL_WORSE = "RECALL_WORSE"
    NDCG_WORSE = "NDCG_WORSE"
    COVERAGE_WORSE = "COVERAGE_WORSE"
    TOO_FEW_VIEWINGS = "TOO_FEW_VIEWINGS"
    NUMBERS_INVALID = "NUMBERS_INVALID"
    ARTEFACT_DAMAGED = "ARTEFACT_DAMAGED"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a model may not run."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Data:
    """What a model learned from."""

    viewers: int
    titles: int
    interactions: int
    """Pairs of a viewer and a title."""
    start_time: datetime
    split_time: datetime
    """Viewings from here on were kept back."""
    end_time: datetime
    training_seconds: float


@dataclass(frozen=True, slots=True)
class Score:
    """Figures of one way to choose; the contract says what they mean."""

    name: str
    recall: float
    ndcg: float
    coverage: float
    popularity_bias: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good choices are."""

    viewers: int
    cutoff: int
    scores: Sequence[Score]

    def of(self, name: str) -> Score | None:
        """Return the figures of one way to choose; None where it was not judged."""
        return next((score for score in self.scores if score.name == name), None)


@dataclass(frozen=True, slots=True)
class Model:
    """A model, and the job that makes it."""

    name: ModelName
    state: State
    create_time: datetime
    request_id: str = ""
    attempt: int = 0
    """How often its training was begun; each try has a place of its own in the object store."""
    reason: str = ""
    message: str = ""
    end_time: datetime | None = None
    run_time: datetime | None = None
    """When it last began to run."""
    data: Data | None = None
    evaluation: Evaluation | None = None
    checksum: str = ""
    """SHA-256 of its manifest, in hex; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who trains a model, and until when their word holds."""

    model: str
    """Id of the model."""
    holder: str
    """Process that trains it; empty while nobody does yet."""
    end: datetime

    def free(self, now: datetime) -> bool:
        """Say whether another process may go on with it."""
        return not self.holder or self.end < now


@dataclass(frozen=True, slots=True)
class Shelf:
    """All models of an organization. Each change makes a new shelf, kept only where no other came between."""

    organization: str
    models: Mapping[str, Model] = field(default_factory=dict)
    """By id."""
    running: str = ""
    """Id of the one that runs; empty for none."""
    lease: Lease | None = None
    """Held while one is being trained."""
    revision: int = 0

    @property
    def latest_first(self) -> Sequence[Model]:
        """The models in the order of their ids, which is that of their making."""
        return [self.models[id_] for id_ in sorted(self.models, reverse=True)]

    def runs(self, model: Model) -> bool:
        """Say whether it is this one that runs."""
        return model.name.id == self.running

    def with_model(self, model: Model) -> Shelf:
        """Return the shelf with a model added, or in place of what it was."""
        return replace(self, models={**self.models, model.name.id: model})

    def without(self, *ids: str) -> Shelf:
        """Return the shelf without some models."""
        return replace(self, models={id_: model for id_, model in self.models.items() if id_ not in ids})

    def run(self, id_: str, now: datetime) -> Shelf:
        """Return the shelf with another model running."""
        return replace(self.with_model(replace(self.models[id_], run_time=now)), running=id_)

    def earlier(self) -> Model | None:
        """Return the model to go back to: the latest that ran, of those made before the one that runs.

        Who goes back twice goes back by two, and never forth again to what they left.
        """
        ran = [each for each in self.latest_first if each.state is State.READY and each.run_time is not None]
        return next((each for each in ran if each.name.id < self.running), None)


@dataclass(frozen=True, slots=True)
class Head:
    """What a shelf is looked at for every few seconds."""

    organization: str
    running: str
    lease: Lease | None
