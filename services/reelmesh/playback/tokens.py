"""Tokens of a viewing: one opens its manifests, short-lived ones open the objects of its presentation and its licenses.

All are signed. Playback checks the first on every manifest; Envoy checks the second on every object: the path that is
asked for must begin with the one in the token; the drm service checks the third. What a copied address opens is this
presentation, until it expires.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from reelmesh.mesh.clock import Clock
from reelmesh.mesh.keys import KeyRing, TokenForged
from reelmesh.mesh.lru import Lru
from reelmesh.mesh.names import SessionName, VideoName
from reelmesh.playback.cdn import ISSUER, MediaSigner
from reelmesh.playback.errors import TokenExpired, TokenInvalid, TokenOfOtherVideo, TokenRequired
from reelmesh.playback.presentation import Presentation

MANIFESTS = "manifests"
"""Audience of a token that opens manifests."""
LICENSES = "licenses"
"""Audience of a token that opens licenses."""
TELEMETRY = "telemetry"
"""Audience of a token that says whose telemetry it is."""
LATE = timedelta(hours=2)
"""How long after its end a viewing may still tell what it measured."""
HELD = 100_000
"""Media tokens that one process remembers, so that a player's next manifest carries the same one."""


@dataclass(frozen=True, slots=True)
class Viewing:
    """Whose token it is."""

    session: SessionName
    video: VideoName
    expire_time: datetime
    """When the session ends, and every token of it at the latest."""
    labels: frozenset[str] = frozenset()
    """What it may be of: "AUDIO", "SD", "HD", "UHD"."""


@dataclass(frozen=True, slots=True)
class LicenseTerms:
    """What licenses a viewing may have."""

    labels: tuple[str, ...]
    """What the keys are for: "AUDIO", "SD", "HD", "UHD"."""
    duration: timedelta
    """How long a license may be used."""
    renewal: timedelta
    """After how long it has to be renewed; zero for never."""
    persistent: bool
    """Whether it may be kept, to play without a network."""


@dataclass(frozen=True, slots=True)
class MediaToken:
    """Opens the objects of one presentation."""

    query: str
    """What ends their addresses, without the question mark."""
    expire_time: datetime

    @property
    def text(self) -> str:
        """The token of our own gateway alone, which a player can put in place of another; empty for a CDN's."""
        name, _, text = self.query.partition("=")
        return text if name == "token" else ""


class Tokens:
    """Issues and checks tokens."""

    def __init__(self, keys: KeyRing, media: MediaSigner, clock: Clock, life: timedelta) -> None:
        """`media` signs for whoever serves the media store; `life` is how long what it signs is good for."""
        self._keys = keys
        self._media = media
        self._clock = clock
        self._life = life
        self._issued: Lru[tuple[SessionName, str], MediaToken] = Lru(HELD, lambda _: 1)

    def for_manifests(self, viewing: Viewing) -> str:
        """Return the token that opens a viewing's manifests."""
        claims = {"video": str(viewing.video), "labels": sorted(viewing.labels)}
        return self._sign(MANIFESTS, viewing.session, viewing.expire_time, **claims)

    def for_media(self, viewing: Viewing, presentation: Presentation) -> MediaToken:
        """Return the token that opens a presentation's objects.

        A growing manifest is fetched again and again, and brings new tokens. A complete one is fetched once: its token
        lasts as long as the film and a `life` more, for players that do not know how to renew it.
        """
        key = (viewing.session, presentation.prefix)
        film = presentation.duration if presentation.complete else timedelta()
        now = self._clock.now()
        token = self._issued.get(key)
        # One that is good for a while yet is given again: a playlist that grows should not rewrite what it has listed.
        if token is None or token.expire_time - now < min(film + self._life / 2, viewing.expire_time - now):
            expire_time = min(now + film + self._life, viewing.expire_time)
            query = self._media.query(str(viewing.session), presentation.prefix, expire_time)
            token = MediaToken(query, expire_time)
            self._issued.put(key, token)
        return token

    def for_licenses(self, viewing: Viewing, viewer: str, terms: LicenseTerms, life: timedelta) -> str:
        """Return the token that opens a viewing's licenses for `life` from now.

        `viewer` is the subject of who signed in. The drm service asks nobody further: it believes this token.
        """
        return self._sign(
            LICENSES,
            viewing.session,
            min(self._clock.now() + life, viewing.expire_time),
            video=str(viewing.video),
            labels=list(terms.labels),
            seconds=int(terms.duration.total_seconds()),
            renew=int(terms.renewal.total_seconds()),
            persist=terms.persistent,
            viewer=viewer,
        )

    def for_telemetry(self, viewing: Viewing, viewer: str, country: str, experiments: Sequence[str]) -> str:
        """Return the token by which what is measured is known to be of a viewing.

        `experiments` are its arms, "experiment:arm" each. The door believes this token and asks nobody further.
        """
        return self._sign(
            TELEMETRY,
            viewing.session,
            viewing.expire_time + LATE,
            video=str(viewing.video),
            viewer=viewer,
            country=country,
            experiments=sorted(experiments),
        )

    def viewing(self, token: str, video: VideoName) -> Viewing:
        """Return whose token for the manifests of `video` this is.

        Raises TokenRequired, TokenInvalid, TokenExpired, TokenOfOtherVideo.
        """
        if not token:
            raise TokenRequired("the address lacks its token: ask for a playback session")
        try:
            claims = self._keys.read(token, issuer=ISSUER, audience=MANIFESTS)
            session, of = SessionName.parse(claims["sub"]), VideoName.parse(claims["video"])
            expire_time, labels = datetime.fromtimestamp(int(claims["exp"]), UTC), frozenset(claims["labels"])
        except (TokenForged, KeyError, ValueError) as error:
            raise TokenInvalid("the token is not one of ours") from error
        if expire_time <= self._clock.now():
            raise TokenExpired("the viewing is over: ask for another playback session")
        if of != video:
            raise TokenOfOtherVideo("the token is for another video")
        return Viewing(session, of, expire_time, labels)

    def _sign(self, audience: str, session: SessionName, expire_time: datetime, **claims: Any) -> str:
        common = {"iss": ISSUER, "aud": audience, "sub": str(session), "exp": int(expire_time.timestamp())}
        return self._keys.sign({**common, **claims})
