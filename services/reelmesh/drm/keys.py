"""The content keys of each video: made once, kept wrapped, remembered in the clear for moments."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

from reelmesh.drm.errors import KeysUnknown, SchemeMismatch
from reelmesh.drm.model import ContentKey, KeyRow, Scheme, Wrapped
from reelmesh.drm.recent import Recent
from reelmesh.drm.wrapping import KeyWrapper
from reelmesh.mesh.clock import Clock
from reelmesh.mesh.names import VideoName

SIZE = 16
"""Bytes of a key, of its id, and of an initialization vector."""
REMEMBERED = 10_000
"""Videos whose keys one process remembers."""
REMEMBERED_SECONDS = 30.0
"""For how long. A key is never changed, only added, so nothing goes stale; it just should not lie about in memory."""

Keys = Mapping[str, ContentKey]
"""The keys of a video by label."""


@dataclass(frozen=True, slots=True, repr=False)
class Proposal:
    """What a key is to be made of; whatever is empty is made here. It is shown, and so logged, without its value."""

    key_id: bytes = b""
    iv: bytes = b""
    value: bytes = b""

    def __repr__(self) -> str:
        return f"Proposal({self.key_id.hex()})"

    def without_value(self) -> Proposal:
        """Return the same with a value to be made."""
        return replace(self, value=b"")

    def agrees(self, key: ContentKey) -> bool:
        """Tell whether a key is what was proposed."""
        return key.key_id == self.key_id and hmac.compare_digest(key.value, self.value)


class KeyStore(Protocol):
    """What keys need of a database; store.py is the one on Cassandra."""

    async def load(self, video: VideoName) -> Sequence[KeyRow]:
        """Return a video's keys."""

    async def add(self, video: VideoName, known: Sequence[KeyRow], new: Sequence[KeyRow]) -> bool:
        """Add `new`, all or nothing; False when the video's keys are no longer `known`."""

    async def remove(self, video: VideoName, known: Sequence[KeyRow]) -> bool:
        """Remove all keys of a video; False when they are no longer `known`."""

    async def rewrap(self, row: KeyRow, wrapped: Wrapped) -> bool:
        """Put another wrapping in place of the row's own; False when that is no longer there."""

    async def videos(self, after: str, size: int) -> tuple[Sequence[VideoName], str]:
        """Return up to `size` videos that have keys, behind a position, and the position of the last ("" at the end).

        Every video stands at one place of an order that has no meaning. Raises PageTokenInvalid.
        """


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What came of a page of videos whose keys were to be wrapped anew."""

    version: str
    """What they are wrapped with now."""
    examined: int
    """Keys that were looked at."""
    changed: int
    """Keys that were wrapped anew."""
    further: str
    """Position of the next page; "" after the last."""


class ContentKeys:
    """Keys of all videos."""

    def __init__(
        self,
        store: KeyStore,
        wrapper: KeyWrapper,
        clock: Clock,
        monotonic: Callable[[], float],
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._store = store
        self._wrapper = wrapper
        self._clock = clock
        self._random = random
        self._recent: Recent[VideoName, Keys] = Recent(REMEMBERED, REMEMBERED_SECONDS, monotonic)

    async def create(
        self,
        video: VideoName,
        labels: Sequence[str],
        scheme: Scheme,
        proposals: Mapping[str, Proposal] = MappingProxyType({}),
    ) -> Sequence[ContentKey]:
        """Return the keys of `labels`, made where they are missing, of what is proposed for them.

        Raises SchemeMismatch.
        """
        while True:
            known = await self._store.load(video)
            if any(row.scheme is not scheme for row in known):
                raise SchemeMismatch(f"the video's keys are for {known[0].scheme.value}")
            taken = {row.key_id for row in known}
            new = []
            for label in sorted(set(labels) - {row.label for row in known}):
                proposal = proposals.get(label, Proposal())
                if proposal.key_id in taken:
                    proposal = replace(proposal, key_id=b"")  # an id has one key
                new.append(await self._make(video, label, scheme, proposal))
            if not new or await self._store.add(video, known, new):
                break
            # Another caller added some meanwhile: theirs are the video's now.
        self._recent.drop(video)
        rows = {row.label: row for row in (*known, *new)}
        return [await self._open(rows[label]) for label in labels]

    async def of(self, video: VideoName) -> Keys:
        """Return all keys of a video by label. Raises KeysUnknown, WrappingKeyMissing."""
        keys = self._recent.get(video)
        if keys is None:
            rows = await self._store.load(video)
            if not rows:
                raise KeysUnknown("the video has no keys")
            keys = {row.label: await self._open(row) for row in rows}
            self._recent.put(video, keys)
        return keys

    async def forget(self, video: VideoName) -> None:
        """Remove the keys of a video, for good. One that has none is no error."""
        while known := await self._store.load(video):
            if await self._store.remove(video, known):
                break
            # Another key was added meanwhile: it goes too.
        self._recent.drop(video)

    async def rewrap(self, after: str, size: int) -> Rewrapped:
        """Wrap the keys of up to `size` videos behind a position under the newest wrapping key, where they are not.

        Raises PageTokenInvalid, WrappingKeyMissing.
        """
        version = await self._wrapper.newest()
        videos, further = await self._store.videos(after, size)
        rows = [row for video in videos for row in await self._store.load(video)]
        changed = 0
        for row in rows:
            if row.wrapped.version != version:
                value = await self._wrapper.unwrap(row.wrapped, row.context)
                # False: another rewrap was faster.
                changed += await self._store.rewrap(row, await self._wrapper.wrap(value, row.context))
        return Rewrapped(version, len(rows), changed, further)

    async def _make(self, video: VideoName, label: str, scheme: Scheme, proposal: Proposal) -> KeyRow:
        row = KeyRow(
            video=video,
            label=label,
            scheme=scheme,
            key_id=proposal.key_id or self._random(SIZE),
            iv=(proposal.iv or self._random(SIZE)) if scheme is Scheme.CBCS else b"",
            wrapped=Wrapped("", b""),
            create_time=self._clock.now(),
        )
        value = proposal.value or self._random(SIZE)
        return replace(row, wrapped=await self._wrapper.wrap(value, row.context))

    async def _open(self, row: KeyRow) -> ContentKey:
        value = await self._wrapper.unwrap(row.wrapped, row.context)
        return ContentKey(row.label, row.scheme, row.key_id, row.iv, row.create_time, value)
