"""Widevine: licenses made by a Widevine license service, at the signed request of a provider.

The request is JSON, as the "Widevine DRM Proxy Integration" describes it: the provider injects the content keys and
overrides the policy, so the service knows neither our videos nor our viewers.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from reelmesh.drm.errors import KeyNotGranted, LicenseRefused, LicenseRequestMalformed, LicenseServerUnavailable
from reelmesh.drm.grants import Grant
from reelmesh.drm.keys import Keys
from reelmesh.drm.model import ContentKey
from reelmesh.drm.policy import Policy
from reelmesh.drm.systems import Challenge, License
from reelmesh.drm.upstream import LicenseServer

SERVICE_CERTIFICATE_REQUEST = b"\x08\x04"
"""What a CDM sends to learn the service's certificate (a SignedMessage of type 4); it gets no keys."""
SOFTWARE, HARDWARE = 1, 5
"""Security levels: cryptography in software; everything in a trusted environment of hardware."""
RENEWAL_RETRY_SECONDS = 60
_OK = "OK"
_BAD_CHALLENGES = {"INVALID_LICENSE_CHALLENGE", "MISSING_CHALLENGE", "PARSE_ERROR"}
_PASSING = {"INTERNAL_ERROR", "SERVICE_UNAVAILABLE", "DATABASE_ERROR"}


@dataclass(frozen=True, slots=True)
class Provider:
    """Who signs requests: a content provider that the license service knows."""

    name: str
    key: bytes = field(repr=False)
    """AES key, 32 bytes."""
    iv: bytes = field(repr=False)

    @classmethod
    def load(cls, name: str, file: Path) -> Self:
        """Read key and initialization vector, a line of hex each. Raises OSError, and ValueError for what is not so."""
        key, iv = (bytes.fromhex(line) for line in file.read_text().split())
        if len(key) != 32 or len(iv) != 16:
            raise ValueError(f"{file}: holds no key of 32 bytes and initialization vector of 16")
        return cls(name, key, iv)

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message: its SHA-1, padded and encrypted (AES-CBC). The service prescribes it."""
        padder = padding.PKCS7(128).padder()
        padded = padder.update(hashlib.sha1(message, usedforsecurity=False).digest()) + padder.finalize()
        encryptor = Cipher(algorithms.AES(self.key), modes.CBC(self.iv)).encryptor()
        return encryptor.update(padded) + encryptor.finalize()


class Widevine:
    """Makes licenses through a Widevine license service."""

    def __init__(self, server: LicenseServer, provider: Provider, policy: Policy) -> None:
        self._server = server
        self._provider = provider
        self._policy = policy

    async def license(self, challenge: Challenge, grant: Grant, keys: Keys) -> License:
        """Answer a challenge with all keys that are granted: it does not say in the clear which it wants.

        Raises LicenseRequestMalformed, KeyNotGranted, LicenseRefused, LicenseServerUnavailable.
        """
        if not challenge.body:
            raise LicenseRequestMalformed("the body holds no challenge")
        chosen: list[ContentKey] = [] if challenge.body == SERVICE_CERTIFICATE_REQUEST else list(keys.values())
        if not chosen and challenge.body != SERVICE_CERTIFICATE_REQUEST:
            raise KeyNotGranted("the viewing grants no key of this video")
        message = json.dumps(self._message(challenge, grant, chosen)).encode()
        request = {
            "request": _base64(message),
            "signature": _base64(self._provider.sign(message)),
            "signer": self._provider.name,
        }
        answer = await self._server.post(json.dumps(request).encode(), {"content-type": "application/json"})
        return License("application/octet-stream", _license(answer), [key.key_id for key in chosen])

    def _message(self, challenge: Challenge, grant: Grant, keys: list[ContentKey]) -> dict[str, Any]:
        return {
            "payload": _base64(challenge.body),
            "content_id": _base64(grant.video.id.encode()),
            "provider": self._provider.name,
            "content_key_specs": [self._specification(key) for key in keys],
            "use_policy_overrides_exclusively": True,
            "policy_overrides": {
                "can_play": True,
                "can_persist": grant.persistent,
                "can_renew": bool(grant.renewal),
                "license_duration_seconds": int(grant.duration.total_seconds()),
                "renewal_delay_seconds": int(grant.renewal.total_seconds()),
                "renewal_retry_interval_seconds": RENEWAL_RETRY_SECONDS,
            },
        }

    def _specification(self, key: ContentKey) -> dict[str, Any]:
        terms = self._policy.terms(key.label)
        return {
            "track_type": key.label,
            "key_id": _base64(key.key_id),
            "key": _base64(key.value),
            "security_level": HARDWARE if terms.hardware else SOFTWARE,
            "required_output_protection": {"hdcp": terms.hdcp.value},
        }


def _license(answer: bytes) -> bytes:
    """Return the license in an answer. Raises LicenseRequestMalformed, LicenseRefused, LicenseServerUnavailable."""
    try:
        found: Any = json.loads(answer)
        status = str(found["status"])
        license_ = base64.b64decode(found["license"], validate=True) if status == _OK else b""
    except (ValueError, KeyError, TypeError) as error:
        raise LicenseServerUnavailable("the license service gives no answer that can be read") from error
    if status in _BAD_CHALLENGES:
        raise LicenseRequestMalformed("the license service cannot read the challenge", status=status)
    if status in _PASSING:
        raise LicenseServerUnavailable("the license service cannot answer now", status=status)
    if status != _OK:
        raise LicenseRefused("the license service refused", status=status)
    return license_


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
