"""Every rpc of a running stack, by reflection, past the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from reelmesh_tools.stack.client import Stack

OWN = frozenset({"KEY_SYSTEM_DISABLED", "SIGNATURE_MISSING", "TELEMETRY_TOKEN_INVALID", "TOKEN_REQUIRED"})
"""Reasons by which rpcs refuse an empty request themselves: not configured, or opened by what a request carries."""


def admits(code: str, reason: str) -> bool:
    """Say whether an empty or senseless request was answered by the rpc, and not by who guards it."""
    return code in {"OK", "INVALID_ARGUMENT"} or reason in OWN


def channel(stack: Stack, service: str, folder: Path, identity: str) -> grpc.Channel:
    """Open a channel with a certificate of `folder`."""
    credentials = grpc.ssl_channel_credentials(
        (stack.layout.certificates / "ca.pem").read_bytes(),
        (folder / f"{identity}.key").read_bytes(),
        (folder / f"{identity}.pem").read_bytes(),
    )
    options = [("grpc.ssl_target_name_override", f"{service}.mesh")]
    return grpc.secure_channel(stack.plan.address(service), credentials, options=options)


def methods(opened: grpc.Channel) -> Iterator[MethodDescriptor]:
    """Yield every rpc that a server says it has, but for those of gRPC itself."""
    database = ProtoReflectionDescriptorDatabase(opened)
    pool = DescriptorPool(cast("Any", database))
    for name in database.get_services():
        if not name.startswith("grpc."):
            service: ServiceDescriptor = pool.FindServiceByName(name)
            yield from service.methods
