"""Whether a viewer's history is used. Who says no is kept under a pseudonym, and nothing else of them.

An opt-out holds from the next request on: it is read for each, and never remembered here. It stays as long as the
account does and goes with it, since nothing is left that it would be about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class OptOutStore(Protocol):
    """What is kept of it; personalization_store.py has the one on Cassandra. All may raise Unavailable."""

    async def add(self, organization: str, viewer: bytes) -> None:
        """Keep that a viewer, given by their pseudonym, opted out."""

    async def remove(self, organization: str, viewer: bytes) -> None:
        """Keep no longer that a viewer opted out."""

    async def has(self, organization: str, viewer: bytes) -> bool:
        """Tell whether a viewer opted out."""

    async def all(self, organization: str) -> frozenset[bytes]:
        """Return the pseudonyms of all who opted out."""


class Personalization:
    """Viewers' word on whether their history is used."""

    def __init__(self, store: OptOutStore, pseudonym: Callable[[str, str], bytes]) -> None:
        """`pseudonym` names a viewer of an organization by a keyed hash, the same as the warehouse knows them by."""
        self._store = store
        self._pseudonym = pseudonym

    async def enabled(self, organization: str, viewer: str) -> bool:
        """Tell whether a viewer's history is used. Raises Unavailable."""
        return not await self._store.has(organization, self._pseudonym(organization, viewer))

    async def set(self, organization: str, viewer: str, *, enabled: bool) -> None:
        """Say whether it is. Raises Unavailable."""
        change = self._store.remove if enabled else self._store.add
        await change(organization, self._pseudonym(organization, viewer))

    async def opted_out(self, organization: str) -> frozenset[bytes]:
        """Return the pseudonyms of all who opted out: no model learns from them. Raises Unavailable."""
        return await self._store.all(organization)

    async def forget(self, organization: str, viewer: str) -> None:
        """Keep nothing of a viewer. Raises Unavailable."""
        await self._store.remove(organization, self._pseudonym(organization, viewer))
