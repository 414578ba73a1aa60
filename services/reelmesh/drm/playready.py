"""PlayReady: licenses made by a PlayReady license server, which is told by a signed message what it may hand out.

The client signs its challenge, so nothing can be put into it on the way: the message goes beside it, in a header. It is
a JSON Web Token (HS256), and the keys in it are wrapped (RFC 3394); the license server shares both secrets with us.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from reelmesh.drm import documents
from reelmesh.drm.errors import KeyNotGranted, LicenseRequestMalformed
from reelmesh.drm.grants import Grant
from reelmesh.drm.keys import Keys
from reelmesh.drm.model import ContentKey
from reelmesh.drm.policy import TYPE_1, Hdcp, Policy
from reelmesh.drm.pssh import playready_key_id
from reelmesh.drm.systems import Challenge, License
from reelmesh.drm.upstream import LicenseServer
from reelmesh.mesh.clock import Clock

ISSUER = "reelmesh.drm"
ACQUIRE_LICENSE = "http://schemas.microsoft.com/DRM/2007/03/protocols/AcquireLicense"
"""SOAPAction of a license request."""
MESSAGE_LIFE = timedelta(minutes=1)
SECURITY_LEVEL, HARDWARE_SECURITY_LEVEL = 2000, 3000
"""Least security level of a client: software that was hardened, or hardware."""
OPEN_OUTPUT, PROTECTED_OUTPUT = 100, 300
"""Output protection levels of uncompressed digital video: none, and HDCP (PlayReady Compliance Rules)."""
SECRET_BYTES = 32

_ENVELOPE = "{http://schemas.xmlsoap.org/soap/envelope/}Envelope"
_KEY_ID = "{*}KID"


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the license server shares with us."""

    signing: bytes = field(repr=False)
    wrapping: bytes = field(repr=False)

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read both, a line of hex each. Raises OSError, and ValueError for what is not so."""
        signing, wrapping = (bytes.fromhex(line) for line in file.read_text().split())
        if len(signing) != SECRET_BYTES or len(wrapping) != SECRET_BYTES:
            raise ValueError(f"{file}: holds no two secrets of {SECRET_BYTES} bytes")
        return cls(signing, wrapping)


class PlayReady:
    """Makes licenses through a PlayReady license server."""

    def __init__(self, server: LicenseServer, header: str, secrets: Secrets, policy: Policy, clock: Clock) -> None:
        """`header` is where the server looks for the message."""
        self._server = server
        self._header = header
        self._secrets = secrets
        self._policy = policy
        self._clock = clock

    async def license(self, challenge: Challenge, grant: Grant, keys: Keys) -> License:
        """Pass a challenge on, with the keys that it asks for.

        Raises LicenseRequestMalformed, KeyNotGranted, LicenseRefused, LicenseServerUnavailable.
        """
        asked = _key_ids(challenge.body)
        by_id = {playready_key_id(key.key_id): key for key in keys.values()}
        if not by_id or not by_id.keys() >= asked:
            raise KeyNotGranted("the viewing grants no such key")
        chosen = [key for id_, key in by_id.items() if not asked or id_ in asked]
        headers = {
            "content-type": "text/xml; charset=utf-8",
            "soapaction": f'"{ACQUIRE_LICENSE}"',
            self._header: self._message(grant, chosen),
        }
        answer = await self._server.post(challenge.body, headers)
        return License("text/xml; charset=utf-8", answer, [key.key_id for key in chosen])

    def _message(self, grant: Grant, keys: list[ContentKey]) -> str:
        claims = {
            "iss": ISSUER,
            "exp": int((self._clock.now() + MESSAGE_LIFE).timestamp()),
            "sub": str(grant.session),
            "video": str(grant.video),
            "license": {
                "persistent": grant.persistent,
                "seconds": int(grant.duration.total_seconds()),
                "renewal_seconds": int(grant.renewal.total_seconds()),
            },
            "keys": [self._key(key) for key in keys],
        }
        return jwt.encode(claims, self._secrets.signing, "HS256")

    def _key(self, key: ContentKey) -> dict[str, Any]:
        terms = self._policy.terms(key.label)
        return {
            "id": playready_key_id(key.key_id),
            "wrapped": base64.b64encode(aes_key_wrap(self._secrets.wrapping, key.value)).decode(),
            "scheme": key.scheme.value,
            "security_level": HARDWARE_SECURITY_LEVEL if terms.hardware else SECURITY_LEVEL,
            "uncompressed_digital_video": OPEN_OUTPUT if terms.hdcp is Hdcp.NONE else PROTECTED_OUTPUT,
            "hdcp_type": 1 if terms.hdcp in TYPE_1 else 0,
        }


def _key_ids(body: bytes) -> set[str]:
    """Return the key ids in a challenge, as PlayReady writes them. Raises LicenseRequestMalformed."""
    try:
        envelope = documents.parse(body)
    except ValueError as error:
        raise LicenseRequestMalformed(f"the body is {error}") from error
    if envelope.tag != _ENVELOPE:
        raise LicenseRequestMalformed("the body is no challenge of PlayReady")
    # A header of version 4.0 has the id as text, later ones as an attribute.
    found = {element.get("VALUE") or (element.text or "").strip() for element in envelope.iter(_KEY_ID)}
    return found - {""}
