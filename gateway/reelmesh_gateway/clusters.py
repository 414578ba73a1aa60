"""Services as Envoy sees them: clusters, their endpoints, and the certificates used to reach them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from reelmesh_gateway.envoy import Node, address, extension, seconds, typed, watched
from reelmesh_gateway.guard import issuer_cluster
from reelmesh_gateway.mesh import GATEWAY, Issuer, Mesh, Service, Tls

_IDENTITY = "identity"
_AUTHORITY = "authority"
EDGE = "edge"
"""Name of the secret with the certificate that clients see."""
_BUFFER_BYTES = 1 << 20
_STREAM_WINDOW_BYTES = 1 << 20
_CONNECTION_WINDOW_BYTES = 8 << 20


def clusters(mesh: Mesh, folder: Path) -> list[Node]:
    """Return a cluster for each service that the gateway may call; `folder` holds the endpoints and secrets."""
    services = [_cluster(name, service, mesh, folder) for name, service in mesh.routed().items()]
    return services + [_issuer(name, issuer) for name, issuer in mesh.gateway.issuers.items() if issuer.jwks_uri]


def endpoints(mesh: Mesh, addresses: Mapping[str, Sequence[str]]) -> dict[str, Node]:
    """Return the endpoints of each cluster by the cluster's name.

    A service without an address gets none and answers UNAVAILABLE.
    Raises ValueError for an address that Envoy cannot use and for a service that mesh.yaml does not know.
    """
    for name in addresses:
        if name not in mesh.services:
            raise ValueError(f"an address is given for {name!r}, which mesh.yaml does not know")
    assignments = {}
    for name in mesh.routed():
        hosts = [{"endpoint": {"address": address(text)}} for text in addresses.get(name, ())]
        assignments[name] = typed(
            "config.endpoint.v3.ClusterLoadAssignment",
            cluster_name=name,
            endpoints=[{"lb_endpoints": hosts}] if hosts else [],
        )
    return assignments


def secrets(certificates: Path, tls: Tls | None) -> dict[str, Node]:
    """Return, by name, the gateway's certificates, inside and, where it has one, outside, and the authority it trusts.

    Renaming new files over the old ones in `certificates` renews them without a restart.
    """
    secret = "extensions.transport_sockets.tls.v3.Secret"  # noqa: S105, a type's name
    folder = {"path": str(certificates)}
    identity = {
        "certificate_chain": {"filename": str(certificates / f"{GATEWAY}.pem")},
        "private_key": {"filename": str(certificates / f"{GATEWAY}.key")},
        "watched_directory": folder,
    }
    authority = {"trusted_ca": {"filename": str(certificates / "ca.pem")}, "watched_directory": folder}
    found = {
        _IDENTITY: typed(secret, name=_IDENTITY, tls_certificate=identity),
        _AUTHORITY: typed(secret, name=_AUTHORITY, validation_context=authority),
    }
    if tls is not None:
        edge = {
            "certificate_chain": {"filename": str(tls.certificate)},
            "private_key": {"filename": str(tls.key)},
            "watched_directory": {"path": str(tls.certificate.parent)},
        }
        found[EDGE] = typed(secret, name=EDGE, tls_certificate=edge)
    return found


def endpoints_file(name: str) -> str:
    """Return the name of the file with the endpoints of cluster `name`: Envoy wants a file for each."""
    return f"eds-{name}.yaml"


def secret_file(name: str) -> str:
    """Return the name of the file with secret `name`."""
    return f"sds-{name}.yaml"


def _cluster(name: str, service: Service, mesh: Mesh, folder: Path) -> Node:
    grpc = bool(service.grpc)
    cluster = typed(
        "config.cluster.v3.Cluster",
        name=name,
        type="EDS",
        eds_cluster_config={"eds_config": watched(folder / endpoints_file(name))},
        connect_timeout="1s",
        per_connection_buffer_limit_bytes=_BUFFER_BYTES,
        # With no healthy endpoint left, fail at once; Envoy would rather try the unhealthy ones.
        common_lb_config={"healthy_panic_threshold": {"value": 0}},
        # An endpoint that is taken out of eds.yaml gets no new request, healthy or not.
        ignore_health_on_host_removal=True,
        health_checks=[_health_check(service)],
        outlier_detection={
            # UNAVAILABLE and broken connections; a bug that one request meets must not cost the whole endpoint.
            "consecutive_gateway_failure": service.outlier.consecutive_failures,
            "enforcing_consecutive_gateway_failure": 100,
            "enforcing_consecutive_5xx": 0,
            "interval": seconds(service.outlier.interval),
            "base_ejection_time": seconds(service.outlier.base_ejection_time),
            "max_ejection_percent": service.outlier.max_ejection_percent,
        },
        circuit_breakers={"thresholds": [_thresholds(service)]},
        typed_extension_protocol_options={
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _protocol(http2=grpc),
        },
    )
    if grpc:
        cluster["transport_socket"] = _mutual_tls(mesh.spiffe_id(name), folder)
    return cluster


def _protocol(*, http2: bool) -> Node:
    windows = {
        "initial_stream_window_size": _STREAM_WINDOW_BYTES,
        "initial_connection_window_size": _CONNECTION_WINDOW_BYTES,
    }
    explicit: dict[str, Any] = {"http2_protocol_options": windows} if http2 else {"http_protocol_options": {}}
    return typed("extensions.upstreams.http.v3.HttpProtocolOptions", explicit_http_config=explicit)


def _health_check(service: Service) -> Node:
    health = service.health
    return {
        "interval": seconds(health.interval),
        "no_traffic_interval": seconds(health.no_traffic_interval),
        "timeout": seconds(health.timeout),
        "unhealthy_threshold": health.unhealthy_after,
        "healthy_threshold": health.healthy_after,
        **({"grpc_health_check": {}} if service.grpc else {"tcp_health_check": {}}),
    }


def _thresholds(service: Service) -> Node:
    capacity = service.capacity
    return {
        "max_connections": capacity.max_connections,
        "max_pending_requests": capacity.max_pending_requests,
        "max_requests": capacity.max_requests,
        "retry_budget": {
            "budget_percent": {"value": capacity.retry_budget_percent},
            "min_retry_concurrency": 3,
        },
    }


def _mutual_tls(spiffe_id: str, folder: Path) -> Node:
    names = [{"san_type": "URI", "matcher": {"exact": spiffe_id}}]
    context = {
        # Both, since a client of Envoy's stops at 1.2 by itself.
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "alpn_protocols": ["h2"],
        "tls_certificate_sds_secret_configs": [_secret(_IDENTITY, folder)],
        "combined_validation_context": {
            "default_validation_context": {"match_typed_subject_alt_names": names},
            "validation_context_sds_secret_config": _secret(_AUTHORITY, folder),
        },
    }
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": typed("extensions.transport_sockets.tls.v3.UpstreamTlsContext", common_tls_context=context),
    }


def _secret(name: str, folder: Path) -> Node:
    return {"name": name, "sds_config": watched(folder / secret_file(name))}


def _issuer(name: str, issuer: Issuer) -> Node:
    """Return the cluster by which the keys of another issuer are fetched."""
    parts = urlsplit(issuer.jwks_uri)
    host = parts.hostname or ""
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    endpoint = {"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}}
    cluster = typed(
        "config.cluster.v3.Cluster",
        name=issuer_cluster(name),
        type="LOGICAL_DNS",
        connect_timeout=seconds(issuer.timeout),
        load_assignment={"cluster_name": issuer_cluster(name), "endpoints": [{"lb_endpoints": [endpoint]}]},
    )
    if secure:
        names = [{"san_type": "DNS", "matcher": {"exact": host}}]
        trusted = {"trusted_ca": {"filename": str(issuer.authorities)}, "match_typed_subject_alt_names": names}
        cluster["transport_socket"] = extension(
            "envoy.transport_sockets.tls",
            "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            sni=host,
            common_tls_context={"validation_context": trusted},
        )
    return cluster
