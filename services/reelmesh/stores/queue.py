"""The door to the work queue: a Kafka share group, where each task is held by one worker at a time.

A task whose worker dies is handed to another as soon as the broker sees the connection go. One that is not
acknowledged within the group's lock is handed on too, so a worker must give up before that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import AcknowledgeType, KafkaException, ShareConsumer
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind

from reelmesh.mesh.config import KafkaConfig
from reelmesh.mesh.errors import Unavailable
from reelmesh.stores.events import CLOSE_SECONDS, Record, close_within, connection, is_record, record_of

COMMIT_SECONDS = 5.0
"""What an acknowledgement may take; the worker takes no other task, and does not stop, before."""

WORKERS = "workers"
"""The share group of all workers; the control sets its lock, each worker joins it."""

log = logging.getLogger(__name__)
tracer = trace.get_tracer(__name__)


async def ensure_group(config: KafkaConfig, group: str, lock_seconds: float) -> None:
    """Set a share group's lock and let it begin with what is already queued. Raises Unavailable."""
    entries = {
        "share.record.lock.duration.ms": str(int(lock_seconds * 1000)),
        "share.auto.offset.reset": "earliest",
    }
    resource = ConfigResource(
        ResourceType.GROUP,
        group,
        incremental_configs=[
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in entries.items()
        ],
    )
    admin = AdminClient(connection(config))
    for future in admin.incremental_alter_configs([resource], request_timeout=10).values():
        try:
            await asyncio.wrap_future(future)
        except KafkaException as error:
            raise Unavailable("Kafka does not answer") from error


class WorkQueue:
    """A worker's end of the queue."""

    def __init__(self, config: KafkaConfig, topic: str, group: str) -> None:
        self._topic = topic
        self._settings = {
            **connection(config),
            "group.id": group,
            "share.acknowledgement.mode": "explicit",
            "max.poll.records": 1,
        }

    async def run(self, handler: Callable[[Record], Awaitable[None]]) -> None:
        """Take one task at a time until cancelled.

        A task is acknowledged when `handler` returns, whatever came of it, and released to another worker when it
        raises. The consumer lives in a thread of its own: the client library blocks.
        """
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, thread_name_prefix="work-queue")
        consumer = await loop.run_in_executor(thread, ShareConsumer, self._settings)
        try:
            await loop.run_in_executor(thread, consumer.subscribe, [self._topic])
            while True:
                for message in await loop.run_in_executor(thread, consumer.poll, 1.0):
                    if not is_record(message):
                        continue
                    accepted = await self._handle(handler, record_of(message))
                    answer = AcknowledgeType.ACCEPT if accepted else AcknowledgeType.RELEASE
                    await loop.run_in_executor(thread, consumer.acknowledge, message, answer)
                    await loop.run_in_executor(thread, self._commit, consumer)
        finally:
            closing = loop.run_in_executor(thread, consumer.close)
            thread.shutdown(wait=False)
            await asyncio.shield(close_within(COMMIT_SECONDS + CLOSE_SECONDS, closing))

    @staticmethod
    async def _handle(handler: Callable[[Record], Awaitable[None]], record: Record) -> bool:
        context = propagate.extract(record.headers)
        with tracer.start_as_current_span(f"{record.topic} process", context, SpanKind.CONSUMER):
            try:
                await handler(record)
            except Exception:
                log.exception("%s %s goes back to the queue", record.topic, record.position)
                return False
        return True

    @staticmethod
    def _commit(consumer: ShareConsumer) -> None:
        try:
            consumer.commit_sync(COMMIT_SECONDS)
        except KafkaException as error:
            # The broker will hand the task on; StartTask then says that it is done.
            log.warning("an acknowledgement was lost: %s", error)
