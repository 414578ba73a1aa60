"""Manifests as they are served: written once for each state of a presentation, then made out to who asks for them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from html import escape

from reelmesh.mesh.clock import Clock
from reelmesh.mesh.lru import Lru
from reelmesh.mesh.names import VideoName
from reelmesh.playback import dash, hls
from reelmesh.playback.endings import Endings
from reelmesh.playback.errors import NothingToPlay, TrackUnknown
from reelmesh.playback.index import Presentations
from reelmesh.playback.presentation import Presentation
from reelmesh.playback.tokens import Tokens, Viewing

# One viewer's, for the tokens in it.
GROWING = "private, max-age=1"
FINAL = "private, max-age=60"
_PLACE = "0query0"
"""Where the query goes in what is written once. No address of ours contains it."""
_QUERY = f"?{_PLACE}"
CAPACITY = 64 << 20
"""Bytes of manifests held by one process."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest and its headers."""

    content_type: str
    body: bytes
    etag: str
    """Strong (RFC 9110, 8.8.3), in its quotes; the same bytes have the same one in every process."""
    cache_control: str


class Manifests:
    """Manifests of all videos."""

    def __init__(
        self,
        presentations: Presentations,
        tokens: Tokens,
        endings: Endings,
        clock: Clock,
        media_url: str,
        capacity: int = CAPACITY,
    ) -> None:
        """`media_url` is where players fetch the media store: a path of the manifests' host, or a URL."""
        self._presentations = presentations
        self._tokens = tokens
        self._endings = endings
        self._clock = clock
        self._media_url = media_url.rstrip("/")
        self._written: Lru[tuple[VideoName, str, int, bool, str], Manifest] = Lru(
            capacity, lambda manifest: 512 + len(manifest.body)
        )

    async def hls_multivariant(self, video: VideoName, token: str) -> Manifest:
        """Return the HLS multivariant playlist.

        Raises as `Tokens.viewing` does, SessionOver, NothingToPlay, Unavailable.
        """
        presentation = await self._get(await self._viewing(token, video))
        written = self._once(
            presentation, "hls", hls.CONTENT_TYPE, lambda: hls.multivariant(presentation, _QUERY).encode()
        )
        return _made_out(written, f"token={token}")  # the playlists that it names are manifests too

    async def hls_media(self, video: VideoName, track_id: str, token: str) -> Manifest:
        """Return the HLS playlist of one track. Raises as `hls_multivariant` does, and TrackUnknown."""
        viewing = await self._viewing(token, video)
        presentation = await self._get(viewing)
        track = presentation.track(track_id)
        if track is None:
            raise TrackUnknown("the presentation has no such track", track=track_id)
        written = self._once(
            presentation,
            f"hls {track_id}",
            hls.CONTENT_TYPE,
            lambda: hls.media(presentation, track, self._media_url, _QUERY).encode(),
        )
        return _made_out(written, self._tokens.for_media(viewing, presentation).query)

    async def dash(self, video: VideoName, token: str) -> Manifest:
        """Return the DASH MPD. Raises as `hls_multivariant` does."""
        viewing = await self._viewing(token, video)
        presentation = await self._get(viewing)
        written = self._once(
            presentation,
            "dash",
            dash.CONTENT_TYPE,
            lambda: dash.mpd(presentation, self._media_url, _QUERY, self._clock.now()),
        )
        return _made_out(written, escape(self._tokens.for_media(viewing, presentation).query))

    async def _viewing(self, token: str, video: VideoName) -> Viewing:
        viewing = self._tokens.viewing(token, video)
        await self._endings.refuse(viewing.session)
        return viewing

    async def _get(self, viewing: Viewing) -> Presentation:
        whole = await self._presentations.get(viewing.video)
        # A rendition that a viewer may not see is not offered: the player would ask for its key, or switch to it.
        presentation = whole.within(viewing.labels)
        if not presentation.tracks:
            raise NothingToPlay("nothing of this video can be played yet, or nothing that the viewing allows")
        return presentation

    def _once(self, presentation: Presentation, which: str, content_type: str, write: Callable[[], bytes]) -> Manifest:
        tracks = " ".join(track.id for track in presentation.tracks)
        key = (presentation.video, presentation.job, presentation.revision, presentation.complete, f"{which} {tracks}")
        manifest = self._written.get(key)
        if manifest is None:
            body = write()
            manifest = Manifest(content_type, body, _etag(body), FINAL if presentation.complete else GROWING)
            self._written.put(key, manifest)
        return manifest


def _made_out(written: Manifest, query: str) -> Manifest:
    body = written.body.replace(_PLACE.encode(), query.encode())
    return replace(written, body=body, etag=_etag(written.etag.encode(), query.encode()))


def _etag(*parts: bytes) -> str:
    return f'"{hashlib.sha256(b" ".join(parts)).hexdigest()[:32]}"'
