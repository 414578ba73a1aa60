"""The guard of media: an object is served only to who has a token whose path its own begins with.

The tokens are playback's (`reelmesh.playback.tokens`). The path is the one that the connection manager has normalized,
which is also the one that the origin gets: `..` and its disguises are gone, or refused, before they are compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reelmesh_gateway.envoy import Node, extension
from reelmesh_gateway.mesh import Mesh

JWT = "envoy.filters.http.jwt_authn"
RBAC = "envoy.filters.http.rbac"
EXPIRED = "Jwt is expired"
"""What jwt_authn says of a token that was good."""
FAILURE = "media_failure"
"""Key, in jwt_authn's metadata, of why a token was refused."""
_ISSUER = "reelmesh.playback"
_AUDIENCE = "media"
_SKEW_SECONDS = 5
"""How far the gateway's clock may be behind playback's; Envoy's own default is a minute."""


def filters(mesh: Mesh, jwks: Path) -> list[Node]:
    """Return the filters that refuse requests for guarded paths; `jwks` is the file with playback's public keys."""
    paths = guarded(mesh)
    if not paths:
        return []
    provider = {
        "issuer": _ISSUER,
        "audiences": [_AUDIENCE],
        "local_jwks": {"filename": str(jwks)},
        "from_params": ["token"],
        "payload_in_metadata": _AUDIENCE,
        "failed_status_in_metadata": FAILURE,
        "clock_skew_seconds": _SKEW_SECONDS,
    }
    rules = [{"match": {"prefix": path}, "requires": {"provider_name": _AUDIENCE}} for path in paths]
    authentication = extension(
        JWT,
        "extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        providers={_AUDIENCE: provider},
        rules=rules,
        bypass_cors_preflight=True,
    )
    under = {"or_rules": {"rules": [{"url_path": {"path": {"prefix": path}}} for path in paths]}}
    anyone = [{"any": True}]
    # What is allowed is listed, so that a token without a path, or a condition that fails, opens nothing.
    policies = {
        "unguarded": {"permissions": [{"not_rule": under}], "principals": anyone},
        "granted": {"permissions": [under], "principals": anyone, "condition": _path_begins_with_the_tokens()},
    }
    authorization = extension(
        RBAC, "extensions.filters.http.rbac.v3.RBAC", rules={"action": "ALLOW", "policies": policies}
    )
    return [authentication, authorization]


def guarded(mesh: Mesh) -> list[str]:
    """Return the path prefixes that need a token."""
    return [path for service in mesh.routed().values() for path in service.guarded]


def _path_begins_with_the_tokens() -> Node:
    """Return ``request.path.startsWith(metadata.filter_metadata[…]["media"]["prefix"])``, as a tree of CEL."""
    prefix: Node = {"select_expr": {"operand": {"ident_expr": {"name": "metadata"}}, "field": "filter_metadata"}}
    for key in (JWT, _AUDIENCE, "prefix"):
        prefix = _call("_[_]", prefix, {"const_expr": {"string_value": key}})
    path = {"select_expr": {"operand": {"ident_expr": {"name": "request"}}, "field": "path"}}
    return {"call_expr": {"target": path, "function": "startsWith", "args": [prefix]}}


def _call(function: str, *arguments: Any) -> Node:
    return {"call_expr": {"function": function, "args": list(arguments)}}
