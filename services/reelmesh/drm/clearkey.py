"""Clear Key (W3C Encrypted Media Extensions, 9.1): keys as JSON, in plain sight of the player."""

from __future__ import annotations

import base64
import json
from typing import Any

from reelmesh.drm.errors import KeyNotGranted, LicenseRequestMalformed, PersistenceNotGranted
from reelmesh.drm.grants import Grant
from reelmesh.drm.keys import Keys
from reelmesh.drm.systems import Challenge, License

TEMPORARY = "temporary"
PERSISTENT = "persistent-license"
MOST_KEYS = 16
"""Keys in a request: a presentation has four at most."""


class ClearKey:
    """Makes JSON Web Key Sets."""

    async def license(self, challenge: Challenge, grant: Grant, keys: Keys) -> License:
        """Answer with the keys that are asked for.

        Raises LicenseRequestMalformed, KeyNotGranted, PersistenceNotGranted.
        """
        key_ids, kind = _read(challenge.body)
        if kind == PERSISTENT and not grant.persistent:
            raise PersistenceNotGranted("the viewing grants no license to keep")
        by_id = {key.key_id: key for key in keys.values()}
        if not by_id.keys() >= set(key_ids):
            raise KeyNotGranted("the viewing grants no such key")
        answer = {
            "keys": [
                {"kty": "oct", "kid": _encode(key_id), "k": _encode(by_id[key_id].value)}
                for key_id in dict.fromkeys(key_ids)
            ],
            "type": kind,
        }
        return License("application/json", json.dumps(answer, separators=(",", ":")).encode(), key_ids)


def _read(body: bytes) -> tuple[list[bytes], str]:
    """Return the key ids and the type of session that a license request names. Raises LicenseRequestMalformed."""
    try:
        request: Any = json.loads(body)
        key_ids = [_decode(key_id) for key_id in request["kids"]]
        kind = request.get("type", TEMPORARY)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LicenseRequestMalformed("the body is no license request of Clear Key") from error
    if not 0 < len(key_ids) <= MOST_KEYS:
        raise LicenseRequestMalformed(f"a license request names 1 to {MOST_KEYS} keys")
    if kind not in (TEMPORARY, PERSISTENT):  # a tuple: it may be a list, which no set can be asked for
        raise LicenseRequestMalformed("the type of a license is temporary or persistent-license")
    return key_ids, kind


def _encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """Read base64url, with padding or, as the specification has it, without. Raises ValueError, TypeError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
