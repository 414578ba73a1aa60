"""Entitlements: who may watch what, now."""

from __future__ import annotations

from typing import Protocol

from reelmesh.billing.grants import GrantStore
from reelmesh.billing.model import Decision, GrantKind, Viewer
from reelmesh.billing.policies import Policies
from reelmesh.billing.rules import Case, decide
from reelmesh.mesh.clock import Clock
from reelmesh.mesh.names import VideoName


class DeviceStore(Protocol):
    """Devices on which viewers watched in the last month. Every method may raise Unavailable."""

    async def used(self, organization: str, user: str) -> frozenset[str]:
        """Return the devices of a viewer."""

    async def note(self, organization: str, user: str, device: str) -> None:
        """Remember a device for a month from now."""


class Entitlements:
    """Decides for all organizations."""

    def __init__(self, policies: Policies, grants: GrantStore, devices: DeviceStore, clock: Clock) -> None:
        self._policies = policies
        self._grants = grants
        self._devices = devices
        self._clock = clock

    async def check(self, video: VideoName, viewer: Viewer) -> Decision:
        """Decide whether a viewer may watch a video now."""
        policy = await self._policies.of(video)
        known = viewer.user.startswith("users/")
        counted = known and policy.terms.devices > 0
        case = Case(
            policy,
            video,
            viewer,
            grants=await self._grants.all(video.organization, viewer.user) if known else (),
            devices=await self._devices.used(video.organization, viewer.user) if counted else frozenset(),
            now=self._clock.now(),
        )
        return decide(case)

    async def begin(self, video: VideoName, viewer: Viewer) -> Decision:
        """Decide, and where the answer is yes note that the viewing begins.

        Two new devices that begin at the same moment may both be let in; the next one is not.
        """
        decision = await self.check(video, viewer)
        grant = decision.grant
        if grant is not None and grant.kind is GrantKind.RENTAL:
            await self._grants.begin(grant.name, self._clock.now())
        if decision.allowed and decision.policy.terms.devices and viewer.user:
            await self._devices.note(video.organization, viewer.user, viewer.device)
        return decision
