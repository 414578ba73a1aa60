"""Policies: named, in versions that stay readable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from reelmesh.billing.errors import PolicyContradictory, PolicyUnknown
from reelmesh.billing.model import DEFAULT, Kind, Policy, PolicyName, Terms
from reelmesh.mesh.clock import Clock
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import VideoName

ATTEMPTS = 8
"""Times that a change is tried anew because someone else made a version in between."""


class PolicyStore(Protocol):
    """What policies need of a database; store.py is the one on Cassandra. Every method may raise Unavailable."""

    async def newest(self, name: PolicyName) -> Policy | None:
        """Return the newest version of a policy; None when there is none."""

    async def version(self, name: PolicyName, version: int) -> Policy | None:
        """Return a version of a policy; None when there is none."""

    async def add(self, policy: Policy) -> bool:
        """Keep a version; False when there is one of that number."""

    async def names(self, organization: str, after: str, size: int) -> Sequence[PolicyName]:
        """Return up to `size` names of an organization's policies, by id, after the id `after`."""

    async def assign(self, video: VideoName, policy: str) -> None:
        """Say which policy, by its id, governs a video; empty for none of its own."""

    async def assigned(self, video: VideoName) -> str:
        """Return the id of the policy of a video; empty for none of its own."""


class Policies:
    """Policies of all organizations."""

    def __init__(self, store: PolicyStore, clock: Clock, installation: Terms) -> None:
        """`installation` holds where an organization says nothing."""
        self._store = store
        self._clock = clock
        self._installation = Policy(None, 0, installation)

    async def set(self, name: PolicyName, terms: Terms) -> Policy:
        """Make a policy or a version of it; what is so already is left. Raises PolicyContradictory."""
        _check(name, terms)
        for _ in range(ATTEMPTS):
            newest = await self._store.newest(name)
            if newest is not None and newest.terms == terms:
                return newest
            policy = Policy(name, newest.version + 1 if newest else 1, terms, self._clock.now())
            if await self._store.add(policy):
                return policy
        raise Unavailable("too many change the policy at once")

    async def get(self, name: PolicyName, version: int = 0) -> Policy:
        """Return a version of a policy, the newest for 0. Raises PolicyUnknown."""
        policy = await (self._store.version(name, version) if version else self._store.newest(name))
        if policy is None:
            raise PolicyUnknown("there is no such policy, or no such version of it")
        return policy

    async def list(self, organization: str, size: int, after: str) -> tuple[Sequence[Policy], str]:
        """Return a page of newest versions, by id, and what asks for the next one; it is empty on the last."""
        names = await self._store.names(organization, after, size + 1)
        found = [await self._store.newest(name) for name in names[:size]]
        # A name whose first version was never written is skipped.
        return [policy for policy in found if policy is not None], names[size - 1].id if len(names) > size else ""

    async def assign(self, video: VideoName, policy: PolicyName | None) -> None:
        """Say which policy governs a video; None for the organization's default. Raises PolicyUnknown."""
        if policy is not None:
            if policy.organization != video.organization:
                raise PolicyUnknown("the policy belongs to another organization")
            await self.get(policy)
        await self._store.assign(video, policy.id if policy else "")

    async def of(self, video: VideoName) -> Policy:
        """Return the policy that governs a video now."""
        own = await self._store.assigned(video)
        policy = await self._store.newest(PolicyName(video.organization, own or DEFAULT))
        return policy or self._installation


def _check(name: PolicyName, terms: Terms) -> None:
    problems: list[tuple[str, str]] = []
    if terms.kind is Kind.SUBSCRIPTION and not terms.plans:
        problems.append(("policy.plans", "a subscription needs a plan"))
    if terms.start_time and terms.end_time and terms.end_time <= terms.start_time:
        problems.append(("policy.end_time", "must lie behind start_time"))
    if set(terms.allowed_countries) & set(terms.denied_countries):
        problems.append(("policy.denied_countries", "names a country that is allowed"))
    foreign = f"organizations/{name.organization}/"
    if any(not offer.startswith(foreign) for offer in (*terms.plans, *terms.prices)):
        problems.append(("policy.plans", "plans and prices must be of the same organization"))
    if problems:
        raise PolicyContradictory(f"{problems[0][0]}: {problems[0][1]}", violations=problems)
