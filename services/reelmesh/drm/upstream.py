"""License servers of other houses, over HTTP."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

import httpx

from reelmesh.drm.errors import LicenseRefused, LicenseServerUnavailable

SECONDS = 5.0
"""A license server that takes longer is away: a player would rather ask again."""

log = logging.getLogger(__name__)


class LicenseServer(Protocol):
    """What key systems need of a license server."""

    async def post(self, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Send a request, and return the body of the answer. Raises LicenseRefused, LicenseServerUnavailable."""


class HttpLicenseServer:
    """A license server at one address."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url

    async def post(self, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Send a request, and return the body of the answer. Raises LicenseRefused, LicenseServerUnavailable."""
        try:
            answer = await self._client.post(self._url, content=body, headers=headers, timeout=SECONDS)
        except httpx.HTTPError as error:
            log.warning("%s does not answer: %s", self._url, type(error).__name__)
            raise LicenseServerUnavailable("the license server does not answer") from error
        if answer.is_server_error or answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            log.warning("%s answers %d", self._url, answer.status_code)
            raise LicenseServerUnavailable("the license server cannot answer now")
        if not answer.is_success:
            log.warning("%s answers %d", self._url, answer.status_code)
            raise LicenseRefused("the license server refused", status=answer.status_code)
        return answer.content
