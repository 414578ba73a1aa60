"""The drm service as the control and the workers ask it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from media_fakes import PSSH, VIDEO, digest

from reelmesh.drm.v1 import key_service_pb2 as pb
from reelmesh.drm.v1.content_key_pb2 import ContentKey
from reelmesh.drm.v1.key_service_pb2_grpc import add_KeyServiceServicer_to_server
from reelmesh.media.v1.media_pb2 import Protection
from reelmesh.mesh.errors import Unavailable
from reelmesh.transcode import peers
from reelmesh.transcode.plan import PlanError
from reelmesh.worker import keys
from reelmesh.worker.errors import MediaError, Reason

CBCS = Protection.SCHEME_CBCS


class KeyService:
    """Has a key for every label; `codes` say how the next calls are refused."""

    def __init__(self) -> None:
        self.codes: list[grpc.StatusCode] = []
        self.asked: list[Any] = []

    async def CreateContentKeys(self, request: Any, context: Any) -> pb.CreateContentKeysResponse:  # noqa: N802
        await self._answer(request, context)
        made = [
            ContentKey(key_id=digest(label), label=label, scheme=request.scheme, iv=digest("iv"), pssh=PSSH)
            for label in request.labels
        ]
        return pb.CreateContentKeysResponse(keys=made)

    async def GetContentKeys(self, request: Any, context: Any) -> pb.GetContentKeysResponse:  # noqa: N802
        await self._answer(request, context)
        return pb.GetContentKeysResponse(keys=[ContentKey(key_id=digest("SD"), label="SD", value=digest("value"))])

    async def _answer(self, request: Any, context: Any) -> None:
        self.asked.append(request)
        if self.codes:
            await context.abort(self.codes.pop(0), "no")

    def __getattr__(self, name: str) -> None:
        """Other rpcs are not asked."""


@pytest.fixture
def service() -> KeyService:
    return KeyService()


@pytest.fixture
async def channel(service: KeyService) -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server()
    anything: Any = service
    add_KeyServiceServicer_to_server(anything, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    await server.stop(None)


async def test_the_control_learns_everything_but_values(service: KeyService, channel: grpc.aio.Channel) -> None:
    made = await peers.DrmKeys(channel).create(VIDEO, ["SD", "AUDIO"], CBCS)
    assert [(each.label, each.key_id, each.iv) for each in made] == [
        ("SD", digest("SD"), digest("iv")),
        ("AUDIO", digest("AUDIO"), digest("iv")),
    ]
    assert all(list(each.pssh) == PSSH and each.scheme == CBCS for each in made)
    assert [request.video for request in service.asked] == [str(VIDEO)]


async def test_keys_of_another_scheme_end_the_job(service: KeyService, channel: grpc.aio.Channel) -> None:
    service.codes = [grpc.StatusCode.FAILED_PRECONDITION]
    with pytest.raises(PlanError) as caught:
        await peers.DrmKeys(channel).create(VIDEO, ["SD"], CBCS)
    assert caught.value.reason == "SCHEME_MISMATCH"


async def test_a_plan_is_made_later_when_drm_is_away(service: KeyService, channel: grpc.aio.Channel) -> None:
    service.codes = [grpc.StatusCode.UNAVAILABLE]
    with pytest.raises(Unavailable):
        await peers.DrmKeys(channel).create(VIDEO, ["SD"], CBCS)


async def test_a_worker_waits_while_drm_is_away(service: KeyService, channel: grpc.aio.Channel) -> None:
    service.codes = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED]
    assert await keys.DrmKeys(channel).values(str(VIDEO)) == {digest("SD"): digest("value")}
    assert [request.video for request in service.asked] == [str(VIDEO)] * 3


async def test_keys_that_are_gone_end_the_task(service: KeyService, channel: grpc.aio.Channel) -> None:
    service.codes = [grpc.StatusCode.NOT_FOUND]
    with pytest.raises(MediaError) as caught:
        await keys.DrmKeys(channel).values(str(VIDEO))
    assert (caught.value.reason, caught.value.retryable) == (Reason.KEYS_UNKNOWN, False)
