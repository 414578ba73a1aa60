"""Who is chosen for, and what is known of what they watched. Values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reelmesh.discovery.v1.discovery_service_pb2 import TitleSummary, ViewerContext
from reelmesh.recommend.explanations import Explanation


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks for a page."""

    organization: str
    name: str = field(repr=False)
    """Resource name of who signed in, otherwise a name that a client keeps; empty for nobody in particular."""
    context: ViewerContext = field(default_factory=ViewerContext, repr=False)
    signed_in: bool = False
    member: bool = False
    """Whether they have a role in the organization above a viewer's."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A video that a viewer watched."""

    video: str
    """Its id."""
    position: timedelta | None
    """Where they left off; None where they saw it to the end and have not begun again."""
    duration: timedelta
    finished: bool
    """True when they saw it to the end, this time or before."""

    time: datetime
    """When they last watched it."""

    @property
    def watched(self) -> timedelta:
        """How much of it they watched, as far as is known."""
        return self.duration if self.finished else self.position or timedelta()


@dataclass(frozen=True, slots=True)
class Trial:
    """The arm of an experiment that a viewer is in."""

    arm: str
    """ "experiment:arm"."""
    model: str
    """Id of the model that chooses in it; NO_MODEL for none, empty for the one that runs."""


NO_MODEL = "none"
"""In place of a model's id: choose without one."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A title that is shown."""

    title: TitleSummary
    explanation: Explanation
    because_of: Sequence[TitleSummary] = ()
    """The titles of the explanation that the viewer may find."""
    shared: Sequence[str] = ()
    """Genres and people that it has in common with those."""
    position: timedelta | None = None
    duration: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a page."""

    kind: str
    """As the contract names it."""
    titles: Sequence[Chosen]
    subject: TitleSummary | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A viewer's home page."""

    rows: Sequence[Row]
    model: str
    """Id of the model that chose; empty for none."""
    arm: str
    personal: bool
    missing: Sequence[str]
    """Parts that did not answer."""


Found = Mapping[str, TitleSummary]
"""What a viewer may find, by the id of the title."""
