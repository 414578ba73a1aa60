"""Names of viewers that tell nobody who they are: keyed hashes, the same for the same viewer of one organization."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from pathlib import Path

SIZE = 16
"""Bytes of a pseudonym."""


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Hashes under one key."""

    key: bytes = field(repr=False)

    @classmethod
    def load(cls, file: Path) -> Pseudonyms:
        """Read the key. Raises OSError, and ValueError for one that is shorter than a hash."""
        key = file.read_bytes()
        if len(key) < SIZE:
            raise ValueError(f"{file}: holds no key of at least {SIZE} bytes")
        return cls(key)

    def of(self, organization: str, viewer: str) -> bytes:
        """Return the pseudonym (HMAC-SHA-256, its first 16 bytes) of a viewer; nothing for nobody.

        The organization is in it, so that two cannot put together what each knows.
        """
        if not viewer:
            return b""
        return hmac.digest(self.key, f"{organization}\0{viewer}".encode(), hashlib.sha256)[:SIZE]
