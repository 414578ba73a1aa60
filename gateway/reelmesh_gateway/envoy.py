"""The shapes that every part of an Envoy configuration shares."""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from pathlib import Path
from typing import Any

Node = dict[str, Any]
"""A message of Envoy's API as YAML writes it."""


def typed(type_name: str, **fields: Any) -> Node:
    """Return a message packed as google.protobuf.Any; `type_name` lacks the leading ``envoy.``."""
    return {"@type": f"type.googleapis.com/envoy.{type_name}", **fields}


def extension(name: str, type_name: str, **fields: Any) -> Node:
    """Return a named extension with its configuration."""
    return {"name": name, "typed_config": typed(type_name, **fields)}


def seconds(duration: timedelta) -> str:
    """Write a duration as protobuf's JSON does."""
    return f"{duration.total_seconds():.3f}s"


def watched(file: Path) -> Node:
    """Return a source of configuration that is read again whenever something is renamed into `file`'s folder."""
    return {
        "resource_api_version": "V3",
        "path_config_source": {"path": str(file), "watched_directory": {"path": str(file.parent)}},
    }


def address(text: str) -> Node:
    """Return the address ``"IP:port"``, ``"[IPv6]:port"`` or ``"unix:/path"``; ValueError for anything else."""
    if text.startswith("unix:"):
        return {"pipe": {"path": text.removeprefix("unix:")}}
    host, _, port = text.rpartition(":")
    try:
        ip = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        return {"socket_address": {"address": str(ip), "port_value": _port(port)}}
    except ValueError:
        raise ValueError(f'{text!r} is not an address such as "127.0.0.1:9000" or "unix:/run/ingest"') from None


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 1 << 16:
        raise ValueError(text)
    return port
