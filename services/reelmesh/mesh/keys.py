"""Keys that sign tokens: a folder of ES256 keys, of which the newest signs and all are believed.

A file ``NAME.pem`` holds one private key (PKCS#8, curve P-256); NAME is its key id, and the last one by name is the
newest. So keys are changed without a moment in which a good token is refused: add one, let Envoy and every service read
the folder, and remove the old one when its last token has expired.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey

ALGORITHM = "ES256"

log = logging.getLogger(__name__)


class TokenForged(Exception):
    """No key of ours signed the token, or it is none."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys, oldest first."""

    keys: Mapping[str, EllipticCurvePrivateKey]

    @classmethod
    def load(cls, folder: Path) -> KeyRing:
        """Read every key of `folder`. Raises OSError, and ValueError for a file that is no key or a folder without."""
        keys = {}
        for file in sorted(folder.glob("*.pem")):
            key = serialization.load_pem_private_key(file.read_bytes(), password=None)
            if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
                keys[file.stem] = key
            else:
                raise ValueError(f"{file}: is no key of the curve P-256")  # noqa: TRY004 - a file's content
        if not keys:
            raise ValueError(f"{folder}: holds no key")
        return cls(keys)

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return a token (RFC 7519) with `claims`, signed by the newest key."""
        *_, (key_id, key) = self.keys.items()
        return jwt.encode(dict(claims), key, ALGORITHM, headers={"kid": key_id})

    def read(self, token: str, *, issuer: str, audience: str) -> dict[str, Any]:
        """Return the claims of a token for `audience`, also of one that has expired. Raises TokenForged."""
        return _read(token, lambda key_id: self.keys[key_id].public_key(), issuer, audience)

    def jwks(self) -> dict[str, Any]:
        """Return the public keys as a JSON Web Key Set (RFC 7517), for whoever checks tokens without us."""
        keys = []
        for key_id, key in self.keys.items():
            public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
            keys.append({**public, "kid": key_id, "use": "sig", "alg": ALGORITHM})
        return {"keys": keys}


class PublicKeys:
    """The public halves of keys that sign: a JWKS file, which is read again when it has changed."""

    def __init__(self, file: Path) -> None:
        """Raises OSError, and ValueError for a file that is no JWKS."""
        self._file = file
        self._seen: object = None
        self._keys: Mapping[str, EllipticCurvePublicKey] = {}
        self._look()

    def read(self, token: str, *, issuer: str, audience: str) -> dict[str, Any]:
        """Return the claims of a token for `audience`, also of one that has expired. Raises TokenForged."""
        try:
            self._look()
        except (OSError, ValueError) as error:
            log.warning("going on with the keys of before: %s", error)
        return _read(token, self._keys.__getitem__, issuer, audience)

    def _look(self) -> None:
        status = self._file.stat()
        # A file that is renamed over has another number, whatever its time says.
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen != self._seen:
            try:
                found: Any = json.loads(self._file.read_bytes())
                keys = {key["kid"]: jwt.algorithms.ECAlgorithm.from_jwk(key) for key in found["keys"]}
            except (KeyError, TypeError, jwt.InvalidKeyError) as error:
                raise ValueError(f"{self._file}: is no JSON Web Key Set of public keys") from error
            self._keys = {key_id: key for key_id, key in keys.items() if isinstance(key, EllipticCurvePublicKey)}
            self._seen = seen


def _read(token: str, find: Callable[[str], EllipticCurvePublicKey], issuer: str, audience: str) -> dict[str, Any]:
    try:
        key = find(jwt.get_unverified_header(token)["kid"])
        # Time is the caller's business, who has a clock of its own.
        options: Any = {"verify_exp": False, "verify_iat": False, "require": ["exp", "sub"]}
        return jwt.decode(token, key, [ALGORITHM], issuer=issuer, audience=audience, options=options)
    except (jwt.InvalidTokenError, KeyError, ValueError) as error:
        raise TokenForged(str(error)) from error
