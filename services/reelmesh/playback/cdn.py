"""What opens the objects of a presentation where they are served: our own gateway, or a CDN that checks in its own way.

A signer makes the query that ends every address in a manifest. One query opens one presentation, and nothing else.
"""

from __future__ import annotations

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import cbor2
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cwt import COSE, COSEKey
from cwt.cose_key_interface import COSEKeyInterface

from reelmesh.mesh.keys import KeyRing

ISSUER = "reelmesh.playback"
MEDIA = "media"
"""Audience of a token that opens objects."""


class MediaSigner(Protocol):
    """Signs for whoever serves the media store."""

    def query(self, session: str, folder: str, expire_time: datetime) -> str:
        """Return the query, without its question mark, that opens what lies in `folder` until then.

        `session` is who it is for; `folder` is a path in the media store, without a slash at either end.
        """


class GatewayTokens:
    """Tokens that name a path, which Envoy compares with the one that is asked for (see the gateway's guard.py)."""

    def __init__(self, keys: KeyRing, media_url: str) -> None:
        """`media_url` is where players fetch the media store: a path of the gateway, or a URL."""
        self._keys = keys
        self._path = urlsplit(media_url).path.rstrip("/")

    def query(self, session: str, folder: str, expire_time: datetime) -> str:
        """Return ``token=…``."""
        claims = {"iss": ISSUER, "aud": MEDIA, "sub": session, "exp": int(expire_time.timestamp())}
        return f"token={self._keys.sign({**claims, 'prefix': f'{self._path}/{quote(folder)}/'})}"


class CloudFront:
    """Signed URLs of Amazon CloudFront with a custom policy, one for all objects of a folder.

    CloudFront demands RSA with SHA-1 for it, and base64 with three characters of its own (its developer guide, "Use
    signed URLs").
    """

    def __init__(self, key_pair_id: str, key: rsa.RSAPrivateKey, media_url: str) -> None:
        """`media_url` is where players fetch the media store: the distribution's URL."""
        self._key_pair_id = key_pair_id
        self._key = key
        self._media_url = media_url.rstrip("/")

    @classmethod
    def load(cls, key_pair_id: str, file: Path, media_url: str) -> CloudFront:
        """Read the private key of a trusted key group, PEM. Raises OSError, and ValueError for a file that is none."""
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError(f"{file}: is no RSA key")  # noqa: TRY004 - a file's content
        return cls(key_pair_id, key, media_url)

    def query(self, session: str, folder: str, expire_time: datetime) -> str:
        """Return ``Policy=…&Signature=…&Key-Pair-Id=…``."""
        resource = f"{self._media_url}/{quote(folder)}/*"
        until = {"DateLessThan": {"AWS:EpochTime": int(expire_time.timestamp())}}
        statement = {"Resource": resource, "Condition": until}
        policy = json.dumps({"Statement": [statement]}, separators=(",", ":")).encode()
        signature = self._key.sign(policy, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303 - as CloudFront demands
        return f"Policy={_encoded(policy)}&Signature={_encoded(signature)}&Key-Pair-Id={self._key_pair_id}"


class CommonAccessTokens:
    """Common Access Tokens (CTA-5007-B): CBOR Web Tokens that name what they open, for CDNs that know them."""

    def __init__(self, key: COSEKeyInterface, media_url: str) -> None:
        """`media_url` is where players fetch the media store."""
        self._key = key
        self._media_url = urlsplit(media_url)

    @classmethod
    def load(cls, key_id: str, file: Path, media_url: str) -> CommonAccessTokens:
        """Read a private key (P-256), PEM. Raises OSError, and ValueError for a file that is none."""
        return cls(COSEKey.from_pem(file.read_bytes(), kid=key_id), media_url)

    def query(self, session: str, folder: str, expire_time: datetime) -> str:
        """Return ``CAT=…``."""
        path = f"{self._media_url.path.rstrip('/')}/{quote(folder)}/"
        opens: dict[int, Any] = {_PATH: {_PREFIX: path}}
        if self._media_url.hostname:
            opens[_HOST] = {_EXACT: self._media_url.hostname}
        claims = {_ISS: ISSUER, _SUB: session, _EXP: int(expire_time.timestamp()), _CATV: 1, _CATU: opens}
        # Not by the library's CWT: it adds times of its own clock, and a CDN's may be behind it.
        token = COSE.new(alg_auto_inclusion=True, kid_auto_inclusion=True).encode(cbor2.dumps(claims), self._key)
        return f"CAT={base64.urlsafe_b64encode(token).decode().rstrip('=')}"


# Keys of claims (RFC 8392 and the IANA registry of CWT claims), then of the parts of an address and how they match.
_ISS, _SUB, _EXP, _CATV, _CATU = 1, 2, 4, 310, 312
_HOST, _PATH = 1, 3
_EXACT, _PREFIX = 0, 1


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode().translate(str.maketrans("+=/", "-_~"))
