"""Tokens of people and service accounts: access tokens, which the gateway checks, and refresh tokens, which we do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from reelmesh.identity.errors import RefreshTokenInvalid
from reelmesh.identity.model import Device, Membership, ServiceAccount, Tokens, User
from reelmesh.mesh.clock import Clock
from reelmesh.mesh.keys import KeyRing, TokenForged
from reelmesh.mesh.person import ISSUER

ACCESS = "reelmesh"
"""Audience of an access token: every rpc."""
REFRESH = "refresh"
"""Audience of a refresh token: one rpc of ours."""


def digest(secret: str) -> bytes:
    """Return what is kept of a random secret. It has 256 bits, so it needs no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


@dataclass(frozen=True, slots=True)
class Refresh:
    """What a refresh token says."""

    user: str
    device: str
    generation: int


class TokenMaker:
    """Signs tokens, and reads those that come back."""

    def __init__(self, keys: KeyRing, clock: Clock, access_life: timedelta) -> None:
        self._keys = keys
        self._clock = clock
        self._access_life = access_life

    def for_device(self, user: User, memberships: Iterable[Membership], device: Device) -> Tokens:
        """Return the pair of a device's present generation."""
        claims: dict[str, Any] = {"sid": device.id, "organizations": _roles(memberships)}
        if user.operator:
            claims["operator"] = True
        access, expire_time = self._access(user.name, claims)
        refresh = {"aud": REFRESH, "sub": user.id, "sid": device.id, "gen": device.generation}
        return Tokens(access, expire_time, self._sign(refresh, device.expire_time), device.expire_time)

    def for_service_account(self, account: ServiceAccount) -> Tokens:
        """Return an access token; the key itself takes the place of a refresh token."""
        claims: dict[str, Any] = {"organizations": {account.organization: account.role.name.lower()}}
        if account.scopes:
            claims["scope"] = " ".join(account.scopes)
        return Tokens(*self._access(account.name, claims))

    def read_refresh(self, token: str) -> Refresh:
        """Return what a refresh token says. Raises RefreshTokenInvalid."""
        try:
            claims = self._keys.read(token, issuer=ISSUER, audience=REFRESH)
            found = Refresh(str(claims["sub"]), str(claims["sid"]), int(claims["gen"]))
            expire_time = datetime.fromtimestamp(claims["exp"], UTC)
        except (TokenForged, KeyError, ValueError) as error:
            raise RefreshTokenInvalid("the refresh token was not issued here") from error
        if expire_time <= self._clock.now():
            raise RefreshTokenInvalid("the refresh token has expired: sign in again")
        return found

    def jwks(self) -> Mapping[str, Any]:
        """Return the public keys."""
        return self._keys.jwks()

    def _access(self, subject: str, claims: Mapping[str, Any]) -> tuple[str, datetime]:
        expire_time = self._clock.now() + self._access_life
        return self._sign({"aud": ACCESS, "sub": subject, **claims}, expire_time), expire_time

    def _sign(self, claims: Mapping[str, Any], expire_time: datetime) -> str:
        issued = int(self._clock.now().timestamp())
        return self._keys.sign({"iss": ISSUER, "iat": issued, "exp": int(expire_time.timestamp()), **claims})


def _roles(memberships: Iterable[Membership]) -> dict[str, str]:
    return {membership.organization: membership.role.name.lower() for membership in memberships}
