"""Who a service is to the others: a certificate whose SAN is a SPIFFE id, ``spiffe://{trust domain}/{service}``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc


@dataclass(frozen=True, slots=True)
class Identity:
    """The certificate of one service and the authority that it trusts."""

    service: str
    trust_domain: str
    ca: bytes
    certificate: bytes
    key: bytes

    @classmethod
    def load(cls, folder: Path, service: str, trust_domain: str) -> Identity:
        """Read NAME.pem, NAME.key and ca.pem. Raises OSError."""
        return cls(
            service,
            trust_domain,
            (folder / "ca.pem").read_bytes(),
            (folder / f"{service}.pem").read_bytes(),
            (folder / f"{service}.key").read_bytes(),
        )

    def server_credentials(self) -> grpc.ServerCredentials:
        """Return credentials that demand a certificate of every caller."""
        return grpc.ssl_server_credentials(
            [(self.key, self.certificate)], root_certificates=self.ca, require_client_auth=True
        )

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Return credentials for calls to other services."""
        return grpc.ssl_channel_credentials(self.ca, self.key, self.certificate)


def caller_of(auth_context: Mapping[str, Iterable[bytes]], trust_domain: str) -> str | None:
    """Return the service that calls, by its SPIFFE id; None for a peer that has none of our trust domain."""
    prefix = f"spiffe://{trust_domain}/"
    for name in auth_context.get("x509_subject_alternative_name", ()):
        text = name.decode()
        if text.startswith(prefix):
            return text.removeprefix(prefix)
    return None
