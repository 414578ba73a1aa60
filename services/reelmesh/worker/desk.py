"""The control, as a worker asks it."""

from __future__ import annotations

import grpc

from reelmesh.mesh.errors import Unavailable
from reelmesh.transcode.v1.task_service_pb2 import StartTaskRequest
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
        try:
            await self._stub.StartTask(request)
        except grpc.aio.AioRpcError as error:
            if error.code() in _OBSOLETE:
                return False
            raise Unavailable(f"StartTask: {error.code().name} {error.details()}") from error
        return True
