"""Signs every call: an API key is exchanged for an access token, and again before that one ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import httpx

from reelmesh.identity.v1.account_service_pb2 import ExchangeApiKeyRequest
from reelmesh.identity.v1.account_service_pb2_grpc import AccountServiceStub

_AHEAD = timedelta(minutes=1)
"""A token that ends sooner than this is not sent any more."""
_CALL_SECONDS = 20.0


class Signer(httpx.Auth):
    """Gives the authorization header of a service account, on gRPC and on HTTP. Threads may share it."""

    def __init__(self, channel: grpc.Channel, api_key: str) -> None:
        """`channel` leads to the gateway, unsigned."""
        self._accounts = AccountServiceStub(channel)
        self._api_key = api_key
        self._lock = threading.Lock()
        self._token = ""
        self._expire_time = datetime.min.replace(tzinfo=UTC)

    def header(self) -> tuple[str, str]:
        """Return name and value. Raises grpc.RpcError when the key is not believed or nobody answers."""
        with self._lock:
            if self._expire_time - datetime.now(UTC) < _AHEAD:
                request = ExchangeApiKeyRequest(api_key=self._api_key)
                tokens = self._accounts.ExchangeApiKey(request, timeout=_CALL_SECONDS, wait_for_ready=True).tokens
                self._token = tokens.access_token
                self._expire_time = tokens.access_expire_time.ToDatetime(UTC)
            return "authorization", f"Bearer {self._token}"

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:  # type: ignore[override]
        """Sign an HTTP request."""
        name, value = self.header()
        request.headers[name] = value
        yield request

    def signed(self, channel: grpc.Channel) -> grpc.Channel:
        """Return `channel` with every call signed."""
        return grpc.intercept_channel(channel, _Interceptor(self.header))


@dataclass(frozen=True, slots=True)
class _Details(grpc.ClientCallDetails):
    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class _Interceptor(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    def __init__(self, header: Callable[[], tuple[str, str]]) -> None:
        self._header = header

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(self._signed(client_call_details), request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(self._signed(client_call_details), request)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return continuation(self._signed(client_call_details), request_iterator)

    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return continuation(self._signed(client_call_details), request_iterator)

    def _signed(self, details: Any) -> _Details:
        metadata = (*(details.metadata or ()), self._header())
        return _Details(
            details.method, details.timeout, metadata, details.credentials, details.wait_for_ready, details.compression
        )
