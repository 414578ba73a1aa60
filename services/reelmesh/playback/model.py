"""Viewings as playback knows them. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from reelmesh.mesh.names import SessionName, VideoName
from reelmesh.playback.tokens import MediaToken


class Standing(Enum):
    """What the catalog says of a video."""

    COMING = "COMING"
    """It is being encoded."""
    PLAYABLE = "PLAYABLE"
    NONE = "NONE"
    """There is nothing to play, and nothing will come by itself."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What billing allows a viewer."""

    concurrent_streams: int
    """Viewings at once; any number where it is 0."""
    labels: tuple[str, ...]
    """What keys they are given."""
    offline: bool
    """Whether licenses may be kept."""
    license_duration: timedelta | None = None
    license_renewal: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Times:
    """How long things last."""

    session: timedelta
    """A session."""
    keep: timedelta
    """How often it is kept."""
    grace: timedelta
    """How much later it gives its place up."""
    license: timedelta
    """A license, where billing does not say."""


@dataclass(frozen=True, slots=True)
class Arm:
    """The arm of an experiment that a viewing is in."""

    experiment: str
    arm: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    """What the player is told."""

    def __str__(self) -> str:
        return f"{self.experiment}:{self.arm}"


@dataclass(frozen=True, slots=True)
class Session:
    """One viewing of one video by one viewer."""

    name: SessionName
    video: VideoName
    viewer: str
    """Resource name of who signed in, otherwise a name that a client keeps; empty for nobody in particular."""
    duration: timedelta
    """Of the video."""
    create_time: datetime
    expire_time: datetime
    device: str = ""
    """Name that the client keeps for its device."""
    places: frozenset[str] = frozenset()
    """From where a signed-in viewer kept it."""
    experiments: tuple[Arm, ...] = ()
    """Arms that it was put in when it began."""
    end_reason: str = ""
    """Why it has ended before its time; empty while it has not."""
    resume_position: timedelta = timedelta()
    """Where the viewer left off; follows from progress and is not kept with the session."""
    token: str = ""
    """Opens its manifests; issued anew whenever the session is asked for, like the other."""
    media_token: MediaToken | None = None
    """Opens its objects."""
    license_token: str = ""
    """Opens its licenses; empty where nothing is encrypted."""
    telemetry_token: str = ""
    """Says whose telemetry it is."""

    @property
    def user(self) -> str:
        """Resource name of who signed in; empty for who did not."""
        return self.viewer if "/" in self.viewer else ""
