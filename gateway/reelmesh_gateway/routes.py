"""Which request goes where: a route for every rpc that people may call, then the origin, and nothing else.

The transcoder turns ``GET /v1/…`` into the rpc's own path and lets Envoy choose the route again, so an rpc has one
route whatever it is called by. Requests that need other settings before they are transcoded (uploads, manifests) have
a second route on their HTTP path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from reelmesh_gateway import rates
from reelmesh_gateway.contracts import Contracts, Method
from reelmesh_gateway.envoy import Node, extension, seconds, typed
from reelmesh_gateway.mesh import Cors, Gateway, Limits, Mesh, Service, Tls

CORS = "envoy.filters.http.cors"
BUFFER = "envoy.filters.http.buffer"
TRANSCODER = "envoy.filters.http.grpc_json_transcoder"

_HTTP_BODY = "body"
"""Field that holds the google.api.HttpBody of a response, by this project's custom."""

_OFF = typed("config.route.v3.FilterConfig", disabled=True)
_OTHER_HOST = extension(
    "envoy.retry_host_predicates.previous_hosts", "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
)
_GRPC_CONTENT = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
"""gRPC, gRPC-Web, and JSON once it is transcoded."""
# A connection that broke before the service answered a word; a gRPC answer of UNAVAILABLE. An rpc without side effects
# may have been under way: what was asked of a replica that is killed is asked of another.
_RETRY_GRPC = "connect-failure,refused-stream,reset,unavailable"
_RETRY_HTTP = "connect-failure,refused-stream,reset-before-request"


def route_configuration(mesh: Mesh, contracts: Contracts) -> Node:
    """Return the route table as an xDS resource named ``routes``."""
    cors = mesh.gateway.cors
    return typed(
        "config.route.v3.RouteConfiguration",
        name="routes",
        virtual_hosts=[
            {
                "name": "reelmesh",
                "domains": ["*"],
                "typed_per_filter_config": {CORS: _cors(cors, cors.origins)},
                "response_headers_to_add": list(_security_headers(mesh.gateway.tls)),
                "include_attempt_count_in_response": False,
                "routes": list(_routes(mesh, contracts)),
            }
        ],
    )


def routed_methods(service: Service, contracts: Contracts) -> list[Method]:
    """Return the rpcs of a service that people may call; those for services only have no route."""
    return [method for method in contracts.of(service.grpc) if method.people]


def _routes(mesh: Mesh, contracts: Contracts) -> Iterator[Node]:
    paths = []
    for name, service in mesh.routed().items():
        for method in routed_methods(service, contracts):
            yield _rpc(name, service, method, mesh.gateway.limits)
            yield from _before_transcoding(name, service, method, mesh.gateway)
        paths += [(path, name, service) for path in service.paths]
    # What the transcoder knows never gets here; what it does not know must not fall through to the web page.
    yield _refuse({"prefix": "/v1/"}, 404, "no such resource or method")
    yield _refuse({"prefix": "/", "grpc": {}}, 404, "no such rpc", transcode=False)
    for prefix in ("/reelmesh.", "/grpc."):
        yield _refuse({"prefix": prefix}, 404, "no such rpc", transcode=False)
    for path, name, service in sorted(paths, key=lambda entry: -len(entry[0])):
        yield _files(path, name, service, mesh)
    yield _refuse({"prefix": "/"}, 405, "only GET and HEAD", transcode=False)


def _rpc(name: str, service: Service, method: Method, limits: Limits) -> Node:
    filters = {TRANSCODER: _OFF, **_own(service, limits), **({BUFFER: _OFF} if method.streaming else {})}
    return {
        "name": method.path,
        "match": {"path": method.path, "headers": [_GRPC_CONTENT]},
        "route": _action(name, service, method),
        "typed_per_filter_config": filters,
    }


def _own(service: Service, limits: Limits) -> Node:
    """Return the settings of filters that are a service's own."""
    filters = rates.own(limits, service.address_rate)
    if service.max_request_bytes:
        buffer = {"max_request_bytes": service.max_request_bytes}
        filters[BUFFER] = typed("extensions.filters.http.buffer.v3.BufferPerRoute", buffer=buffer)
    return filters


def _before_transcoding(name: str, service: Service, method: Method, gateway: Gateway) -> Iterator[Node]:
    """Routes for requests that pass the filters before the transcoder with settings of their own."""
    cors, filters = gateway.cors, _own(service, gateway.limits)
    if method.client_streaming:
        filters[BUFFER] = _OFF
    for rule in method.http:
        if rule.response_body == _HTTP_BODY and method.anyone:  # manifests and licenses, which open by their own token
            filters[CORS] = _cors(cors, cors.media_origins)
        if filters:
            yield {
                "name": f"{rule.verb} {rule.template}",
                "match": {
                    "safe_regex": {"regex": rule.regex()},
                    "headers": [_is_verb(rule.verb, "OPTIONS")],
                },
                "route": _action(name, service, method),
                "typed_per_filter_config": filters,
            }


def _action(name: str, service: Service, method: Method) -> Node:
    # Not `timeout`: when that one expires Envoy says UNAVAILABLE, which invites a retry of what may have happened.
    action: Node = {"cluster": name, "timeout": "0s"}
    if method.streaming:
        return {
            **action,
            "idle_timeout": seconds(service.stream_idle_timeout),
            "max_stream_duration": {"max_stream_duration": "0s", "grpc_timeout_header_max": "0s"},
        }
    deadline = seconds(service.timeout)
    action["max_stream_duration"] = {"max_stream_duration": deadline, "grpc_timeout_header_max": deadline}
    if method.no_side_effects and service.retry.attempts > 1:
        action["retry_policy"] = _retry(service, _RETRY_GRPC)
    return action


def _security_headers(tls: Tls | None) -> Iterator[Node]:
    yield _header("x-content-type-options", "nosniff")
    yield _header("referrer-policy", "same-origin")
    if tls is not None and tls.hsts:
        yield _header("strict-transport-security", f"max-age={int(tls.hsts.total_seconds())}; includeSubDomains")


def _files(path: str, name: str, service: Service, mesh: Mesh) -> Node:
    cors = mesh.gateway.cors
    unlimited = {rates.FILTER: _OFF} if rates.filters(mesh.gateway.limits) else {}
    action: Node = {
        "cluster": name,
        # A large segment on a slow line takes as long as it takes.
        "timeout": "0s",
        "idle_timeout": seconds(service.stream_idle_timeout),
    }
    if service.retry.attempts > 1:
        action["retry_policy"] = _retry(service, _RETRY_HTTP)
    return {
        "name": path,
        "match": {"prefix": path, "headers": [_is_verb("GET", "HEAD", "OPTIONS")]},
        "route": action,
        "typed_per_filter_config": {TRANSCODER: _OFF, CORS: _cors(cors, cors.media_origins), **unlimited},
    }


def _retry(service: Service, conditions: str) -> Node:
    retry = service.retry
    return {
        "retry_on": conditions,
        "num_retries": retry.attempts - 1,
        # Balancing by turns may come back to an endpoint that is gone and not yet known to be.
        "retry_host_predicate": [_OTHER_HOST],
        "host_selection_retry_max_attempts": 3,
        "per_try_timeout": seconds(service.timeout / retry.attempts),
        "retry_back_off": {
            "base_interval": seconds(retry.initial_backoff),
            "max_interval": seconds(retry.max_backoff),
        },
    }


def _refuse(match: Node, status: int, message: str, *, transcode: bool = True) -> Node:
    """Answer with an HTTP status; the listener's local replies give it the body that fits the client."""
    route: Node = {
        "name": f"refuse {match['prefix']}",
        "match": match,
        "direct_response": {"status": status, "body": {"inline_string": message}},
    }
    if not transcode:
        route["typed_per_filter_config"] = {TRANSCODER: _OFF}
    return route


def error_body(code: int, reason: str, message: str) -> Node:
    """Return google.rpc.Status with ErrorInfo as its JSON has it; `code` is a google.rpc.Code."""
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "reelmesh.gateway"}
    return {"code": code, "message": message, "details": [info]}


def _cors(cors: Cors, origins: tuple[str, ...]) -> Node:
    return typed(
        "extensions.filters.http.cors.v3.CorsPolicy",
        allow_origin_string_match=[{"exact": origin} for origin in origins],
        allow_methods="GET, HEAD, POST, PUT, PATCH, DELETE",
        allow_headers="authorization, content-type, grpc-timeout, if-none-match, range, x-grpc-web, x-user-agent",
        expose_headers="accept-ranges, content-length, content-range, etag, grpc-message, grpc-status,"
        " grpc-status-details-bin, x-request-id",
        max_age=str(int(cors.max_age.total_seconds())),
        # Who is calling is said in a header, never in a cookie that another site's page would send along.
        allow_credentials=False,
    )


def _is_verb(*verbs: str) -> dict[str, Any]:
    pattern = "|".join(re.escape(verb) for verb in verbs)
    return {"name": ":method", "string_match": {"safe_regex": {"regex": pattern}}}


def _header(name: str, value: str) -> Node:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
