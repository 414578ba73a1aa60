"""Grants: what viewers have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from reelmesh.billing.errors import GrantUnknown
from reelmesh.billing.model import Grant, GrantKind, GrantName
from reelmesh.mesh.clock import Clock, IdSource, derived_id
from reelmesh.mesh.names import VideoName


class GrantStore(Protocol):
    """What grants need of a database; store.py is the one on Cassandra. Every method may raise Unavailable."""

    async def all(self, organization: str, user: str) -> Sequence[Grant]:
        """Return all that a viewer has or had in an organization, newest first."""

    async def load(self, name: GrantName) -> Grant | None:
        """Return a grant; None when there is none."""

    async def add(self, grant: Grant) -> Grant:
        """Keep a grant unless there is one of that name; return the one that is there."""

    async def revoke(self, name: GrantName, time: datetime) -> None:
        """Note that it was taken back, unless it was before."""

    async def begin(self, name: GrantName, time: datetime) -> None:
        """Note a rental's first play, unless there was one before."""


class Grants:
    """Grants of all viewers."""

    def __init__(self, store: GrantStore, clock: Clock, ids: IdSource) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids

    async def give(
        self, organization: str, user: str, plan: str, video: VideoName | None, expire: datetime | None, request_id: str
    ) -> Grant:
        """Give a viewer something by hand: a plan, a video, or with neither everything of the organization."""
        id_ = derived_id(request_id, f"grant of {organization} to {user}") if request_id else self._ids.new()
        name = GrantName(organization, user, id_)
        grant = Grant(name, GrantKind.GIFT, self._clock.now(), plan=plan, video=video, expire_time=expire)
        return await self._store.add(grant)

    async def revoke(self, name: GrantName) -> Grant:
        """Take a grant back. Raises GrantUnknown."""
        grant = await self._store.load(name)
        if grant is None:
            raise GrantUnknown("there is no such grant")
        if grant.revoke_time is None:
            grant = replace(grant, revoke_time=self._clock.now())
            await self._store.revoke(name, self._clock.now())
        return grant

    async def list(self, organization: str, user: str, size: int, after: str) -> tuple[Sequence[Grant], str]:
        """Return a page of a viewer's grants, newest first, and what asks for the next one; it is empty on the last."""
        grants = [grant for grant in await self._store.all(organization, user) if not after or grant.name.id < after]
        return grants[:size], grants[size - 1].name.id if len(grants) > size else ""
