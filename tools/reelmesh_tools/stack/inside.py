"""Channels to the services of a local stack, past the gateway."""

from __future__ import annotations

import grpc

from reelmesh_tools.stack.layout import Layout
from reelmesh_tools.stack.plan import Plan


def channel_as(identity: str, layout: Layout, plan: Plan, service: str) -> grpc.Channel:
    """Open a channel to a service, under the certificate of `identity`. Raises OSError where there is none."""
    return channel_to(identity, layout, plan.address(service), service)


def channel_to(identity: str, layout: Layout, address: str, service: str) -> grpc.Channel:
    """Open a channel to one process of a service, which listens at `address`. Raises OSError without a certificate."""
    folder = layout.certificates
    credentials = grpc.ssl_channel_credentials(
        (folder / "ca.pem").read_bytes(),
        (folder / f"{identity}.key").read_bytes(),
        (folder / f"{identity}.pem").read_bytes(),
    )
    # A certificate names the service, not the machine.
    options = [("grpc.ssl_target_name_override", f"{service}.mesh")]
    return grpc.secure_channel(address, credentials, options=options)
