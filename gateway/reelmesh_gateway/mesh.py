"""The mesh: every service once, who may call it, and how it is called. Read from ``gateway/mesh.yaml``.

The gateway's Envoy configuration and the services' own client channels are both made from it. All settings that exist
are the fields below; each one's manual stands under it.
"""

# ruff: noqa: RUF009 -- `setting` declares a field as dataclasses.field does, and all defaults are immutable

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from reelmesh.mesh.settings import SettingError, Size, read, setting

GATEWAY = "gateway"
"""Name that the gateway calls by: the last element of its SPIFFE id."""

_MOMENT = timedelta(milliseconds=1)
_SERVICE_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_QUERY_OPERATOR = re.compile(r"%(REQ\((.*\?)?(:PATH|X-ENVOY-ORIGINAL-PATH)|PATH(?!\(NQ))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Retry:
    """How an rpc without side effects (`idempotency_level = NO_SIDE_EFFECTS`) is tried again on UNAVAILABLE.

    Other rpcs are never retried on a caller's behalf. The gateway waits for each try as long as all of them, one after
    another, take the service's timeout: one that takes longer is given up for another endpoint.
    """

    attempts: int = setting(3, least=0, most=5)
    """Tries in all, the first included; 0 and 1 both mean that nothing is retried."""
    initial_backoff: timedelta = setting(timedelta(milliseconds=50), least=_MOMENT)
    """Mean wait before the second try; it doubles from try to try."""
    max_backoff: timedelta = setting(timedelta(seconds=1), least=_MOMENT)
    """Longest wait before a try."""


@dataclass(frozen=True, slots=True)
class Health:
    """How the gateway finds out which endpoints of a service may be used."""

    interval: timedelta = setting(timedelta(seconds=2), least=timedelta(milliseconds=100))
    """Time between two checks of an endpoint that gets requests."""
    no_traffic_interval: timedelta = setting(timedelta(seconds=1), least=timedelta(milliseconds=100))
    """Time between two checks while a service gets none; Envoy's own default of 60 s would hide a started service."""
    timeout: timedelta = setting(timedelta(seconds=1), least=_MOMENT)
    """How long to wait for an answer."""
    unhealthy_after: int = setting(2, least=1)
    """Failed checks in a row until an endpoint is left out."""
    healthy_after: int = setting(1, least=1)
    """Passed checks in a row until it is used again."""


@dataclass(frozen=True, slots=True)
class Outlier:
    """When an endpoint that answers its health check but fails requests is left out for a while."""

    consecutive_failures: int = setting(5, least=1)
    """Failed requests in a row that eject an endpoint."""
    interval: timedelta = setting(timedelta(seconds=5), least=_MOMENT)
    """Time between two looks at the counts."""
    base_ejection_time: timedelta = setting(timedelta(seconds=10), least=_MOMENT)
    """How long the first ejection lasts; later ones last a multiple."""
    max_ejection_percent: int = setting(50, least=0, most=100)
    """Most endpoints of a service that may be ejected at once, so that the only one never is. 0 ejects none."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much of a service the gateway may use at once; beyond it a caller gets UNAVAILABLE at once."""

    max_connections: int = setting(1024, least=1)
    """Connections to all endpoints together."""
    max_pending_requests: int = setting(1024, least=1)
    """Requests that wait for a connection."""
    max_requests: int = setting(4096, least=1)
    """Requests under way, open streams included."""
    retry_budget_percent: float = setting(20.0, least=0.0, most=100.0)
    """Most of the requests under way that may be retries; three are always allowed."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How often someone may ask."""

    per_second: int = setting(0, least=0)
    """Requests in a second, for as long as one likes; 0 sets no limit."""
    burst: int = setting(0, least=0)
    """Requests at once, after a quiet time; no less than per_second."""


@dataclass(frozen=True, slots=True)
class Service:
    """One service of the mesh: gRPC with mutual TLS where `grpc` names something, plain HTTP where `paths` does."""

    grpc: tuple[str, ...] = setting(())
    """Full names of the gRPC services that it serves, such as ``reelmesh.ingest.v1.UploadService``."""
    callers: tuple[str, ...] = setting(())
    """Services of the mesh that may open a connection to it, ``gateway`` for the outside. Which rpc each may call is
    said in the contract (`reelmesh.annotations.v1.access`). Empty admits nobody."""
    paths: tuple[str, ...] = setting(())
    """Path prefixes that the gateway sends to it as plain HTTP, GET and HEAD only, longest first."""
    guarded: tuple[str, ...] = setting(())
    """Those of `paths` for which a request needs a token of playback, as query parameter ``token``, whose path the
    requested one begins with."""
    timeout: timedelta = setting(timedelta(seconds=15), least=_MOMENT)
    """Deadline of a unary rpc for a caller that sets none; the gateway also shortens a longer one to it."""
    stream_idle_timeout: timedelta = setting(timedelta(minutes=5), least=_MOMENT)
    """How long a stream, which has no deadline, may pass without a byte in either direction."""
    max_request_bytes: Size = setting(Size(0), least=0)
    """Largest body of an ordinary request to it; 0 leaves that to the gateway's limits. A service that is given more
    than it takes can say itself what is wrong."""
    address_rate: Rate | None = setting(None)
    """How often one network address may call it, counted apart, where it is not as the gateway's limits say."""
    retry: Retry = setting(Retry())
    """How rpcs without side effects are retried."""
    health: Health = setting(Health())
    """How its endpoints are checked."""
    outlier: Outlier = setting(Outlier())
    """When an endpoint is left out although it is healthy."""
    capacity: Capacity = setting(Capacity())
    """How much of it the gateway may use."""


@dataclass(frozen=True, slots=True)
class Cors:
    """Which other sites' pages may use the gateway. Pages that it serves itself need nothing."""

    origins: tuple[str, ...] = setting(())
    """Origins, such as ``https://studio.example.com``, whose pages may call any rpc."""
    media_origins: tuple[str, ...] = setting(())
    """Origins whose pages may read manifests and media; ``*`` lets a player be embedded anywhere. Where some are named
    instead, media for the pages of others is refused (MEDIA_HOTLINKED): name the gateway's own too, for its pages."""
    max_age: timedelta = setting(timedelta(hours=2), least=timedelta())
    """How long a browser remembers the answer."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Someone else whose tokens are believed (OpenID Connect): a company's own sign-in, for example.

    A token says who calls by ``iss`` and ``sub``, and what they may do by a claim ``organizations``, an object of roles
    by organization such as ``{"default": "editor"}``. Nobody becomes an operator this way.
    """

    issuer: str = setting()
    """Its name, exactly as the claim ``iss`` has it."""
    audiences: tuple[str, ...] = setting()
    """Values of ``aud`` that are meant for us."""
    jwks_uri: str = setting("")
    """Where its keys are fetched, again every five minutes."""
    jwks_file: Path | None = setting(None)
    """A file with its keys, in place of jwks_uri."""
    timeout: timedelta = setting(timedelta(seconds=5), least=_MOMENT)
    """How long it may take to give its keys."""
    authorities: Path = setting(Path("/etc/ssl/certs/ca-certificates.crt"))
    """Certificates of the authorities that may vouch for jwks_uri."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How the gateway shows who it is. Files that are renamed over are taken up without a restart."""

    certificate: Path = setting()
    """Certificate chain, PEM."""
    key: Path = setting()
    """Its private key, PEM."""
    hsts: timedelta = setting(timedelta(days=365), least=timedelta())
    """How long browsers shall insist on TLS once they have seen it; 0 lets them be."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may ask of the gateway."""

    max_request_bytes: Size = setting(Size(1 << 20), least=1)
    """Largest body of an ordinary request. Client streams, which carry uploads, have no such limit: they pass through
    in pieces."""
    max_response_bytes: Size = setting(Size(16 << 20), least=1)
    """Largest message that is turned into JSON or a plain body, such as a manifest."""
    buffer_bytes: Size = setting(Size(1 << 20), least=16 << 10)
    """Bytes of a connection that the gateway holds before it makes the sender wait."""
    max_connections: int = setting(10_000, least=1)
    """Connections from clients at once."""
    max_concurrent_streams: int = setting(100, least=1)
    """Requests under way on one HTTP/2 connection."""
    headers_timeout: timedelta = setting(timedelta(seconds=10), least=_MOMENT)
    """How long a client may take to send its request's headers."""
    idle_timeout: timedelta = setting(timedelta(minutes=15), least=_MOMENT)
    """How long a connection without a request stays open."""
    address_rate: Rate = setting(Rate(per_second=200, burst=1000))
    """Rpcs from one network address. Media has no such limit: it opens by token only."""
    person_rate: Rate = setting(Rate(per_second=50, burst=500))
    """Rpcs of one user or service account, wherever they come from."""
    remembered_clients: int = setting(100_000, least=1)
    """Addresses and people whose rates are counted at once; beyond them, who was quiet longest begins anew."""


@dataclass(frozen=True, slots=True)
class AccessLog:
    """One JSON line per request. Queries are never written: media URLs carry their tokens there."""

    path: str = setting("")
    """File to append to; empty means standard output."""
    fields: Mapping[str, str] = setting({"status": "%RESPONSE_CODE%"})
    """Keys of the line, each with an Envoy command operator."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """Settings of the gateway itself."""

    listen: str = setting("127.0.0.1")
    """Address to listen at. Without TLS, leave it where only this machine reaches it."""
    tls: Tls | None = setting(None)
    """Certificate for clients; None speaks plain HTTP."""
    cors: Cors = setting(Cors())
    """Other sites' pages."""
    limits: Limits = setting(Limits())
    """Bounds on what clients may ask."""
    access_log: AccessLog = setting(AccessLog())
    """What is written of each request."""
    issuers: Mapping[str, Issuer] = setting({})
    """Whose tokens are believed besides our own, by a name of our choice."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """The whole of mesh.yaml."""

    services: Mapping[str, Service] = setting()
    """Every service by name: the last element of its SPIFFE id."""
    trust_domain: str = setting("reelmesh.local")
    """Trust domain of the SPIFFE ids."""
    gateway: Gateway = setting(Gateway())
    """The door for everyone outside."""

    def spiffe_id(self, name: str) -> str:
        """Return the URI that the certificate of service `name` carries."""
        return f"spiffe://{self.trust_domain}/{name}"

    def routed(self) -> dict[str, Service]:
        """Return the services that the gateway may call."""
        return {name: service for name, service in self.services.items() if GATEWAY in service.callers}


def load(path: Path) -> Mesh:
    """Read mesh.yaml; raise SettingError, naming the file and the setting, where something is wrong."""
    mesh = read(Mesh, path)
    try:
        _check(mesh)
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from error
    return mesh


def _check(mesh: Mesh) -> None:
    served: dict[str, str] = {}
    for name, service in mesh.services.items():
        where = f"services.{name}"
        if not _SERVICE_NAME.fullmatch(name) or name == GATEWAY:
            raise SettingError(f"{where}: not a usable name")
        for caller in service.callers:
            if caller != GATEWAY and caller not in mesh.services:
                raise SettingError(f"{where}.callers: no service is named {caller!r}")
        _check_paths(service, where)
        for entry in (*service.grpc, *service.paths):
            if entry in served:
                raise SettingError(f"{where}: {entry} is served by {served[entry]} already")
            served[entry] = name
    for name, issuer in mesh.gateway.issuers.items():
        _check_issuer(issuer, f"gateway.issuers.{name}")
    for key, operator in mesh.gateway.access_log.fields.items():
        if _QUERY_OPERATOR.search(operator):
            raise SettingError(f"gateway.access_log.fields.{key}: would write queries, and with them tokens")


def _check_paths(service: Service, where: str) -> None:
    if service.grpc and service.paths:
        raise SettingError(f"{where}.paths: a gRPC service's routes come from its contract")
    for path in service.paths:
        if not path.startswith("/"):
            raise SettingError(f"{where}.paths: {path!r} does not begin with a slash")
    for path in service.guarded:
        if path not in service.paths or not path.endswith("/"):
            raise SettingError(f"{where}.guarded: {path!r} is not one of paths, or does not end with a slash")


def _check_issuer(issuer: Issuer, where: str) -> None:
    if not issuer.audiences:
        raise SettingError(f"{where}.audiences: without one, tokens that are meant for others would do")
    if bool(issuer.jwks_uri) == (issuer.jwks_file is not None):
        raise SettingError(f"{where}: needs one of jwks_uri and jwks_file")
    if issuer.jwks_uri and urlsplit(issuer.jwks_uri).scheme not in {"http", "https"}:
        raise SettingError(f"{where}.jwks_uri: is no address of HTTP")
