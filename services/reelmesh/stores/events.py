"""The door to Kafka's topics: publish with confirmation, consume at least once.

Published means acknowledged by all in-sync replicas. A consumer's handler is called until it succeeds, in order within
a partition; a record that can never succeed goes to the topic's dead letters with the reason, and holds nobody up.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.aio import AIOConsumer
from google.protobuf.message import DecodeError
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind

from reelmesh.events.v1.identity_event_pb2 import IdentityEvent
from reelmesh.events.v1.media_event_pb2 import MediaEvent
from reelmesh.mesh.config import KafkaConfig
from reelmesh.mesh.errors import Unavailable

MEDIA_EVENTS = "reelmesh.media.events"
"""MediaEvents, keyed by video."""
IDENTITY_EVENTS = "reelmesh.identity.events"
"""IdentityEvent, keyed by user."""
TASKS = "reelmesh.transcode.tasks"
"""Tasks, taken by workers through a share group."""
RESULTS = "reelmesh.transcode.results"
"""TaskResults, keyed by job."""
DECISIONS = "reelmesh.drm.decisions"
"""LicenseDecisions, keyed by video."""

TELEMETRY = "reelmesh.telemetry.events"
"""TelemetryRecords, keyed by session."""
DELIVERIES = "reelmesh.telemetry.deliveries"
"""DeliveryRecords, keyed by edge."""
EXPOSURES = "reelmesh.analytics.exposures"
"""ExposureRecords, keyed by session."""
ALERTS = "reelmesh.analytics.alerts"
"""Alerts, keyed by organization."""
POPULARITY = "reelmesh.analytics.popularity"
"""PopularityEvents, keyed by video."""
TITLES = "reelmesh.catalog.titles"
"""TitleEvents, keyed by title; compacted, so that reading it from its beginning gives the whole library."""

DEAD = ".dead-letters"
"""What ends the name of the topic that takes what cannot be handled of another."""
LARGE = frozenset({TELEMETRY, DELIVERIES})
"""Topics of records that may have a MiB and more."""
LARGE_BYTES = 2 << 20
"""Largest record of those."""
COMPACTED = frozenset({TITLES})
"""Topics that keep the latest record of each key for good. A record with an empty value deletes its key."""
TOMBSTONES = timedelta(days=7)
"""How long such a record is kept. Who was away for longer may have missed it, and reads the topic anew."""

FLUSH_SECONDS = 2.0
"""What a process that stops gives Kafka for what is not yet confirmed. Nobody was told that it was published."""
CLOSE_SECONDS = 2.0
"""What a consumer gets to commit and say goodbye. Without its coordinator the client library would try for ten seconds
and more; what it could not commit is delivered again."""
TAIL_RECORDS, TAIL_SECONDS = 500, 0.1
"""Records that a tail takes at once, and how long it waits for the first few of them."""
TAIL_CONNECT_SECONDS = 5.0
"""How long a tail waits for the brokers when it begins."""
FAULTS = 10
"""A record that our own code fails on this many times is a dead letter."""

_FATAL: int = KafkaError._FATAL  # noqa: SLF001 - the library's public errors begin with an underscore
_STATE: int = KafkaError._STATE  # noqa: SLF001

log = logging.getLogger(__name__)
tracer = trace.get_tracer(__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """A record of a topic."""

    topic: str
    key: str
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    position: str = ""
    """Where it lies, "partition/offset": the same however often it is delivered."""


class PoisonRecord(Exception):
    """Raised by a handler: this record can never be handled. `reason` is stable, upper snake case."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def media_event(record: Record) -> MediaEvent:
    """Read the event in a record of MEDIA_EVENTS. Raises PoisonRecord."""
    try:
        return MediaEvent.FromString(record.value)
    except DecodeError as error:
        raise PoisonRecord("EVENT_UNREADABLE", "not a MediaEvent") from error


def identity_event(record: Record) -> IdentityEvent:
    """Read the event in a record of IDENTITY_EVENTS. Raises PoisonRecord."""
    try:
        return IdentityEvent.FromString(record.value)
    except DecodeError as error:
        raise PoisonRecord("EVENT_UNREADABLE", "not an IdentityEvent") from error


def dead_letters(topic: str) -> str:
    """Return the topic that takes what cannot be handled of `topic`."""
    return topic + DEAD


def record_of(message: Message) -> Record:
    """Make a Record of what the client library delivered."""
    given: Any = message.headers() or ()
    headers = {key: (value or b"").decode() for key, value in given}
    position = f"{message.partition()}/{message.offset()}"
    return Record(message.topic() or "", (message.key() or b"").decode(), message.value() or b"", headers, position)


def is_record(message: Message) -> bool:
    """Tell a record from a fault of the client's that will pass. Raises KafkaException for one that will not."""
    fault = message.error()
    if fault is None:
        return True
    if fault.fatal():
        raise KafkaException(fault)
    log.warning("kafka: %s", fault)
    return False


def connection(config: KafkaConfig) -> dict[str, Any]:
    """Return the client library's settings for reaching the brokers."""
    return {
        "bootstrap.servers": config.bootstrap_servers,
        # Brokers that come back are found within a second; the default backs off to ten.
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 1000,
        "log_level": 3,
    }


async def ensure_topics(config: KafkaConfig, topics: Mapping[str, int]) -> None:
    """Make `topics`, given with their partition counts, and their dead-letter topics. Raises Unavailable."""
    admin = AdminClient(connection(config))
    wanted = {**topics, **{dead_letters(topic): 1 for topic in topics}}
    new = [
        NewTopic(
            name,
            num_partitions=n,
            replication_factor=config.replication,
            config=_topic_config(name),
        )
        for name, n in wanted.items()
    ]
    futures = admin.create_topics(new, request_timeout=10)
    for future in futures.values():
        try:
            await asyncio.wrap_future(future)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise Unavailable("Kafka does not answer") from error


def _topic_config(name: str) -> dict[str, str]:
    if name in COMPACTED:
        kept = TOMBSTONES // timedelta(milliseconds=1)
        return {"cleanup.policy": "compact", "delete.retention.ms": str(kept), "compression.type": "zstd"}
    return {"max.message.bytes": str(LARGE_BYTES)} if name.removesuffix(DEAD) in LARGE else {}


@dataclass(frozen=True, slots=True)
class Sending:
    """How a producer sends."""

    batch: int = 1
    """How many records are sent together when there are as many. It is one for what a share group hands out: that gives
    away whole batches, and every worker is to take one task."""
    seconds: float = 15.0
    """How long it is tried before a record counts as not published."""
    waiting_bytes: int = 1 << 30
    """How much may wait for the brokers; more is refused at once."""


class Publisher:
    """An idempotent producer. One per process and way of sending, whose name among all machines is `client`."""

    def __init__(
        self,
        config: KafkaConfig,
        client: str,
        make: Callable[[dict[str, Any]], Producer] = Producer,
        sending: Sending = Sending(),
    ) -> None:
        self.client = client
        self._make = make
        self._settings = {
            **connection(config),
            "client.id": client,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 0 if sending.batch == 1 else 5,
            "batch.num.messages": sending.batch,
            "message.max.bytes": LARGE_BYTES,
            "queue.buffering.max.kbytes": sending.waiting_bytes >> 10,
            "delivery.timeout.ms": int(sending.seconds * 1000),
        }
        self._producer = make(self._settings)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="kafka-publisher", daemon=True)
        self._thread.start()

    async def publish(self, *records: Record) -> None:
        """Publish and wait until the brokers have all. Raises Unavailable; then any may or may not be there."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        producer = self._producer
        passed_on: dict[str, str] = {}
        propagate.inject(passed_on)
        outcomes: list[KafkaError | None] = []

        def confirm(error: KafkaError | None, _message: Message) -> None:
            outcomes.append(error)
            if len(outcomes) == len(records):
                failed = [each for each in outcomes if each is not None]
                loop.call_soon_threadsafe(settle, failed[0] if failed else None)

        def settle(error: KafkaError | None) -> None:
            if error is not None and error.code() == _FATAL:
                self._renew(producer)
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(Unavailable(f"Kafka does not answer: {error.name()}"))

        try:
            for record in records:
                producer.produce(
                    record.topic,
                    key=record.key.encode(),
                    value=record.value or None,  # an empty one deletes the key of a compacted topic
                    headers={key: value.encode() for key, value in {**record.headers, **passed_on}.items()},
                    on_delivery=confirm,
                )
        except BufferError as error:
            raise Unavailable("too much waits for Kafka") from error
        except KafkaException as error:
            if error.args[0].code() != _FATAL:
                raise
            self._renew(producer)
            raise Unavailable("Kafka refused the producer") from error
        await done

    async def ping(self) -> None:
        """Ask the brokers something small. Raises Unavailable."""
        try:
            await asyncio.to_thread(self._producer.list_topics, MEDIA_EVENTS, 2)
        except KafkaException as error:
            raise Unavailable("Kafka does not answer") from error

    def _renew(self, broken: Producer) -> None:
        """Replace a producer that the brokers will never listen to again.

        They keep count of its records, and take none after one went missing. What is published once more by a new one
        may be there twice, which consumers bear.
        """
        if broken is self._producer:
            log.error("kafka: the producer is beyond repair; going on with a new one")
            self._producer = self._make(self._settings)

    async def close(self) -> None:
        """Send what waits, for at most FLUSH_SECONDS."""
        await asyncio.to_thread(self._producer.flush, FLUSH_SECONDS)
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)

    def _poll(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(0.1)


Handler = Callable[[Record], Awaitable[None]]


class Subscription:
    """A consumer of topics in a group; `run` goes on until it is cancelled."""

    def __init__(
        self, config: KafkaConfig, publisher: Publisher, topics: Sequence[str], group: str, handler: Handler
    ) -> None:
        self._publisher = publisher
        self._topics = list(topics)
        self._handler = handler
        self._settings: dict[str, Any] = {
            **connection(config),
            "client.id": publisher.client,
            "group.id": group,
            # A process that was killed and is started again has its partitions back at once; without a name in the
            # group it would wait until its dead self times out.
            "group.instance.id": publisher.client,
            # …which is when another process gets them, should it not come back.
            "session.timeout.ms": 10_000,
            "heartbeat.interval.ms": 2_000,
            "auto.offset.reset": "earliest",
            "enable.auto.offset.store": False,
            "auto.commit.interval.ms": 1000,
        }

    async def run(self) -> None:
        """Consume. Offsets are stored after the handler has succeeded, so a crash repeats at most a second's worth.

        Raises KafkaException when the consumer is beyond repair, as when another process has taken its name.
        """
        # A thread of ours, since the library waits for its own however long a close may take.
        thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-consumer")
        consumer = AIOConsumer(self._settings, executor=thread)
        try:
            await consumer.subscribe(self._topics)
            while True:
                message = await consumer.poll(0.5)
                if message is None or not is_record(message):
                    continue
                await self._deliver(record_of(message))
                await self._store_offset(consumer, message)
        finally:
            await asyncio.shield(close_within(CLOSE_SECONDS, consumer.close()))
            thread.shutdown(wait=False)

    @staticmethod
    async def _store_offset(consumer: AIOConsumer, message: Message) -> None:
        following = TopicPartition(message.topic() or "", message.partition() or 0, (message.offset() or 0) + 1)
        try:
            await consumer.store_offsets(offsets=[following])
        except KafkaException as error:
            if error.args[0].code() != _STATE:
                raise
            # The partition went to another process while the record was handled: it comes again there.
            log.info("%s is no longer ours", following)

    async def _deliver(self, record: Record) -> None:
        context = propagate.extract(record.headers)
        delay = 0.1
        faults = 0
        while True:
            try:
                with tracer.start_as_current_span(f"{record.topic} process", context, SpanKind.CONSUMER):
                    return await self._handler(record)
            except PoisonRecord as poison:
                return await self._bury(record, poison.reason, str(poison))
            except Unavailable as error:
                log.warning("%s %s waits: %s", record.topic, record.position, error)
            except Exception:
                log.exception("%s %s cannot be handled", record.topic, record.position)
                faults += 1
                if faults == FAULTS:
                    return await self._bury(record, "HANDLER_FAILED", "see the log of the consumer")
            await asyncio.sleep(delay)  # back-off before the same record is tried again
            delay = min(delay * 2, 2.0)

    async def _bury(self, record: Record, reason: str, message: str) -> None:
        log.error("%s %s is a dead letter: %s", record.topic, record.position, message)
        why = {"reason": reason, "message": message, "position": record.position}
        letter = Record(dead_letters(record.topic), record.key, record.value, {**record.headers, **why})
        await retry_forever(lambda: self._publisher.publish(letter))


async def arriving(config: KafkaConfig, client: str, topic: str) -> AsyncGenerator[Sequence[tuple[str, bytes]], None]:
    """Yield what comes to a topic from now on, as keys and values; nothing at first, once that is read.

    It reads for itself, beside all groups, and keeps no offsets. Raises Unavailable.
    """
    settings = {
        **connection(config),
        "client.id": f"{client}-tail",
        "group.id": f"{client}-tail",  # the library wants one
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
    }
    thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-tail")
    consumer = AIOConsumer(settings, executor=thread)
    try:
        await consumer.assign(await _ends(consumer, topic))
        yield []
        while True:
            messages = await consumer.consume(TAIL_RECORDS, TAIL_SECONDS)
            records = [record_of(message) for message in messages if is_record(message)]
            if records:
                yield [(record.key, record.value) for record in records]
    except KafkaException as error:
        raise Unavailable("Kafka does not answer") from error
    finally:
        await asyncio.shield(close_within(CLOSE_SECONDS, consumer.close()))
        thread.shutdown(wait=False)


async def _ends(consumer: AIOConsumer, topic: str) -> list[TopicPartition]:
    """Return where the partitions of a topic end now."""
    known = (await consumer.list_topics(topic, TAIL_CONNECT_SECONDS)).topics[topic]
    ends = []
    for partition in known.partitions:
        _, end = await consumer.get_watermark_offsets(TopicPartition(topic, partition), TAIL_CONNECT_SECONDS)
        ends.append(TopicPartition(topic, partition, end))
    return ends


async def close_within(seconds: float, closing: Awaitable[Any]) -> None:
    """Wait for a client to close; leave its thread to the end of the process when the brokers do not answer."""
    try:
        await asyncio.wait_for(closing, seconds)
    except TimeoutError:
        log.warning("kafka: left without a goodbye, the brokers do not answer")


async def retry_forever(action: Callable[[], Awaitable[None]]) -> None:
    """Call `action` until it is not Unavailable, with back-off up to two seconds."""
    delay = 0.1
    while True:
        try:
            return await action()
        except Unavailable as error:
            log.warning("waiting: %s", error)
            await asyncio.sleep(delay)  # back-off
            delay = min(delay * 2, 2.0)
