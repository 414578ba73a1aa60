"""The control, as a worker asks it."""

from __future__ import annotations

from collections.abc import Awaitable

import grpc

from reelmesh.mesh.errors import Unavailable
from reelmesh.transcode.v1.task_service_pb2 import KeepTaskRequest, StartTaskRequest
from reelmesh.transcode.v1.task_service_pb2_grpc import TaskServiceStub
from reelmesh.worker.v1.task_pb2 import Task

_OBSOLETE = {grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND}


class ControlDesk:
    """TaskService over a channel of the mesh."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = TaskServiceStub(channel)

    async def start(self, task: Task, worker: str, record: str) -> bool:
        """Return False when the task is no longer wanted. Raises Unavailable."""
        request = StartTaskRequest(job=task.job, task=task.id, attempt=task.attempt, worker=worker, record=record)
        return await _wanted("StartTask", self._stub.StartTask(request))

    async def keep(self, task: Task, worker: str) -> bool:
        """Return False when nobody waits for a task any more that the worker is at. Raises Unavailable."""
        request = KeepTaskRequest(job=task.job, task=task.id, attempt=task.attempt, worker=worker)
        return await _wanted("KeepTask", self._stub.KeepTask(request))


async def _wanted(rpc: str, call: Awaitable[object]) -> bool:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        if error.code() in _OBSOLETE:
            return False
        raise Unavailable(f"{rpc}: {error.code().name} {error.details()}") from error
    return True
