"""The values of a video's keys, as a worker asks the drm service for them."""

from __future__ import annotations

from collections.abc import Mapping

import grpc

from reelmesh.drm.v1.key_service_pb2 import GetContentKeysRequest, GetContentKeysResponse
from reelmesh.drm.v1.key_service_pb2_grpc import KeyServiceStub
from reelmesh.mesh.errors import Unavailable
from reelmesh.stores.events import retry_forever
from reelmesh.worker.errors import MediaError, Reason


class DrmKeys:
    """KeyService over a channel of the mesh."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = KeyServiceStub(channel)

    async def values(self, video: str) -> Mapping[bytes, bytes]:
        """Return the value of every key of a video by its id. Raises MediaError when there is none.

        It waits while the drm service is away: what was encoded until then is not lost, and a task has a time limit.
        """
        found: dict[bytes, bytes] = {}

        async def ask() -> None:
            for key in (await self._get(video)).keys:
                found[key.key_id] = key.value

        await retry_forever(ask)
        return found

    async def _get(self, video: str) -> GetContentKeysResponse:
        try:
            return await self._stub.GetContentKeys(GetContentKeysRequest(video=video))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise MediaError(Reason.KEYS_UNKNOWN, "the video's keys are gone") from error
            raise Unavailable(f"GetContentKeys: {error.code().name} {error.details()}") from error
