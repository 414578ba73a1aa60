"""The service config of a gRPC client channel: balancing, deadlines and retries, made from mesh.yaml and a contract."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from reelmesh_gateway.contracts import Contracts, Method
from reelmesh_gateway.mesh import Mesh, Retry, Service


def service_config(mesh: Mesh, service: str, descriptors: FileDescriptorSet | DescriptorPool) -> str:
    """Return the JSON for the channel option ``grpc.service_config`` of a channel to `service`.

    Round robin over all addresses; a unary rpc gets the service's timeout where the caller gives none or a longer one;
    rpcs without side effects are retried on UNAVAILABLE. Streams get neither. Raises KeyError where mesh.yaml has no
    such service or `descriptors` lacks one of its contracts.

    Source of the format: github.com/grpc/grpc-proto, grpc/service_config/service_config.proto.
    """
    settings = mesh.services[service]
    unary = [method for method in Contracts(descriptors).of(settings.grpc) if not method.streaming]
    safe = [method for method in unary if method.no_side_effects]
    other = [method for method in unary if not method.no_side_effects]
    configs = [_method_config(safe, settings, settings.retry), _method_config(other, settings, None)]
    return json.dumps(
        {
            "loadBalancingConfig": [{"round_robin": {}}],
            "methodConfig": [config for config in configs if config["name"]],
            # While more than a fifth of the calls fail, retries would only add to what is too much already.
            "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.2},
        }
    )


def _method_config(methods: list[Method], settings: Service, retry: Retry | None) -> dict[str, Any]:
    config: dict[str, Any] = {
        "name": [{"service": method.service, "method": method.name} for method in methods],
        "timeout": _seconds(settings.timeout),
    }
    if retry is not None and retry.attempts > 1:
        config["retryPolicy"] = {
            "maxAttempts": retry.attempts,
            "initialBackoff": _seconds(retry.initial_backoff),
            "maxBackoff": _seconds(retry.max_backoff),
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
    return config


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():.3f}s"
