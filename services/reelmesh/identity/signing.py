"""Signing in and out: passwords, second factors, and the devices that hold tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from reelmesh.identity.errors import (
    CredentialsWrong,
    RefreshTokenInvalid,
    RefreshTokenReused,
    RefreshTokenRotated,
    TotpRequired,
)
from reelmesh.identity.model import Device, Membership, SignedIn, User
from reelmesh.identity.passwords import Passwords
from reelmesh.identity.throttle import Limit, Throttle
from reelmesh.identity.tokens import Refresh, TokenMaker
from reelmesh.identity.totp import Totp
from reelmesh.mesh.clock import Clock, IdSource

ROTATION_GRACE = timedelta(seconds=10)
"""A token that was used this short a time ago is taken for the same client's second try, not for a theft."""


def of_account(email: str) -> Limit:
    """Limit of failures for one account, wherever they come from."""
    return Limit(f"account {email.lower()}", 10)


def of_address(address: str) -> list[Limit]:
    """Limit of failures from one address, whatever the account."""
    return [Limit(f"address {address}", 30)] if address else []


class DeviceStore(Protocol):
    """What signing in needs of a database. Every method may raise Unavailable."""

    async def user(self, user: str) -> User | None:
        """Return an account; None when there is none."""

    async def user_by_email(self, email: str) -> User | None:
        """Return the account that has an address; None when there is none."""

    async def memberships(self, user: str) -> Sequence[Membership]:
        """Return where a user belongs."""

    async def add_device(self, device: Device) -> None:
        """Keep a device until its expire_time."""

    async def device(self, user: str, device: str) -> Device | None:
        """Return a device; None when it is signed out."""

    async def devices(self, user: str) -> Sequence[Device]:
        """Return where a user is signed in, in no order."""

    async def refresh_device(self, old: Device, new: Device) -> bool:
        """Put `new` in place of `old`; False when its generation is no longer that one."""

    async def remove_device(self, user: str, device: str) -> None:
        """Sign a device out."""


class SignIns:
    """Where everyone is signed in."""

    def __init__(
        self,
        store: DeviceStore,
        passwords: Passwords,
        totp: Totp,
        throttle: Throttle,
        tokens: TokenMaker,
        clock: Clock,
        ids: IdSource,
        life: timedelta,
    ) -> None:
        """`life` is how long a device stays signed in without fresh tokens."""
        self._store = store
        self._passwords = passwords
        self._totp = totp
        self._throttle = throttle
        self._tokens = tokens
        self._clock = clock
        self._ids = ids
        self._life = life

    async def log_in(self, email: str, password: str, code: str, device: str, address: str) -> SignedIn:
        """Sign a user in on one more device. Raises CredentialsWrong, TotpRequired, TotpWrong, TooManyAttempts."""
        async with self._throttle.attempt([of_account(email), *of_address(address)]):
            user = await self._store.user_by_email(email.lower())
            matches = await self._passwords.matches(password, user.password_hash if user else None)
            if user is None or not matches:
                raise CredentialsWrong("address and password do not belong together")
            if user.totp_secret:
                if not code:
                    raise TotpRequired("the account has a second factor: its code is needed too")
                await self._totp.take(user, code)
        return await self.open(user, device, address)

    async def confirm_totp(self, user: User, code: str, address: str) -> None:
        """Turn a second factor on. Raises TotpNotBegun, TotpWrong, TooManyAttempts."""
        async with self._throttle.attempt([of_account(user.email), *of_address(address)]):
            await self._totp.confirm(user, code)

    async def open(self, user: User, device: str, address: str) -> SignedIn:
        """Sign in a user who has proved who it is."""
        now = self._clock.now()
        opened = Device(
            user=user.id,
            id=self._ids.new(),
            display_name=device,
            address=address,
            generation=1,
            create_time=now,
            refresh_time=now,
            expire_time=now + self._life,
        )
        await self._store.add_device(opened)
        return await self._signed_in(user, opened)

    async def refresh(self, token: str) -> SignedIn:
        """Exchange a refresh token. Raises RefreshTokenInvalid, RefreshTokenReused, RefreshTokenRotated."""
        refresh = self._tokens.read_refresh(token)
        device = await self._store.device(refresh.user, refresh.device)
        user = await self._store.user(refresh.user)
        if device is None or user is None:
            raise RefreshTokenInvalid("the device is signed out: sign in again")
        now = self._clock.now()
        if refresh.generation == device.generation:
            fresh = replace(device, generation=device.generation + 1, refresh_time=now, expire_time=now + self._life)
            if not await self._store.refresh_device(device, fresh):
                raise RefreshTokenRotated("another call has used this token at this moment")
            return await self._signed_in(user, fresh)
        await self._used_before(refresh, device)
        raise RefreshTokenReused("the token was used before, so the device is signed out")

    async def _used_before(self, refresh: Refresh, device: Device) -> None:
        recent = self._clock.now() - device.refresh_time < ROTATION_GRACE
        if refresh.generation == device.generation - 1 and recent:
            raise RefreshTokenRotated("the token was used a moment ago")
        # Someone has a copy, and nobody knows who is who: neither may go on.
        await self._store.remove_device(device.user, device.id)

    async def log_out(self, token: str) -> None:
        """Sign out the device that a refresh token is of. Raises RefreshTokenInvalid."""
        refresh = self._tokens.read_refresh(token)
        await self._store.remove_device(refresh.user, refresh.device)

    async def devices(self, user_id: str) -> Sequence[Device]:
        """Return where a user is signed in, latest first."""
        found = await self._store.devices(user_id)
        return sorted(found, key=lambda device: device.refresh_time, reverse=True)

    async def close(self, user_id: str, device_id: str) -> None:
        """Sign out one device."""
        await self._store.remove_device(user_id, device_id)

    async def close_all(self, user_id: str, but: str = "") -> None:
        """Sign out every device but one."""
        for device in await self._store.devices(user_id):
            if device.id != but:
                await self._store.remove_device(user_id, device.id)

    async def _signed_in(self, user: User, device: Device) -> SignedIn:
        memberships = tuple(await self._store.memberships(user.id))
        return SignedIn(user, memberships, self._tokens.for_device(user, memberships, device))
