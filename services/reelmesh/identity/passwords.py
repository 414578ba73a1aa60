"""Passwords: which are taken, and how they are kept (argon2id, RFC 9106)."""

from __future__ import annotations

import asyncio
import os

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from reelmesh.identity.errors import PasswordTooCommon

MEMORY_KIB = 19_456
ITERATIONS = 2
"""Memory and passes as OWASP advises for one lane: about 25 ms on one core."""
AT_ONCE = 4
"""Hashes computed side by side, so that a wave of sign-ins takes neither all memory nor all cores."""
LEAST_CHARACTERS = 5
"""Different ones, at least."""
COMMON = frozenset(
    {
        "0123456789",
        "1234567890",
        "12345678910",
        "1q2w3e4r5t",
        "1qaz2wsx3edc",
        "administrator",
        "changeme123",
        "iloveyou123",
        "letmein123",
        "password12",
        "password123",
        "password1234",
        "qwerty12345",
        "qwerty123456",
        "qwertyuiop",
        "welcome123",
    }
)
"""Of the length that the contract asks for, the first that anyone tries."""


def check(password: str, email: str) -> None:
    """Refuse what would be guessed at once. Raises PasswordTooCommon."""
    lowered = password.lower()
    if lowered in COMMON or len(set(lowered)) < LEAST_CHARACTERS or email.partition("@")[0] == lowered:
        problem = "is among the first that anyone would try"
        raise PasswordTooCommon(f"password: {problem}", violations=[("password", problem)])


class Passwords:
    """Hashes and verifies, off the event loop."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def hash(self, password: str) -> str:
        """Return what is kept of a password."""
        async with self._slots:
            return await asyncio.to_thread(_kdf().derive_phc_encoded, password.encode())

    async def matches(self, password: str, kept: str | None) -> bool:
        """Say whether `kept` is of this password. Without one it takes as long, and tells nobody that there is none."""
        if kept is None:
            await self.hash(password)
            return False
        async with self._slots:
            try:
                await asyncio.to_thread(Argon2id.verify_phc_encoded, password.encode(), kept)
            except InvalidKey:
                return False
        return True


def _kdf() -> Argon2id:
    return Argon2id(salt=os.urandom(16), length=32, iterations=ITERATIONS, lanes=1, memory_cost=MEMORY_KIB)
