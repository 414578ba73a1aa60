"""Keys of a stack: what signs tokens, the public halves for who checks them, and what seals and wraps at rest."""

from __future__ import annotations

import json
import os
from pathlib import Path

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from reelmesh.drm.wrapping import SIZE
from reelmesh.mesh.keys import KeyRing
from reelmesh_tools.stack.files import write_whole

_FIRST = "0001"


def ensure(folder: Path) -> None:
    """Make sure that `folder` holds a key, and jwks.json with the public half of every key there.

    To change keys, put another one there (the next number as its name) and start the stack anew; old ones may go when
    their tokens have expired.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not any(folder.glob("*.pem")):
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_whole(folder / f"{_FIRST}.pem", private.decode(), 0o600)
    write_whole(jwks_file(folder), json.dumps(KeyRing.load(folder).jwks(), indent=2))


def ensure_seal(file: Path) -> None:
    """Make sure that there is a key that seals. To change it, put another one on a line before it."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(file, f"{Fernet.generate_key().decode()}\n", 0o600)


def ensure_viewer(file: Path) -> None:
    """Make sure that there is a key to hash viewers with. Another one would make every viewer a new one."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(file, os.urandom(SIZE), 0o600)


def jwks_file(folder: Path) -> Path:
    """Return the file with the public keys."""
    return folder / "jwks.json"


def ensure_wrapping(folder: Path) -> None:
    """Make sure that `folder` holds a key to wrap content keys with."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not _versions(folder):
        add_wrapping(folder)


def add_wrapping(folder: Path) -> str:
    """Add a key to wrap content keys with, in place of the newest; return its version. The others go on unwrapping."""
    newest = max(_versions(folder), default="0000")
    version = f"{int(newest) + 1:04}"
    write_whole(folder / version, os.urandom(SIZE), 0o600)
    return version


def _versions(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir() if file.name.isdecimal()]
