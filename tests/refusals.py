"""How calls of gRPC are refused."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status


async def refusal(asked: Awaitable[Any], domain: str = "") -> tuple[grpc.StatusCode, str]:
    """Return by which code, and for which reason, a call is refused; held against `domain` where one is given."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asked
    call: Any = caught.value
    status = rpc_status.from_call(call)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert domain in ("", info.domain)
    return caught.value.code(), info.reason
