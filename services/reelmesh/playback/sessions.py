"""Viewings: who watches what, where its manifests are, and how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol

from reelmesh.mesh.clock import Clock, IdSource, derived_id
from reelmesh.mesh.names import SessionName, VideoName
from reelmesh.playback.errors import NothingToPlay, SessionUnknown, VideoNotPlayable, VideoUnknown
from reelmesh.playback.index import Presentations
from reelmesh.playback.presentation import Presentation
from reelmesh.playback.progress import Progress, Watching
from reelmesh.playback.tokens import MediaToken, Tokens, Viewing

TRY_AGAIN = timedelta(seconds=1)
"""When to ask again for a video that is being encoded."""


class Standing(Enum):
    """What the catalog says of a video."""

    COMING = "COMING"
    """It is being encoded."""
    PLAYABLE = "PLAYABLE"
    NONE = "NONE"
    """There is nothing to play, and nothing will come by itself."""


class Catalog(Protocol):
    """What sessions need of the catalog; peers.py has the one that asks it."""

    async def standing(self, video: VideoName) -> Standing:
        """Say where a video stands. Raises VideoUnknown, Unavailable."""


@dataclass(frozen=True, slots=True)
class Session:
    """One viewing of one video by one viewer."""

    name: SessionName
    video: VideoName
    viewer: str
    """Empty for nobody in particular."""
    duration: timedelta
    """Of the video."""
    create_time: datetime
    expire_time: datetime
    resume_position: timedelta = timedelta()
    """Where the viewer left off; follows from progress and is not kept with the session."""
    token: str = ""
    """Opens its manifests; issued anew whenever the session is asked for, like the other."""
    media_token: MediaToken | None = None
    """Opens its objects."""


class SessionStore(Protocol):
    """What sessions need of a database; store.py is the one on Cassandra."""

    async def add(self, session: Session) -> None:
        """Keep a session until its expire_time."""

    async def claim(self, session: Session) -> Session:
        """Keep a session unless there is one of that name; return the one that is there."""

    async def load(self, name: SessionName) -> Session | None:
        """Return a session; None when there is none."""


class Sessions:
    """Sessions of all viewers."""

    def __init__(
        self,
        store: SessionStore,
        watching: Watching,
        catalog: Catalog,
        presentations: Presentations,
        tokens: Tokens,
        clock: Clock,
        ids: IdSource,
        life: timedelta,
    ) -> None:
        self._store = store
        self._watching = watching
        self._catalog = catalog
        self._presentations = presentations
        self._tokens = tokens
        self._clock = clock
        self._ids = ids
        self._life = life

    async def create(self, organization: str, video: VideoName, viewer: str, request_id: str) -> Session:
        """Start a viewing, or return the one that `request_id` started before.

        Raises VideoUnknown, VideoNotPlayable.
        """
        # The name of a repeated request's session follows from the request, so it needs no table to be found again.
        id_ = derived_id(request_id, f"session of {organization}") if request_id else self._ids.new()
        name = SessionName(organization, id_)
        if request_id and (earlier := await self._store.load(name)) is not None:
            return await self._opened(earlier)
        if video.organization != organization:
            raise VideoUnknown("the organization has no such video")
        duration = await self._duration(video)
        now = self._clock.now()
        session = Session(name, video, viewer, duration, create_time=now, expire_time=now + self._life)
        if request_id:
            session = await self._store.claim(session)
        else:
            await self._store.add(session)
        return await self._opened(session)

    async def get(self, name: SessionName) -> Session:
        """Return a session with fresh tokens. Raises SessionUnknown, VideoNotPlayable."""
        return await self._opened(await self._load(name))

    async def update_progress(self, name: SessionName, position: timedelta) -> Progress:
        """Note how far a viewing is. Raises SessionUnknown, PositionBeyondEnd."""
        session = await self._load(name)
        progress = Progress(
            organization=name.organization,
            viewer=session.viewer,
            video=session.video,
            position=position,
            duration=session.duration,
            update_time=self._clock.now(),
        )
        return await self._watching.note(progress)

    async def unfinished(self, organization: str, viewer: str, size: int, after: str) -> tuple[Sequence[Progress], str]:
        """Return a page of what a viewer began and did not finish. Raises PageTokenInvalid."""
        return await self._watching.unfinished(organization, viewer, size, after)

    async def _load(self, name: SessionName) -> Session:
        session = await self._store.load(name)
        if session is None or session.expire_time <= self._clock.now():
            raise SessionUnknown("there is no such session, or it has expired")
        return session

    async def _opened(self, session: Session) -> Session:
        """Return a session with what follows from elsewhere: where to resume, and what opens it."""
        position = await self._watching.resume_position(session.name.organization, session.viewer, session.video)
        viewing = Viewing(session.name, session.video, session.expire_time)
        presentation = await self._presentation(session.video)
        return replace(
            session,
            resume_position=position,
            token=self._tokens.for_manifests(viewing),
            media_token=self._tokens.for_media(viewing, presentation),
        )

    async def _duration(self, video: VideoName) -> timedelta:
        """Return the length of a video that can be played. Raises VideoUnknown, VideoNotPlayable."""
        # The catalog knows what exists, the index what can be played: it is first to know, and last to forget.
        standing = await self._catalog.standing(video)
        if standing is Standing.NONE:
            raise VideoNotPlayable("there is nothing to play of this video")
        return (await self._presentation(video)).duration

    async def _presentation(self, video: VideoName) -> Presentation:
        try:
            return await self._presentations.get(video)
        except NothingToPlay as error:
            raise VideoNotPlayable("the video is still being encoded", retry_after=TRY_AGAIN) from error
