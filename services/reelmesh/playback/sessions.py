"""Viewings: who watches what, where its manifests are, and how far it is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from reelmesh.mesh.clock import Clock, IdSource, derived_id
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import SessionName, VideoName
from reelmesh.mesh.person import Role
from reelmesh.playback.delivery import Delivery
from reelmesh.playback.endings import refuse_ended
from reelmesh.playback.errors import (
    NothingToPlay,
    SessionEnded,
    SessionShared,
    SessionUnknown,
    StreamLapsed,
    StreamTakenOver,
    VideoNotPlayable,
    VideoUnknown,
)
from reelmesh.playback.index import Presentations
from reelmesh.playback.model import Arm, Limits, Session, Standing, Times
from reelmesh.playback.presentation import Presentation
from reelmesh.playback.progress import Progress, Watched, Watching
from reelmesh.playback.streams import Streams
from reelmesh.playback.tokens import LicenseTerms, Tokens, Viewing
from reelmesh.playback.watcher import Watcher

TRY_AGAIN = timedelta(seconds=1)
"""When to ask again for a video that is being encoded."""

log = logging.getLogger(__name__)


class Catalog(Protocol):
    """What sessions need of the catalog; peers.py has the one that asks it."""

    async def standing(self, video: VideoName) -> Standing:
        """Say where a video stands. Raises VideoUnknown, Unavailable."""


class Entitlements(Protocol):
    """What sessions need of billing; peers.py has the one that asks it."""

    async def begin(self, video: VideoName, watcher: Watcher) -> Limits:
        """Say what a viewer may do who begins to watch. Raises NotEntitled, Unavailable."""

    async def check(self, video: VideoName, watcher: Watcher) -> Limits:
        """Say what a viewer may do who watches. Raises NotEntitled, Unavailable."""


class Experiments(Protocol):
    """What sessions need of analytics; peers.py has the one that asks it."""

    async def assign(self, session: SessionName, viewer: str) -> Sequence[Arm]:
        """Put a viewing in an arm of each experiment that runs. Raises Unavailable."""


class SessionStore(Protocol):
    """What sessions need of a database; store.py is the one on Cassandra."""

    async def add(self, session: Session) -> None:
        """Keep a session until its expire_time."""

    async def claim(self, session: Session) -> Session:
        """Keep a session unless there is one of that name; return the one that is there."""

    async def load(self, name: SessionName) -> Session | None:
        """Return a session; None when there is none."""

    async def name(self, request: str, new: SessionName) -> SessionName:
        """Return the name that a request's session was given before, or give it the new one."""

    async def note_place(self, session: Session, place: str) -> None:
        """Add a place to those of a session."""

    async def end(self, session: Session, reason: str) -> None:
        """Note why a session has ended."""


class Sessions:
    """Sessions of all viewers."""

    def __init__(
        self,
        store: SessionStore,
        watching: Watching,
        catalog: Catalog,
        entitlements: Entitlements,
        experiments: Experiments,
        streams: Streams,
        delivery: Delivery,
        presentations: Presentations,
        tokens: Tokens,
        clock: Clock,
        ids: IdSource,
        times: Times,
        places: int,
    ) -> None:
        """`places` is from how many a signed-in viewer may keep one session."""
        self._store = store
        self._watching = watching
        self._catalog = catalog
        self._entitlements = entitlements
        self._experiments = experiments
        self._streams = streams
        self._delivery = delivery
        self._presentations = presentations
        self._tokens = tokens
        self._clock = clock
        self._ids = ids
        self._times = times
        self._places = places

    async def create(
        self, organization: str, video: VideoName, watcher: Watcher, request_id: str, *, take_over: bool = False
    ) -> Session:
        """Start a viewing, or return the one that `request_id` started before.

        Raises VideoUnknown, VideoNotPlayable, NotEntitled, StreamLimit.
        """
        name = SessionName(organization, self._ids.new())
        if request_id:
            # Another viewer's request of the same id is another request.
            request = derived_id(request_id, f"session of {organization} for {watcher.viewer}")
            name = await self._store.name(request, name)
        if request_id and await self._store.load(name) is not None:
            return await self.keep(name, watcher)
        if video.organization != organization:
            raise VideoUnknown("the organization has no such video")
        duration = await self._duration(video)
        limits = await self._entitlements.begin(video, watcher)
        await self._hold(name, watcher.user, limits, take_over=take_over)
        now = self._clock.now()
        session = Session(
            name,
            video,
            watcher.viewer,
            duration,
            now,
            now + self._times.session,
            watcher.device,
            experiments=await self._arms(name, watcher.viewer),
        )
        if request_id:
            session = await self._store.claim(session)
        else:
            await self._store.add(session)
        if watcher.user:
            await self._store.note_place(session, watcher.place)
        return await self._opened(session, limits, watcher.country)

    async def get(self, name: SessionName, watcher: Watcher) -> Session:
        """Return a session with fresh tokens.

        Raises SessionUnknown, SessionOver, VideoNotPlayable, NotEntitled, StreamLapsed.
        """
        session, limits = await self._going_on(name, watcher)
        if not await self._streams.holds(name, session.user, limits.concurrent_streams):
            raise StreamLapsed("the viewing has no place any more: keep it")
        return await self._opened(session, limits, watcher.country)

    async def keep(self, name: SessionName, watcher: Watcher) -> Session:
        """Go on, and return the session with fresh tokens.

        Raises SessionUnknown, SessionOver, VideoNotPlayable, NotEntitled, StreamLimit.
        """
        session, limits = await self._going_on(name, watcher)
        if session.user and watcher.place not in session.places:
            await self._arrive(session, watcher.place)
        await self._hold(name, session.user, limits)
        return await self._opened(session, limits, watcher.country)

    async def end(self, name: SessionName, watcher: Watcher) -> None:
        """End a viewing; owners of the organization may end anyone's. Raises SessionUnknown."""
        session = await self._load(name)
        if watcher.role < Role.OWNER:
            _own(session, watcher)
        if not session.end_reason:
            await self._end(session, SessionEnded.reason)

    async def update_progress(self, name: SessionName, watcher: Watcher, position: timedelta) -> Progress:
        """Note how far a viewing is. Raises SessionUnknown, PositionBeyondEnd."""
        session = _own(await self._load(name), watcher)
        progress = Progress(
            organization=name.organization,
            viewer=session.viewer,
            video=session.video,
            position=position,
            duration=session.duration,
            update_time=self._clock.now(),
        )
        noted = await self._watching.note(progress)
        await self._delivery.note(session, noted.update_time, noted.position)
        return noted

    async def unfinished(self, organization: str, viewer: str, size: int, after: str) -> tuple[Sequence[Progress], str]:
        """Return a page of what a viewer began and did not finish. Raises PageTokenInvalid."""
        return await self._watching.unfinished(organization, viewer, size, after)

    async def history(self, organization: str, viewer: str, size: int) -> Sequence[Watched]:
        """Return the latest videos that a viewer watched, latest first."""
        return await self._watching.history(organization, viewer, size)

    async def _load(self, name: SessionName) -> Session:
        session = await self._store.load(name)
        if session is None or session.expire_time <= self._clock.now():
            raise SessionUnknown("there is no such session, or it has expired")
        return session

    async def _going_on(self, name: SessionName, watcher: Watcher) -> tuple[Session, Limits]:
        """Return a session that has not ended, of someone who may still watch, and what they may do."""
        session = _own(await self._load(name), watcher)
        refuse_ended(session.end_reason)
        limits = await self._entitlements.check(session.video, replace(watcher, device=session.device))
        return session, limits

    async def _arrive(self, session: Session, place: str) -> None:
        """Note that a session is kept from another place. Raises SessionShared where there are too many."""
        if len(session.places) >= self._places:
            log.warning("%s is kept from more than %d places", session.name, self._places)
            await self._end(session, SessionShared.reason)
            raise SessionShared("the viewing is kept from too many places", places=self._places)
        await self._store.note_place(session, place)

    async def _hold(self, name: SessionName, user: str, limits: Limits, *, take_over: bool = False) -> None:
        for displaced in await self._streams.hold(name, user, limits.concurrent_streams, take_over=take_over):
            session = await self._store.load(displaced)
            if session is not None:
                await self._store.end(session, StreamTakenOver.reason)

    async def _end(self, session: Session, reason: str) -> None:
        await self._store.end(session, reason)
        await self._streams.free(session.name, session.user)

    async def _arms(self, name: SessionName, viewer: str) -> tuple[Arm, ...]:
        """Return the arms of a viewing; none where nobody can say, since nobody waits for an experiment to watch."""
        try:
            return tuple(sorted(await self._experiments.assign(name, viewer), key=str))
        except Unavailable as error:
            log.warning("%s takes part in no experiment: %s", name, error)
            return ()

    async def _opened(self, session: Session, limits: Limits, country: str) -> Session:
        """Return a session with what follows from elsewhere: where to resume, and what opens it."""
        position = await self._watching.resume_position(session.name.organization, session.viewer, session.video)
        viewing = Viewing(session.name, session.video, session.expire_time, frozenset(limits.labels))
        presentation = await self._presentation(session.video)
        return replace(
            session,
            resume_position=position,
            token=self._tokens.for_manifests(viewing),
            media_token=self._tokens.for_media(viewing, presentation),
            license_token=self._license_token(viewing, session.user, limits) if presentation.protected else "",
            telemetry_token=self._tokens.for_telemetry(
                viewing, session.viewer, country, [str(arm) for arm in session.experiments]
            ),
        )

    def _license_token(self, viewing: Viewing, user: str, limits: Limits) -> str:
        # Where it has to be kept to go on, its licenses do too: who loses the right to watch gets no further one.
        renewal = self._times.keep if limits.license_renewal is None else limits.license_renewal
        terms = LicenseTerms(
            limits.labels, limits.license_duration or self._times.license, renewal, persistent=limits.offline
        )
        return self._tokens.for_licenses(viewing, user, terms, self._times.keep + self._times.grace)

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


def _own(session: Session, watcher: Watcher) -> Session:
    """Return a session of the watcher's own. Raises SessionUnknown for another's, as if there were none."""
    if session.user and session.user != watcher.user:
        raise SessionUnknown("there is no such session, or it has expired")
    return session
