"""Write Envoy's configuration: a bootstrap that never changes, and files that Envoy reads again when renamed over."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from reelmesh_gateway.clusters import clusters, endpoints, endpoints_file, secret_file, secrets
from reelmesh_gateway.contracts import Contracts, check, with_error_details
from reelmesh_gateway.envoy import Node, address, extension, watched
from reelmesh_gateway.guard import KeyFiles
from reelmesh_gateway.listener import listener
from reelmesh_gateway.mesh import GATEWAY, Mesh, load
from reelmesh_gateway.routes import route_configuration


def write(
    mesh_file: Path,
    out: Path,
    *,
    gateway_port: int,
    admin_port: int,
    addresses: Mapping[str, list[str]],
    certificates: Path,
    keys: KeyFiles,
    descriptor_set: Path,
) -> Path:
    """Write bootstrap, listener, routes, clusters, endpoints and secrets into the folder `out`; return the bootstrap.

    `addresses` names the endpoints of each service ("127.0.0.1:9000" or "unix:/path"); one that is missing has none.
    `certificates` holds gateway.pem, gateway.key and ca.pem; `keys` says where the public keys of tokens are, none as
    long as there is no such file. Paths go into the files as they are given: relative ones count from Envoy's working
    directory. Calling it again on a running Envoy's folder changes its routes and endpoints without dropping a
    connection. New contracts and listener settings hold for new connections, while old ones go on as they are until
    they end or Envoy's drain time is over. Another port needs a new Envoy.

    Raises SettingError for a wrong mesh file and ValueError for a wrong address; nothing is written then.
    """
    mesh = load(mesh_file)
    contracts = Contracts.read(descriptor_set)
    check(mesh, contracts)
    descriptors = with_error_details(descriptor_set.read_bytes())
    # What is referred to comes first: a listener must find its routes, a cluster its endpoints and secrets.
    files = {
        "descriptors.binpb": descriptors,
        **{secret_file(name): _resources([secret]) for name, secret in secrets(certificates, mesh.gateway.tls).items()},
        **{endpoints_file(name): _resources([hosts]) for name, hosts in endpoints(mesh, addresses).items()},
        "cds.yaml": _resources(clusters(mesh, out)),
        "rds.yaml": _resources([route_configuration(mesh, contracts)]),
        "lds.yaml": _resources([listener(mesh, contracts, out, gateway_port, descriptors, keys)]),
        "bootstrap.yaml": dump(_bootstrap(mesh, out, admin_port)),
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        _replace(out / name, content)
    return out / "bootstrap.yaml"


def dump(document: Node) -> bytes:
    """Write YAML with every string quoted: Envoy would read a bare ``n`` or ``off`` as false."""
    return yaml.dump(document, Dumper=_Quoting, sort_keys=False, width=10_000, allow_unicode=True).encode()


def _bootstrap(mesh: Mesh, out: Path, admin_port: int) -> Node:
    connections = {"max_active_downstream_connections": mesh.gateway.limits.max_connections}
    return {
        "node": {"id": GATEWAY, "cluster": mesh.trust_domain},
        "admin": {"address": address(f"127.0.0.1:{admin_port}")},
        "dynamic_resources": {
            "lds_config": watched(out / "lds.yaml"),
            "cds_config": watched(out / "cds.yaml"),
        },
        "overload_manager": {
            "resource_monitors": [
                extension(
                    "envoy.resource_monitors.global_downstream_max_connections",
                    "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    **connections,
                )
            ]
        },
    }


def _resources(resources: list[Node]) -> bytes:
    # The version is the content's, so that writing the same again is no change.
    version = hashlib.sha256(dump({"resources": resources})).hexdigest()[:16]
    return dump({"version_info": version, "resources": resources})


def _replace(file: Path, content: bytes) -> None:
    """Put `content` in place in one step; Envoy sees the old file or the new one, never half of one."""
    if file.exists() and file.read_bytes() == content:
        return
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    beside.write_bytes(content)
    beside.replace(file)


class _Quoting(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


_Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))
