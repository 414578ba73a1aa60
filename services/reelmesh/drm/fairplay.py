"""FairPlay Streaming: content key contexts made by a key security module.

The module, which holds the provider's FairPlay credentials, gets JSON: the device's SPC, the key with its
initialization vector, and the terms; it answers with the CKC.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from reelmesh.drm.errors import KeyNotGranted, LicenseRequestMalformed, LicenseServerUnavailable
from reelmesh.drm.grants import Grant
from reelmesh.drm.keys import Keys
from reelmesh.drm.model import ContentKey
from reelmesh.drm.policy import TYPE_1, Hdcp, Policy
from reelmesh.drm.systems import Challenge, License
from reelmesh.drm.upstream import LicenseServer

SCHEME = "skd://"
"""How a playlist's address of a key begins; the id of the key in hex follows."""


class FairPlay:
    """Makes licenses through a key security module."""

    def __init__(self, server: LicenseServer, secret: str, policy: Policy) -> None:
        """`secret` is the bearer token that the module knows us by."""
        self._server = server
        self._secret = secret
        self._policy = policy

    async def license(self, challenge: Challenge, grant: Grant, keys: Keys) -> License:
        """Turn an SPC into a CKC with the key that the playlist names.

        Raises LicenseRequestMalformed, KeyNotGranted, LicenseRefused, LicenseServerUnavailable.
        """
        if not challenge.body:
            raise LicenseRequestMalformed("the body holds no SPC")
        key_id = _key_id(challenge.asset)
        key = next((key for key in keys.values() if key.key_id == key_id), None)
        if key is None:
            raise KeyNotGranted("the viewing grants no such key")
        headers = {"content-type": "application/json", "authorization": f"Bearer {self._secret}"}
        answer = await self._server.post(json.dumps(self._request(challenge, grant, key)).encode(), headers)
        return License("application/octet-stream", _ckc(answer), [key.key_id])

    def _request(self, challenge: Challenge, grant: Grant, key: ContentKey) -> dict[str, Any]:
        terms = self._policy.terms(key.label)
        return {
            "spc": base64.b64encode(challenge.body).decode(),
            "asset_id": key.key_id.hex(),
            "key": key.value.hex(),
            "iv": key.iv.hex(),
            "persistent": grant.persistent,
            "lease_seconds": int(grant.duration.total_seconds()),
            "hdcp": None if terms.hdcp is Hdcp.NONE else int(terms.hdcp in TYPE_1),
        }


def _key_id(asset: str) -> bytes:
    """Return the id of the key that an address names. Raises LicenseRequestMalformed."""
    try:
        return bytes.fromhex(asset.removeprefix(SCHEME).replace("-", ""))
    except ValueError as error:
        raise LicenseRequestMalformed(f"asset is {SCHEME} and the id of a key in hex") from error


def _ckc(answer: bytes) -> bytes:
    try:
        found: Any = json.loads(answer)
        return base64.b64decode(found["ckc"], validate=True)
    except (ValueError, KeyError, TypeError) as error:
        raise LicenseServerUnavailable("the key security module gives no answer that can be read") from error
