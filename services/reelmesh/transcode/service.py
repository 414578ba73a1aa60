"""JobService, TaskService and SegmentIndexService: proto in, one domain call, proto out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc

from reelmesh.mesh.clock import IdSource
from reelmesh.mesh.names import JobName, UploadName, VideoName, decode_page_token, encode_page_token, organization_of
from reelmesh.transcode import index
from reelmesh.transcode.control import Control
from reelmesh.transcode.job import Job, TaskState
from reelmesh.transcode.v1 import job_pb2, segment_index_service_pb2, task_service_pb2
from reelmesh.transcode.v1 import job_service_pb2 as pb
from reelmesh.transcode.v1.job_service_pb2_grpc import JobServiceServicer
from reelmesh.transcode.v1.segment_index_service_pb2_grpc import SegmentIndexServiceServicer
from reelmesh.transcode.v1.task_service_pb2_grpc import TaskServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]
PAGE_SIZE = 50


class JobService(JobServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, control: Control, ids: IdSource) -> None:
        self._control = control
        self._ids = ids

    async def CreateJob(self, request: pb.CreateJobRequest, context: Context) -> pb.CreateJobResponse:
        """Encode an upload's source once more."""
        job = await self._control.create(
            organization_of(request.parent), UploadName.parse(request.job.upload), request.request_id, self._ids.new()
        )
        return pb.CreateJobResponse(job=to_proto(job))

    async def GetJob(self, request: pb.GetJobRequest, context: Context) -> pb.GetJobResponse:
        """Say how far a job is."""
        return pb.GetJobResponse(job=to_proto(await self._control.get(JobName.parse(request.name))))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:
        """List jobs, newest first."""
        jobs, further = await self._control.list(
            organization_of(request.parent),
            UploadName.parse(request.upload) if request.upload else None,
            request.page_size or PAGE_SIZE,
            decode_page_token(request.page_token),
        )
        return pb.ListJobsResponse(jobs=[to_proto(job) for job in jobs], next_page_token=encode_page_token(further))

    async def WatchJob(self, request: pb.WatchJobRequest, context: Context) -> AsyncIterator[pb.WatchJobResponse]:
        """Send the job at each change."""
        async for job in self._control.watch(JobName.parse(request.name), request.after_revision):
            yield pb.WatchJobResponse(job=to_proto(job))

    async def CancelJob(self, request: pb.CancelJobRequest, context: Context) -> pb.CancelJobResponse:
        """End a job."""
        return pb.CancelJobResponse(job=to_proto(await self._control.cancel(JobName.parse(request.name))))

    async def RetryJob(self, request: pb.RetryJobRequest, context: Context) -> pb.RetryJobResponse:
        """Go on with a failed or cancelled job."""
        return pb.RetryJobResponse(job=to_proto(await self._control.retry(JobName.parse(request.name))))


class TaskService(TaskServiceServicer):
    """The door for workers."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def StartTask(
        self, request: task_service_pb2.StartTaskRequest, context: Context
    ) -> task_service_pb2.StartTaskResponse:
        """Let a worker have a task."""
        deliveries = await self._control.start_task(
            JobName.parse(request.job), request.task, request.attempt, request.worker, request.record
        )
        return task_service_pb2.StartTaskResponse(deliveries=deliveries)

    async def KeepTask(
        self, request: task_service_pb2.KeepTaskRequest, context: Context
    ) -> task_service_pb2.KeepTaskResponse:
        """Let a worker go on."""
        await self._control.keep_task(JobName.parse(request.job), request.task, request.attempt, request.worker)
        return task_service_pb2.KeepTaskResponse()


class SegmentIndexService(SegmentIndexServiceServicer):
    """Reads the segment index."""

    def __init__(self, store: index.IndexStore) -> None:
        self._store = store

    async def GetSegmentIndex(
        self, request: segment_index_service_pb2.GetSegmentIndexRequest, context: Context
    ) -> segment_index_service_pb2.GetSegmentIndexResponse:
        """Return what there is to play of a video."""
        found = await index.read(self._store, VideoName.parse(request.video))
        return segment_index_service_pb2.GetSegmentIndexResponse(index=found)


def to_proto(job: Job) -> job_pb2.Job:
    """Write a job as the contract does."""
    message = job_pb2.Job(
        name=str(job.name),
        video=str(job.video),
        upload=str(job.upload),
        state=job_pb2.Job.State.Value(f"STATE_{job.state.value}"),
        playable=job.playable_time is not None,
        tracks=job.tracks,
        progress=job_pb2.Job.Progress(
            tasks=len(job.tasks),
            tasks_done=sum(task.state is TaskState.DONE for task in job.tasks.values()),
            bytes_read=job.bytes_read,
            redeliveries=job.redeliveries,
        ),
        revision=job.revision,
        frames=job.frames,
        protected=job.protected,
        source_frames=job.source_frames,
    )
    if job.failure_reason:
        message.failure.CopyFrom(
            job_pb2.Job.Failure(reason=job.failure_reason, message=job.failure_message, task=job.failure_task)
        )
    message.duration.FromTimedelta(timedelta(seconds=job.duration))
    message.create_time.FromDatetime(job.create_time)
    if job.playable_time is not None:
        message.playable_time.FromDatetime(job.playable_time)
    if job.end_time is not None:
        message.end_time.FromDatetime(job.end_time)
    return message
