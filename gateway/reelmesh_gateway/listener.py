"""The door: one listener, its connection manager and its filters."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from reelmesh_gateway import guard, rates
from reelmesh_gateway.clusters import EDGE, secret_file
from reelmesh_gateway.contracts import Contracts
from reelmesh_gateway.envoy import Node, address, extension, seconds, typed, watched
from reelmesh_gateway.guard import KeyFiles
from reelmesh_gateway.mesh import AccessLog, Limits, Mesh
from reelmesh_gateway.routes import BUFFER, CORS, TRANSCODER, error_body, routed_methods

_HTTP = "extensions.filters.network.http_connection_manager.v3"
_LOCAL_ERRORS: Mapping[int, tuple[int, str, str]] = {
    400: (3, "REQUEST_MALFORMED", "%LOCAL_REPLY_BODY%"),
    401: (16, "MEDIA_TOKEN_INVALID", "%LOCAL_REPLY_BODY%"),
    403: (7, "MEDIA_TOKEN_MISMATCH", "the token does not open this object"),
    404: (5, "ROUTE_UNKNOWN", "no such resource or method"),
    405: (12, "METHOD_NOT_ALLOWED", "%LOCAL_REPLY_BODY%"),
    408: (4, "REQUEST_TIMEOUT", "the request took too long"),
    413: (3, "REQUEST_TOO_LARGE", "the request is too large"),
    429: (8, "TOO_MANY_REQUESTS", "too many requests: wait a moment"),
    503: (14, "SERVICE_UNAVAILABLE", "the service does not answer"),
    504: (4, "DEADLINE_EXCEEDED", "the service did not answer in time"),
}
"""google.rpc.Code, reason and message of what Envoy refuses by itself, by HTTP status."""


def listener(mesh: Mesh, contracts: Contracts, folder: Path, port: int, descriptors: bytes, keys: KeyFiles) -> Node:
    """Return the listener at `port`. `folder` holds rds.yaml and `descriptors` as descriptors.binpb."""
    limits = mesh.gateway.limits
    return typed(
        "config.listener.v3.Listener",
        name="gateway",
        address=address(f"{mesh.gateway.listen}:{port}"),
        per_connection_buffer_limit_bytes=limits.buffer_bytes,
        # Envoy reads the descriptor set and the keys only when the listener changes: let it change with them.
        metadata={"filter_metadata": {"reelmesh": {"contracts": _digest(descriptors), "keys": keys.digest()}}},
        filter_chains=[
            {
                "name": "gateway",
                **({"transport_socket": _tls(folder)} if mesh.gateway.tls else {}),
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": _connection_manager(mesh, contracts, folder, keys),
                    }
                ],
            }
        ],
    )


def _tls(folder: Path) -> Node:
    certificate = {"name": EDGE, "sds_config": watched(folder / secret_file(EDGE))}
    return extension(
        "envoy.transport_sockets.tls",
        "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context={
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "tls_certificate_sds_secret_configs": [certificate],
            "alpn_protocols": ["h2", "http/1.1"],
        },
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _connection_manager(mesh: Mesh, contracts: Contracts, folder: Path, keys: KeyFiles) -> Node:
    limits = mesh.gateway.limits
    return typed(
        f"{_HTTP}.HttpConnectionManager",
        stat_prefix="gateway",
        codec_type="AUTO",
        rds={"route_config_name": "routes", "config_source": watched(folder / "rds.yaml")},
        http_filters=_filters(mesh, contracts, folder, keys),
        access_log=[_access_log(mesh.gateway.access_log)],
        # One path, one meaning: what the token guard sees is what the origin opens.
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action="REJECT_REQUEST",
        # The client is whoever connects, and headers that only Envoy may set are removed from its request.
        use_remote_address=True,
        early_header_mutation_extensions=[guard.unforgeable()],
        server_name="reelmesh",
        generate_request_id=True,
        always_set_request_id_in_response=True,
        request_headers_timeout=seconds(limits.headers_timeout),
        common_http_protocol_options={
            "idle_timeout": seconds(limits.idle_timeout),
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        http2_protocol_options={
            "max_concurrent_streams": limits.max_concurrent_streams,
            "initial_stream_window_size": limits.buffer_bytes,
            "initial_connection_window_size": limits.buffer_bytes,
        },
        local_reply_config={
            "mappers": [
                _expired(),
                *_bad_person(),
                *_hotlinked(mesh),
                *(_local_reply(status) for status in _LOCAL_ERRORS),
            ]
        },
    )


def _filters(mesh: Mesh, contracts: Contracts, folder: Path, keys: KeyFiles) -> list[Node]:
    limits: Limits = mesh.gateway.limits
    methods = [
        method for service in mesh.routed().values() for method in routed_methods(service, contracts) if method.http
    ]
    return [
        extension(CORS, "extensions.filters.http.cors.v3.Cors"),
        *guard.filters(mesh, keys),
        *rates.filters(limits),
        extension("envoy.filters.http.grpc_web", "extensions.filters.http.grpc_web.v3.GrpcWeb"),
        extension(BUFFER, "extensions.filters.http.buffer.v3.Buffer", max_request_bytes=limits.max_request_bytes),
        extension(
            TRANSCODER,
            "extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
            proto_descriptor=str(folder / "descriptors.binpb"),
            services=sorted({method.service for method in methods}),
            # An error arrives as google.rpc.Status with its details.
            convert_grpc_status=True,
            # A script finds every field: "persistedSize": "0", not nothing.
            print_options={"always_print_primitive_fields": True},
            request_validation_options={
                "reject_unknown_method": True,
                "reject_unknown_query_parameters": True,
                "reject_binding_body_field_collisions": True,
            },
            # The buffer before it has refused what is too large for its route.
            max_request_body_size=max(
                limits.max_request_bytes, *(service.max_request_bytes for service in mesh.routed().values())
            ),
            # Players that speak CMCD say on a manifest's address, too, how they are; it is read from the log.
            ignored_query_parameters=["CMCD"],
            max_response_body_size=limits.max_response_bytes,
        ),
        extension(
            "envoy.filters.http.router",
            "extensions.filters.http.router.v3.Router",
            suppress_envoy_headers=True,
        ),
    ]


def _access_log(log: AccessLog) -> Node:
    form: Node = {"log_format": {"json_format": dict(log.fields)}}
    if log.path:
        return extension(
            "envoy.access_loggers.file", "extensions.access_loggers.file.v3.FileAccessLog", path=log.path, **form
        )
    return extension("envoy.access_loggers.stdout", "extensions.access_loggers.stream.v3.StdoutAccessLog", **form)


def _expired() -> Node:
    """Let a token of media that was good and is so no more be told from one that never was."""
    return {
        "filter": _token_failed(guard.MEDIA_FAILURE, {"exact": guard.EXPIRED}),
        "status_code": 403,
        "body_format_override": {"json_format": error_body(7, "MEDIA_TOKEN_EXPIRED", "the token has expired")},
    }


def _bad_person() -> list[Node]:
    """Tell who called with a person's token whether it was good once; a gRPC client is told by the message alone."""
    key = guard.PERSON_FAILURE
    good_once: Node = {"exact": guard.EXPIRED}
    never: Node = {"safe_regex": {"regex": ".+"}}
    return [
        {
            # 403 is what jwt_authn makes of a token for another audience.
            "filter": _all(_any(_status_is(401), _status_is(403)), _token_failed(key, message), _not_grpc()),
            "status_code": 401,
            "body_format_override": {"json_format": error_body(16, reason, "%LOCAL_REPLY_BODY%")},
        }
        for message, reason in ((good_once, "TOKEN_EXPIRED"), (never, "TOKEN_INVALID"))
    ]


def _hotlinked(mesh: Mesh) -> list[Node]:
    """Tell a page of another site that it is the page, not the token, that is refused."""
    elsewhere = [{"header_filter": {"header": header}} for header in guard.foreign(mesh)]
    if not elsewhere:
        return []
    body = error_body(7, "MEDIA_HOTLINKED", "this media may not be embedded there")
    return [{"filter": _all(_status_is(403), _any(*elsewhere)), "body_format_override": {"json_format": body}}]


def _token_failed(key: str, message: Node) -> Node:
    matcher = {
        "filter": guard.JWT,
        "path": [{"key": key}, {"key": "message"}],
        "value": {"string_match": message},
    }
    return {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": False}}


def _local_reply(status: int) -> Node:
    """Let an answer of Envoy's own look like one of a service's: google.rpc.Status with ErrorInfo."""
    code, reason, message = _LOCAL_ERRORS[status]
    return {
        "filter": _all(_status_is(status), _not_grpc()),
        "body_format_override": {"json_format": error_body(code, reason, message)},
    }


def _all(*filters: Node) -> Node:
    return {"and_filter": {"filters": list(filters)}}


def _any(*filters: Node) -> Node:
    return {"or_filter": {"filters": list(filters)}}


def _status_is(status: int) -> Node:
    value = {"default_value": status, "runtime_key": f"local_reply.{status}"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _not_grpc() -> Node:
    # A gRPC client gets grpc-status and grpc-message instead, and a body would end up in the latter. A transcoded
    # request looks like gRPC by now; its original path tells.
    transcoded = {"name": "x-envoy-original-path", "present_match": True}
    not_grpc = {
        "name": "content-type",
        "string_match": {"prefix": "application/grpc"},
        "treat_missing_header_as_empty": True,
        "invert_match": True,
    }
    return {
        "or_filter": {"filters": [{"header_filter": {"header": transcoded}}, {"header_filter": {"header": not_grpc}}]}
    }
