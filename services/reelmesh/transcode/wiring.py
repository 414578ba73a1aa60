"""Builds the transcode control from what is real."""

from __future__ import annotations

from datetime import timedelta

from reelmesh.media.v1.media_pb2 import Protection
from reelmesh.mesh.config import Config
from reelmesh.mesh.server import Service, Target
from reelmesh.mesh.settings import SettingError
from reelmesh.stores.bundle import Stores
from reelmesh.stores.events import MEDIA_EVENTS, RESULTS, TASKS, Subscription, ensure_topics
from reelmesh.stores.migrations import migrate
from reelmesh.stores.queue import WORKERS, ensure_group
from reelmesh.transcode.cleanup import Cleanup
from reelmesh.transcode.consumers import MediaEvents, Results
from reelmesh.transcode.control import Control, Limits
from reelmesh.transcode.outlet import KafkaOutlet
from reelmesh.transcode.overdue import Overdue
from reelmesh.transcode.peers import DrmKeys
from reelmesh.transcode.plan import PlanSettings
from reelmesh.transcode.planning import Planning
from reelmesh.transcode.protection import SCHEMES
from reelmesh.transcode.service import JobService, SegmentIndexService, TaskService
from reelmesh.transcode.store import CassandraJobStore
from reelmesh.transcode.v1.job_service_pb2_grpc import add_JobServiceServicer_to_server
from reelmesh.transcode.v1.segment_index_service_pb2_grpc import add_SegmentIndexServiceServicer_to_server
from reelmesh.transcode.v1.task_service_pb2_grpc import add_TaskServiceServicer_to_server
from reelmesh.transcode.watchers import Watchers

GROUP = "transcode"
LOCK_MARGIN = 30.0
"""Seconds that the queue's lock outlasts the longest task: no two workers ever hold one."""


async def build(config: Config, stores: Stores) -> Target:
    """Raises Unavailable while a store does not answer."""
    settings = config.transcode
    cassandra = await stores.cassandra()
    await migrate(cassandra, "transcode", config.cassandra.replication)
    partitions = config.kafka.partitions
    # One partition of tasks: a share group needs no more to feed many workers, and it keeps their order.
    await ensure_topics(config.kafka, {MEDIA_EVENTS: partitions, RESULTS: partitions, TASKS: 1})
    longest = max(settings.task_seconds, settings.sound_task_seconds)
    await ensure_group(config.kafka, WORKERS, longest + LOCK_MARGIN)
    store = CassandraJobStore(cassandra)
    control = Control(
        store,
        KafkaOutlet(stores.publisher(), stores.clock),
        Planning(stores.raw(), PlanSettings(), DrmKeys(stores.channel("drm")), _scheme(settings.protection_scheme)),
        stores.clock,
        Watchers(),
        Limits(
            max_pixels=settings.max_pixels,
            max_duration=timedelta(hours=settings.max_hours),
            task=timedelta(seconds=settings.task_seconds),
            whole=timedelta(seconds=settings.sound_task_seconds),
            failures=settings.attempts,
            window=settings.window,
        ),
    )
    cleanup = Cleanup(control, store, stores.media(), stores.clock)
    events, results = MediaEvents(control, cleanup), Results(control)
    publisher = stores.publisher()
    return Target(
        name="transcode",
        services=[
            Service(
                "reelmesh.transcode.v1.JobService",
                lambda server: add_JobServiceServicer_to_server(JobService(control, stores.ids), server),
            ),
            Service(
                "reelmesh.transcode.v1.TaskService",
                lambda server: add_TaskServiceServicer_to_server(TaskService(control), server),
            ),
            Service(
                "reelmesh.transcode.v1.SegmentIndexService",
                lambda server: add_SegmentIndexServiceServicer_to_server(SegmentIndexService(store), server),
            ),
        ],
        background=[
            Subscription(config.kafka, publisher, [MEDIA_EVENTS], GROUP, events.handle),
            Subscription(config.kafka, publisher, [RESULTS], f"{GROUP}-results", results.handle),
            Overdue(control, store, stores.clock, timedelta(seconds=settings.overdue_seconds)),
        ],
        checks=[cassandra.ping],
    )


def _scheme(name: str) -> Protection.Scheme.ValueType:
    if name not in SCHEMES:
        raise SettingError(f"transcode.protection_scheme: must be one of {', '.join(SCHEMES)}, not {name!r}")
    return SCHEMES[name]
