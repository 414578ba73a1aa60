"""Who may pass: tokens of people are checked on every request, and an object is served only to who has a token for it.

A person's token is checked here and taken away; what it says goes to the service in a header that nobody outside can
set (`reelmesh.mesh.people`). A token of media names a path (`reelmesh.playback.tokens`), and the path that is asked for
must begin with it; where sites are named that may embed media, a request for another's page is refused as well. That
path is the one that the connection manager has normalized, which is also the one that the origin gets: `..` and its
disguises are gone, or refused, before they are compared.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reelmesh.mesh.person import HEADER, ISSUER
from reelmesh_gateway.envoy import Node, extension, seconds
from reelmesh_gateway.mesh import Issuer, Mesh

JWT = "envoy.filters.http.jwt_authn"
RBAC = "envoy.filters.http.rbac"
EXPIRED = "Jwt is expired"
"""What jwt_authn says of a token that was good."""
MEDIA_FAILURE = "media_failure"
"""Key, in jwt_authn's metadata, of why a token of media was refused."""
PERSON_FAILURE = "person_failure"
"""The same of a person's token."""
PERSON = "person"
"""Key, in jwt_authn's metadata, of what a person's token says."""
_MEDIA = "media"
_MEDIA_ISSUER = "reelmesh.playback"
_AUDIENCE = "reelmesh"
_SKEW_SECONDS = 5
"""How far the gateway's clock may be behind those who sign; Envoy's own default is a minute."""
_JWKS_CACHE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """JSON Web Key Sets of those who sign for the installation itself."""

    media: Path
    """Of tokens of media."""
    people: Path
    """Of tokens of people and service accounts."""

    def digest(self) -> str:
        """Return another text with every change of the keys; a file that is not there yet counts as empty."""
        held = [file.read_bytes() if file.exists() else b"" for file in (self.media, self.people)]
        return hashlib.sha256(b"\0".join(held)).hexdigest()[:16]


def filters(mesh: Mesh, keys: KeyFiles) -> list[Node]:
    """Return the filters that refuse wrong tokens anywhere, and requests without the right one for guarded paths."""
    paths = guarded(mesh)
    providers = {_MEDIA: _media(keys.media), "people": _own(keys.people)}
    providers |= {f"issuer-{name}": _foreign(name, issuer) for name, issuer in mesh.gateway.issuers.items()}
    signed_in = [{"provider_name": name} for name in providers if name != _MEDIA]
    rules = [{"match": {"prefix": path}, "requires": {"provider_name": _MEDIA}} for path in paths]
    # Whether a token is needed at all, the contract of each rpc says, and the service holds to it.
    anyone: Node = {"requires_any": {"requirements": [*signed_in, {"allow_missing": {}}]}}
    rules.append({"match": {"prefix": "/"}, "requires": anyone})
    authentication = extension(
        JWT,
        "extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        providers=providers,
        rules=rules,
        bypass_cors_preflight=True,
    )
    return [authentication, _authorization(paths, foreign(mesh))] if paths else [authentication]


def unforgeable() -> Node:
    """Return what takes the header away that only the gateway may set, before anything else sees the request."""
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[{"remove": HEADER}],
    )


def guarded(mesh: Mesh) -> list[str]:
    """Return the path prefixes that need a token of media."""
    return [path for service in mesh.routed().values() for path in service.guarded]


def foreign(mesh: Mesh) -> list[Node]:
    """Return header matchers of requests that a page of another site makes; none where no sites are named."""
    origins = mesh.gateway.cors.media_origins
    if not origins or "*" in origins:
        return []
    ours = "|".join(re.escape(origin) for origin in origins)
    # A header that is not there matches neither: players outside of browsers send none, and have their token.
    return [
        {"name": name, "string_match": {"safe_regex": {"regex": regex}}, "invert_match": True}
        for name, regex in (("origin", f"({ours})"), ("referer", f"({ours})(/.*)?"))
    ]


def issuer_cluster(name: str) -> str:
    """Return the name of the cluster by which the keys of an issuer are fetched."""
    return f"issuer-{name}"


def _media(jwks: Path) -> Node:
    return {
        "issuer": _MEDIA_ISSUER,
        "audiences": [_MEDIA],
        "local_jwks": {"filename": str(jwks)},
        "from_params": ["token"],
        "payload_in_metadata": _MEDIA,
        "failed_status_in_metadata": MEDIA_FAILURE,
        "clock_skew_seconds": _SKEW_SECONDS,
    }


def _own(jwks: Path) -> Node:
    return _person(Issuer(issuer=ISSUER, audiences=(_AUDIENCE,)), {"local_jwks": {"filename": str(jwks)}})


def _foreign(name: str, issuer: Issuer) -> Node:
    if issuer.jwks_file is not None:
        return _person(issuer, {"local_jwks": {"filename": str(issuer.jwks_file)}})
    uri = {"uri": issuer.jwks_uri, "cluster": issuer_cluster(name), "timeout": seconds(issuer.timeout)}
    remote = {"http_uri": uri, "cache_duration": f"{_JWKS_CACHE_SECONDS}s", "async_fetch": {"fast_listener": True}}
    return _person(issuer, {"remote_jwks": remote})


def _person(issuer: Issuer, keys: Node) -> Node:
    return {
        "issuer": issuer.issuer,
        "audiences": list(issuer.audiences),
        **keys,
        # Named, because without it a query parameter would do as well, and queries end up in logs of others.
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
        "forward_payload_header": HEADER,
        "payload_in_metadata": PERSON,
        "failed_status_in_metadata": PERSON_FAILURE,
        "clock_skew_seconds": _SKEW_SECONDS,
    }


def _authorization(paths: list[str], elsewhere: list[Node]) -> Node:
    under = {"or_rules": {"rules": [{"url_path": {"path": {"prefix": path}}} for path in paths]}}
    anyone = [{"any": True}]
    # What is allowed is listed, so that a token without a path, or a condition that fails, opens nothing.
    policies = {
        "unguarded": {"permissions": [{"not_rule": under}], "principals": anyone},
        "granted": {
            "permissions": [{"and_rules": {"rules": [under, *({"not_rule": {"header": each}} for each in elsewhere)]}}],
            "principals": anyone,
            "condition": _path_begins_with_the_tokens(),
        },
    }
    return extension(RBAC, "extensions.filters.http.rbac.v3.RBAC", rules={"action": "ALLOW", "policies": policies})


def _path_begins_with_the_tokens() -> Node:
    """Return ``request.path.startsWith(metadata.filter_metadata[…]["media"]["prefix"])``, as a tree of CEL."""
    prefix: Node = {"select_expr": {"operand": {"ident_expr": {"name": "metadata"}}, "field": "filter_metadata"}}
    for key in (JWT, _MEDIA, "prefix"):
        prefix = _call("_[_]", prefix, {"const_expr": {"string_value": key}})
    path = {"select_expr": {"operand": {"ident_expr": {"name": "request"}}, "field": "path"}}
    return {"call_expr": {"target": path, "function": "startsWith", "args": [prefix]}}


def _call(function: str, *arguments: Any) -> Node:
    return {"call_expr": {"function": function, "args": list(arguments)}}
