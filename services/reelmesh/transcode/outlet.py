"""Where the control's tasks and facts go: Kafka."""

from __future__ import annotations

from datetime import timedelta

from reelmesh.events.v1.media_event_pb2 import JobFailed, JobPlanned, JobPlayable, JobSucceeded, MediaEvent
from reelmesh.mesh.clock import Clock, derived_id
from reelmesh.stores.events import MEDIA_EVENTS, TASKS, Publisher, Record, dead_letters
from reelmesh.transcode.job import Job, State
from reelmesh.worker.v1 import task_pb2


class KafkaOutlet:
    """Publishes tasks, facts and dead letters."""

    def __init__(self, publisher: Publisher, clock: Clock) -> None:
        self._publisher = publisher
        self._clock = clock

    async def queue(self, task: task_pb2.Task) -> None:
        """Queue a task. Raises Unavailable."""
        await self._publisher.publish(Record(TASKS, task.job, task.SerializeToString()))

    async def announce(self, job: Job, fact: str) -> None:
        """Publish a fact about a job. Raises Unavailable."""
        # A retried job says everything anew: each time is an event of its own.
        event = MediaEvent(id=derived_id(job.name.id, f"{fact} {job.retries}"), video=str(job.video))
        event.time.FromDatetime(self._clock.now())
        name = str(job.name)
        match fact, job.state:
            case "planned", _:
                event.job_planned.CopyFrom(JobPlanned(job=name, tracks=job.tracks))
                event.job_planned.duration.FromTimedelta(timedelta(seconds=job.duration))
            case "playable", _:
                event.job_playable.CopyFrom(JobPlayable(job=name, tracks=job.tracks))
            case "ended", State.READY:
                event.job_succeeded.CopyFrom(JobSucceeded(job=name))
            case _:
                event.job_failed.CopyFrom(
                    JobFailed(
                        job=name,
                        reason=job.failure_reason,
                        message=job.failure_message,
                        cancelled=job.state is State.CANCELLED,
                    )
                )
        await self._publisher.publish(Record(MEDIA_EVENTS, event.video, event.SerializeToString()))

    async def bury(self, job: Job, task: task_pb2.Task) -> None:
        """Publish the task that ended a job as a dead letter. Raises Unavailable."""
        why = {"reason": job.failure_reason, "message": job.failure_message}
        await self._publisher.publish(Record(dead_letters(TASKS), task.job, task.SerializeToString(), why))
