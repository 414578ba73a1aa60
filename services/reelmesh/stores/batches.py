"""Takes topics in batches whose bounds survive a crash: a store that knows a batch by its name takes it once.

Before a batch is handed on, its last offset is written down with Kafka, as the metadata of the committed offset.
Whoever comes to own the partition next, after whatever end, begins with that very batch. Only when it was taken is the
offset committed behind it, together with the plan of the next.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from reelmesh.mesh.config import KafkaConfig
from reelmesh.stores.events import connection, is_record

CONSUME = 1000
"""Records taken from the client library at once."""
CONSUME_SECONDS = 0.05
"""How long it may wait for as many."""
LOOK_SECONDS = 0.5
"""How often the ends of partitions are looked up, to know whether anything waits."""
REVOKE_SECONDS = 10.0
"""What a batch that is being taken gets to end when its partition is to go to another process."""
STOP_SECONDS = 4.0
"""The same when this process stops."""
PATIENCE_SECONDS = 60.0
"""A batch that takes longer is waited for with the partitions at rest, so that the group keeps this process."""
BACKOFF_SECONDS = 1.0

log = logging.getLogger(__name__)

Place = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that follow each other in one partition."""

    topic: str
    topic_id: str
    """Id that Kafka gave to the topic: another one when it was made anew, and its offsets began again."""
    partition: int
    offsets: Sequence[int]
    values: Sequence[bytes]
    time_ms: int
    """When the last of them was published, in milliseconds since 1970."""

    @property
    def first(self) -> int:
        """Offset of the first record."""
        return self.offsets[0]

    @property
    def last(self) -> int:
        """Offset of the last record."""
        return self.offsets[-1]

    @property
    def token(self) -> str:
        """A name that the same batch always has, and no other one ever."""
        return f"{self.topic_id}-{self.partition}-{self.first}-{self.last}"


Take = Callable[[Sequence[Batch]], Awaitable[None]]
"""Takes batches of different partitions; returns when all are safe. Called again with the same after a crash."""


@dataclass(slots=True)
class _Part:
    """What is known of a partition that is ours."""

    offset: int
    """The next to be taken: all before it are safe."""
    planned: int | None = None
    """Last offset of a batch that was planned by whoever had the partition before."""
    waiting: list[Message] = field(default_factory=list)
    seen: int = -1
    """The last offset that came."""
    fresh_ms: int = 0
    """All that was published before this time is safe; 0 for not known."""

    @property
    def ready(self) -> bool:
        """Whether a batch can be made of what waits: one that was planned before has to be whole."""
        return bool(self.waiting) and (self.planned is None or self.seen >= self.planned)


class _Restart(Exception):
    """The consumer has lost track; a new one finds it again."""


class Batches:
    """A consumer of topics in a group; `run` goes on until it is cancelled."""

    def __init__(
        self,
        config: KafkaConfig,
        client: str,
        topics: Sequence[str],
        group: str,
        take: Take,
        limit: int,
        seconds: float,
        make: Callable[[dict[str, Any]], Consumer] = Consumer,
        admin: Callable[[dict[str, Any]], AdminClient] = AdminClient,
    ) -> None:
        """`limit` is about how many bytes are taken at once, `seconds` how long they may be waited for."""
        self._admin = admin(connection(config))
        self._topics = list(topics)
        self._take = take
        self._limit = limit
        self._seconds = seconds
        self._make = make
        self._settings: dict[str, Any] = {
            **connection(config),
            "client.id": client,
            "group.id": group,
            # See stores.events.Subscription: a process that was killed has its partitions back at once.
            "group.instance.id": client,
            "session.timeout.ms": 10_000,
            "heartbeat.interval.ms": 2_000,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 100,
            # Under load a few large fetches: each costs the broker as much as the batches that it brings.
            "fetch.min.bytes": 1 << 20,
            "queued.max.messages.kbytes": 32 << 10,
        }
        self._stopping = threading.Event()
        self._parts: dict[Place, _Part] = {}
        self._topic_ids: dict[str, str] = {}
        self._taking: tuple[Future[None], Sequence[Batch]] | None = None
        self._uncommitted = False
        self._looked = 0.0
        self._began = 0.0
        """When what is being taken, or was last, was handed on."""
        self._took = 0.0
        """Seconds that the last took to be taken."""

    def fresh_ms(self, topic: str) -> int | None:
        """Return a time before which all that was published on a topic is safe, in milliseconds since 1970.

        None while it is not known, or where no partition of the topic is this process's. Others may have others.
        """
        times = [part.fresh_ms for (name, _), part in list(self._parts.items()) if name == topic]
        return min(times) if times and all(times) else None

    def owns(self, topic: str, partition: int) -> bool:
        """Whether a partition is this process's: of a group's processes, one has it."""
        return (topic, partition) in self._parts

    async def run(self) -> None:
        """Consume. Raises KafkaException when it is beyond repair, as when another process has taken the name."""
        loop = asyncio.get_running_loop()
        self._stopping.clear()
        ended: asyncio.Future[None] = loop.create_future()

        def work() -> None:
            outcome: BaseException | None = None
            try:
                self._work(loop)
            except BaseException as error:
                outcome = error
            loop.call_soon_threadsafe(end, outcome)

        def end(outcome: BaseException | None) -> None:
            if outcome is None:
                ended.set_result(None)
            else:
                ended.set_exception(outcome)

        thread = threading.Thread(target=work, name="kafka-batches", daemon=True)
        thread.start()
        try:
            await asyncio.shield(ended)
        finally:
            self._stopping.set()
            if not ended.done():
                # What is being taken ends in this loop, so it is not to be blocked.
                await asyncio.wait([ended], timeout=STOP_SECONDS + 2 * BACKOFF_SECONDS)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stopping.is_set():
            consumer = self._make(self._settings)
            try:
                self._topic_ids = self._look_up_topics()
                consumer.subscribe(self._topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)
                while not self._stopping.is_set():
                    self._round(consumer, loop)
            except _Restart as reason:
                log.warning("kafka: beginning anew: %s", reason)
                self._stopping.wait(BACKOFF_SECONDS)
            except KafkaException as error:
                if error.args[0].fatal():
                    raise
                log.warning("kafka: beginning anew: %s", error)
                self._stopping.wait(BACKOFF_SECONDS)
            finally:
                try:
                    self._settle(consumer, STOP_SECONDS)
                finally:
                    self._parts.clear()
                    consumer.close()

    def _look_up_topics(self) -> dict[str, str]:
        found = self._admin.describe_topics(TopicCollection(self._topics), request_timeout=10)
        return {name: str(future.result().topic_id) for name, future in found.items()}

    def _round(self, consumer: Consumer, loop: asyncio.AbstractEventLoop) -> None:
        """Gather what there is, while the batches before are being taken, and hand it on."""
        self._gather(consumer)
        if not any(part.ready for part in self._parts.values()):
            if self._taking is None and not self._stopping.is_set():
                self._commit_behind(consumer)
                self._look()
            return
        self._settled(consumer)
        if self._stopping.is_set():
            return
        # Also under load: a partition that nothing comes in is not to hold the time of its topic back.
        self._look()
        batches = list(self._cut())
        if not batches:
            return
        self._commit(consumer, {(batch.topic, batch.partition): batch.last for batch in batches})
        self._began = time.monotonic()
        taking = asyncio.run_coroutine_threadsafe(_awaited(self._take(batches)), loop)
        self._taking = (taking, batches)

    def _gather(self, consumer: Consumer) -> None:
        """Fill up to the limit, or for as long as a batch may fill; beyond it while no batch can be made.

        Where taking takes long, it goes on for longer, up to four times: large batches cost less than many.
        A batch that was planned under another limit, or that waits for its end behind others, would never be whole.
        """
        began = time.monotonic()
        size = sum(len(message.value() or b"") for part in self._parts.values() for message in part.waiting)
        while not self._stopping.is_set():
            if size >= self._limit and any(part.ready for part in self._parts.values()):
                return
            for message in consumer.consume(CONSUME, CONSUME_SECONDS):
                size += self._came(message)
            if self._taking is not None and not self._taking[0].done():
                continue
            self._settled(consumer)
            if time.monotonic() - began >= min(max(self._seconds, 2 * self._took), 4 * self._seconds):
                return

    def _came(self, message: Message) -> int:
        """Put a message where it waits, and return its size. Raises _Restart when a partition went back."""
        part = self._parts.get((message.topic() or "", message.partition() or 0)) if is_record(message) else None
        if part is None:
            return 0
        offset = message.offset() or 0
        if offset <= part.seen:
            # A topic made anew, or what was fetched before the partition was given to us again.
            raise _Restart(f"{message.topic()} {message.partition()} went back from {part.seen} to {offset}")
        part.seen = offset
        part.waiting.append(message)
        return len(message.value() or b"")

    def _cut(self) -> Iterator[Batch]:
        """Take what waits as batches; one that was planned before is waited for until it is whole."""
        for (topic, partition), part in self._parts.items():
            if not part.ready:
                continue
            waiting = part.waiting
            if part.planned is not None:
                waiting = [message for message in waiting if (message.offset() or 0) <= part.planned]
                part.planned = None
                if not waiting:  # Kafka has them no longer
                    continue
            part.waiting = part.waiting[len(waiting) :]
            yield Batch(
                topic,
                self._topic_ids[topic],
                partition,
                [message.offset() or 0 for message in waiting],
                [message.value() or b"" for message in waiting],
                waiting[-1].timestamp()[1],
            )

    def _settled(self, consumer: Consumer) -> None:
        """Wait until what is being taken is safe, however long that may be, unless we stop. Raises what it raised."""
        resting = False
        began = time.monotonic()
        # The partitions, and what is being taken of them, may go to another process meanwhile.
        while self._taking is not None and not self._stopping.is_set():
            taking, batches = self._taking
            if wait_for([taking], timeout=0.1).done:
                self._taking = None
                self._took = time.monotonic() - self._began
                if taking.cancelled():
                    raise _Restart("what was being taken was given up")
                taking.result()
                self._safe(batches)
            elif time.monotonic() - began > PATIENCE_SECONDS:
                if not resting:
                    consumer.pause(consumer.assignment())
                    resting = True
                # It tells the group that we live; at rest, nothing comes.
                if any(is_record(message) for message in consumer.consume(1, 0)):
                    raise _Restart("a partition at rest went on")
        if resting:
            consumer.resume(consumer.assignment())

    def _settle(self, consumer: Consumer, seconds: float) -> None:
        """Give what is being taken so long to end, and commit behind it if it does."""
        if self._taking is None:
            return
        taking, batches = self._taking
        self._taking = None
        if not wait_for([taking], timeout=seconds).done or taking.cancelled():
            taking.cancel()
            log.warning("kafka: a batch was not taken in time; it will be again")
            return
        taking.result()
        self._safe(batches)
        try:
            self._commit_behind(consumer)
        except (_Restart, KafkaException) as error:
            log.warning("kafka: not committed: %s", error)  # the plan still stands: the batch comes again, and is known

    def _commit_behind(self, consumer: Consumer) -> None:
        if self._uncommitted:
            self._commit(consumer, {})

    def _safe(self, batches: Sequence[Batch]) -> None:
        self._uncommitted = True
        for batch in batches:
            part = self._parts.get((batch.topic, batch.partition))
            if part is not None:
                part.offset = max(part.offset, batch.last + 1)
                part.fresh_ms = max(part.fresh_ms, batch.time_ms)

    def _commit(self, consumer: Consumer, plan: Mapping[Place, int]) -> None:
        """Commit what is safe, and what is planned next. Raises _Restart when the group does not want it."""
        places = [
            TopicPartition(topic, partition, part.offset, metadata=_plan(plan.get((topic, partition))))
            for (topic, partition), part in self._parts.items()
            if part.offset >= 0 and part.planned is None
        ]
        if not places:
            return
        while fault := _commit_fault(consumer, places):
            if fault.fatal():
                raise KafkaException(fault)
            if fault.code() not in _PASSING or self._stopping.is_set():
                raise _Restart(f"the group refuses a commit: {fault}")
            log.warning("kafka: %s", fault)
            self._stopping.wait(0.2)  # back-off
        self._uncommitted = False

    def _assigned(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        known = consumer.committed(places, timeout=10)
        for place in known:
            if place.error is not None:
                raise KafkaException(place.error)
            planned = _planned(place.metadata) if place.offset >= 0 else None
            low, high = consumer.get_watermark_offsets(place, timeout=10)
            # Beyond its end, it is another topic of the same name.
            offset = max(place.offset, low) if place.offset <= high else low
            # What Kafka has lost, by an unclean end, will not come.
            planned = None if planned is None else min(planned, high - 1)
            planned = None if planned is None or planned < offset else planned
            self._parts[place.topic, place.partition] = _Part(offset, planned)
            place.offset = offset
        consumer.assign(known)

    def _revoked(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        self._settle(consumer, REVOKE_SECONDS)
        self._lost(consumer, places)

    def _lost(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        for place in places:
            self._parts.pop((place.topic, place.partition), None)
        consumer.unassign()

    def _look(self) -> None:
        """See whether anything waits; where nothing does, all that was published until now is safe."""
        now = time.time()
        if now - self._looked < LOOK_SECONDS or not self._parts:
            return
        self._looked = now
        wanted = {TopicPartition(topic, partition): _LATEST for topic, partition in self._parts}
        for place, found in self._admin.list_offsets(wanted, request_timeout=5).items():
            part = self._parts.get((place.topic, place.partition))
            if part is not None and part.offset >= found.result().offset:
                part.fresh_ms = int(now * 1000)


_PASSING = frozenset(
    {
        KafkaError._TIMED_OUT,  # noqa: SLF001 - the library's public errors begin with an underscore
        KafkaError._TRANSPORT,  # noqa: SLF001 - as above
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001 - as above
        KafkaError._WAIT_COORD,  # noqa: SLF001 - as above
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NETWORK_EXCEPTION,
    }
)
"""Faults of a commit after which it may be tried again."""


def _commit_fault(consumer: Consumer, places: list[TopicPartition]) -> KafkaError | None:
    """Commit, and return what went wrong."""
    try:
        outcome = consumer.commit(offsets=places, asynchronous=False)
    except KafkaException as error:
        fault: KafkaError = error.args[0]
        return fault
    return next((place.error for place in outcome or () if place.error is not None), None)


_LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the library has no types here


async def _awaited(taking: Awaitable[None]) -> None:
    await taking


def _plan(last: int | None) -> str:
    return "" if last is None else f"last={last}"


def _planned(metadata: str | None) -> int | None:
    return int(metadata.removeprefix("last=")) if metadata else None
