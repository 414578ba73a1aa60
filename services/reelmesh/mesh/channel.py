"""Channels to other services: mTLS, round robin, retries where idempotent, and a deadline on every call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
from opentelemetry.instrumentation.grpc import aio_client_interceptors

from reelmesh.mesh import deadline
from reelmesh.mesh.identity import Identity


class _Deadline(grpc.aio.UnaryUnaryClientInterceptor):
    """Gives a call what is left of the deadline of the call being served."""

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        timeout = deadline.for_call(client_call_details.timeout)
        return await continuation(_with_timeout(client_call_details, timeout), request)


def _with_timeout(details: grpc.aio.ClientCallDetails, timeout: float) -> grpc.aio.ClientCallDetails:
    return grpc.aio.ClientCallDetails(
        details.method, timeout, details.metadata, details.credentials, details.wait_for_ready
    )


def channel(
    service: str, addresses: Mapping[str, Sequence[str]], identity: Identity, service_config: str | None
) -> grpc.aio.Channel:
    """Open a channel to every address of `service`, with the retry policy that `service_config` states.

    Raises KeyError when the configuration knows no such service.
    """
    options = [
        # A certificate names the service, not the machine.
        ("grpc.ssl_target_name_override", f"{service}.mesh"),
        ("grpc.enable_retries", 1),
        ("grpc.keepalive_time_ms", 20_000),
    ]
    if service_config is not None:
        options.append(("grpc.service_config", service_config))
    return grpc.aio.secure_channel(
        "ipv4:" + ",".join(addresses[service]),
        identity.channel_credentials(),
        options=options,
        interceptors=[*aio_client_interceptors(), _Deadline()],  # type: ignore[no-untyped-call]
    )
