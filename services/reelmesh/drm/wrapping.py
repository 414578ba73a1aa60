"""Content keys at rest: each is encrypted (AES-256-GCM) under a wrapping key that the database never sees.

The newest wrapping key wraps, all of them unwrap. So one is replaced without a pause: add another, wrap every content
key anew, remove the old one.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from reelmesh.drm.errors import WrappingKeyMissing
from reelmesh.drm.model import Wrapped

SIZE = 32
"""Bytes of a wrapping key."""
NONCE = 12
"""Bytes of a nonce (SP 800-38D, 8.2.2): random, so one key should wrap fewer than 2^32 values."""


class KeyWrapper(Protocol):
    """What keys need of whoever holds the wrapping keys: files here, a key management service elsewhere."""

    async def newest(self) -> str:
        """Return the version that wraps now."""

    async def wrap(self, value: bytes, context: bytes) -> Wrapped:
        """Encrypt a value and bind it to `context`. Raises Unavailable."""

    async def unwrap(self, wrapped: Wrapped, context: bytes) -> bytes:
        """Return the value. Raises WrappingKeyMissing, and cryptography's InvalidTag where anything was changed."""


Versions = Mapping[str, bytes]
"""Wrapping keys by version, the newest last."""


class LocalWrapper:
    """Wraps in this process."""

    def __init__(self, read: Callable[[], Versions]) -> None:
        """`read` returns the wrapping keys as they are now. Raises what it raises."""
        self._read = read
        self._ciphers: dict[str, AESGCM] = {}
        self._load()

    async def newest(self) -> str:
        """Return the version that wraps now, which another may have become a moment ago."""
        return self._load()

    async def wrap(self, value: bytes, context: bytes) -> Wrapped:
        """Encrypt a value and bind it to `context`."""
        version = self._load()
        nonce = os.urandom(NONCE)
        return Wrapped(version, nonce + self._ciphers[version].encrypt(nonce, value, context))

    async def unwrap(self, wrapped: Wrapped, context: bytes) -> bytes:
        """Return the value. Raises WrappingKeyMissing, and cryptography's InvalidTag where anything was changed."""
        if wrapped.version not in self._ciphers:
            self._load()  # added since
        cipher = self._ciphers.get(wrapped.version)
        if cipher is None:
            raise WrappingKeyMissing("the key that this content key is wrapped with is missing")
        return cipher.decrypt(wrapped.data[:NONCE], wrapped.data[NONCE:], context)

    def _load(self) -> str:
        versions = self._read()
        self._ciphers = {name: AESGCM(key) for name, key in versions.items()}
        return next(reversed(self._ciphers))


def folder(path: Path) -> Callable[[], Versions]:
    """Return a reader of a folder whose files hold a wrapping key each, named by version; the last by name is newest.

    It raises OSError, and ValueError for a file that is no key or a folder without.
    """

    def read() -> Versions:
        # What is being written beside its place begins with a dot.
        files = sorted(file for file in path.iterdir() if not file.name.startswith("."))
        return _checked({file.name: file.read_bytes() for file in files}, str(path))

    return read


def variable(name: str, environment: Mapping[str, str] = os.environ) -> Callable[[], Versions]:
    """Return a reader of an environment variable: ``VERSION:BASE64`` with commas between, the newest last.

    It raises ValueError for what is not so.
    """

    def read() -> Versions:
        pairs = [pair.partition(":") for pair in environment.get(name, "").split(",") if pair]
        return _checked({version: base64.b64decode(key, validate=True) for version, _, key in pairs}, name)

    return read


def _checked(versions: Versions, where: str) -> Versions:
    if not versions:
        raise ValueError(f"{where}: holds no wrapping key")
    for version, key in versions.items():
        if len(key) != SIZE:
            raise ValueError(f"{where}: {version or 'a key without a version'} is not {SIZE} bytes")
    return versions
