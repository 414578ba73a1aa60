"""The second factor: codes of six digits that change every half minute (RFC 6238)."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from typing import Protocol

from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor import InvalidToken
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from reelmesh.identity.errors import TotpEnabled, TotpNotBegun, TotpWrong
from reelmesh.identity.model import User
from reelmesh.mesh.clock import Clock

STEP_SECONDS = 30
DIGITS = 6
SECRET_BYTES = 20
"""What authenticator apps expect, with SHA-1."""
WINDOW = (0, -1, 1)
"""Steps in which a code is looked for: the present one and its neighbours, for clocks that are a little off."""


class TotpStore(Protocol):
    """What second factors need of a database."""

    async def change(self, user: str, **values: object) -> bool:
        """Set fields of an account; False when there is none."""

    async def advance_totp(self, user: User, counter: int) -> bool:
        """Note that the code of a half minute was used; False when that one or a later one was used already."""


class Totp:
    """Second factors of all accounts. Secrets are sealed at rest, by the first of `keys`; the others still open."""

    def __init__(self, store: TotpStore, clock: Clock, keys: Sequence[str]) -> None:
        """`keys` are 32 bytes each in base64url. Raises ValueError."""
        self._store = store
        self._clock = clock
        self._seal = MultiFernet([Fernet(key) for key in keys])

    async def begin(self, user: User) -> tuple[str, str]:
        """Make a secret; return it in base 32, and as an otpauth address. Raises TotpEnabled."""
        if user.totp_secret:
            raise TotpEnabled("remove the present second factor first")
        secret = os.urandom(SECRET_BYTES)
        await self._store.change(user.id, totp_pending=self._seal.encrypt(secret).decode())
        return base64.b32encode(secret).decode(), _totp(secret).get_provisioning_uri(user.email, "reelmesh")

    async def confirm(self, user: User, code: str) -> None:
        """Turn the second factor on. Raises TotpNotBegun, TotpWrong."""
        if not user.totp_pending:
            raise TotpNotBegun("there is no secret that this code could confirm")
        counter = self._counter(user.totp_pending, code)
        await self._store.change(user.id, totp_secret=user.totp_pending, totp_counter=counter)

    async def take(self, user: User, code: str) -> None:
        """Accept a code once. Raises TotpWrong."""
        counter = self._counter(user.totp_secret, code)
        if counter <= user.totp_counter or not await self._store.advance_totp(user, counter):
            raise TotpWrong("this code was used already: wait for the next one")

    async def remove(self, user: User) -> None:
        """Turn the second factor off."""
        await self._store.change(user.id, totp_secret="", totp_pending="", totp_counter=0)

    def _counter(self, sealed: str, code: str) -> int:
        """Return the half minute that a code is of. Raises TotpWrong."""
        totp = _totp(self._seal.decrypt(sealed))
        now = int(self._clock.now().timestamp())
        for step in WINDOW:
            try:
                totp.verify(code.encode(), now + step * STEP_SECONDS)
            except InvalidToken:
                continue
            return now // STEP_SECONDS + step
        raise TotpWrong("the code is not the one of now")


def _totp(secret: bytes) -> TOTP:
    return TOTP(secret, DIGITS, SHA1(), STEP_SECONDS)  # noqa: S303 - HMAC-SHA1 is what every authenticator app computes
