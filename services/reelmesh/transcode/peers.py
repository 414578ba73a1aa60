"""What transcode asks of other services, through their contracts."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from reelmesh.drm.v1.content_key_pb2 import ContentKey
from reelmesh.drm.v1.key_service_pb2 import CreateContentKeysRequest
from reelmesh.drm.v1.key_service_pb2_grpc import KeyServiceStub
from reelmesh.media.v1.media_pb2 import Protection
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import VideoName
from reelmesh.transcode.plan import PlanError


class DrmKeys:
    """Keys of the drm service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = KeyServiceStub(channel)

    async def create(
        self, video: VideoName, labels: Sequence[str], scheme: Protection.Scheme.ValueType
    ) -> Sequence[Protection]:
        """Return how to encrypt with the key of each label. Raises PlanError, Unavailable."""
        request = CreateContentKeysRequest(video=str(video), labels=labels, scheme=scheme)
        try:
            answer = await self._stub.CreateContentKeys(request)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                raise PlanError(
                    "SCHEME_MISMATCH", "the video has keys for another scheme: upload it as a new video"
                ) from error
            raise Unavailable("the drm service does not answer") from error
        return [_protection(key) for key in answer.keys]


def _protection(key: ContentKey) -> Protection:
    return Protection(scheme=key.scheme, key_id=key.key_id, label=key.label, iv=key.iv, pssh=key.pssh)
