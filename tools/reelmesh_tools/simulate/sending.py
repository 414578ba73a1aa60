"""An audience's viewings through the platform's public door: sessions, then telemetry with the sessions' tokens."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import grpc
from google.rpc import error_details_pb2, status_pb2

from reelmesh.playback.v1.playback_service_pb2 import CreatePlaybackSessionRequest
from reelmesh.playback.v1.playback_service_pb2_grpc import PlaybackServiceStub
from reelmesh.playback.v1.session_pb2 import PlaybackSession
from reelmesh.telemetry.v1.event_pb2 import EventType, TelemetryEvent
from reelmesh.telemetry.v1.telemetry_service_pb2 import ReportRequest, ReportResponse, StreamRequest, StreamResponse
from reelmesh.telemetry.v1.telemetry_service_pb2_grpc import TelemetryServiceStub
from reelmesh_tools.client.platform import CALL_SECONDS
from reelmesh_tools.simulate.model import MINUTE_MS, Batch, Viewing, batches, stamped, told_by

if TYPE_CHECKING:  # stubs of the types of stubs; they are not there at run time
    from reelmesh.playback.v1.playback_service_pb2_grpc import PlaybackServiceAsyncStub
    from reelmesh.telemetry.v1.telemetry_service_pb2_grpc import TelemetryServiceAsyncStub

CONNECTIONS = 4
AT_ONCE = 48
"""Viewings under way at once where time does not matter."""
STREAMS = 256
"""Streams open at once; an app that finds no room reports instead, as when its network forbids streams."""
STREAM_SECONDS = 120.0
"""Deadline of a stream that waits for nobody."""
PATIENCE_SECONDS = 180.0
"""How long the platform may be away before a simulation gives up."""
AGAIN = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED})
"""Answers after which the same is sent again: nothing, or we cannot know what, was accepted."""

T = TypeVar("T")


@dataclass(slots=True)
class Tally:
    """What the audience itself counted."""

    events_sent: int = 0
    """Events that were sent and answered, repeats included."""
    distinct_events: int = 0
    """Different ones among them."""
    views: int = 0
    """Viewings that asked to play."""
    starts: int = 0
    """Viewings that showed a first frame."""
    failures: int = 0
    """Viewings that an error ended."""
    exits: int = 0
    """Viewings left before the first frame."""
    watch_ms: int = 0
    """Time that media played."""
    stall_ms: int = 0
    """Time in stalls."""
    stalls: int = 0
    """Stalls."""
    refused: Counter[str] = field(default_factory=Counter)
    """Events that the platform refused, by its reason."""
    not_entitled: int = 0
    """Viewings that the platform did not allow."""
    sampled_out: int = 0
    """Viewings that the platform did not want measured."""
    retries: int = 0
    """Calls that were made again."""

    def count(self, events: Sequence[TelemetryEvent]) -> None:
        """Count events that were sent for the first time."""
        kinds = Counter(event.type for event in events)
        self.distinct_events += len(events)
        self.views += kinds[EventType.EVENT_TYPE_REQUESTED]
        self.starts += kinds[EventType.EVENT_TYPE_STARTED]
        self.failures += kinds[EventType.EVENT_TYPE_FAILED]
        self.exits += kinds[EventType.EVENT_TYPE_EXITED_BEFORE_START]
        self.watch_ms += sum(event.watch_ms for event in events)
        self.stall_ms += sum(event.stall_ms for event in events)
        self.stalls += sum(event.stalls for event in events)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the audience's time passes."""

    zero_ms: int
    """When the simulated span begins, in ms since 1970."""
    speed: float
    """Seconds of the audience in one of ours; 0 does not wait at all."""
    began: float = field(default_factory=time.monotonic)

    async def until(self, at_ms: int) -> None:
        """Wait for a time of the audience, in ms since the span began."""
        if self.speed:
            # Time itself is what is waited for.
            await asyncio.sleep(max(0.0, self.began + at_ms / 1000 / self.speed - time.monotonic()))


class Sender:
    """Plays viewings against a platform."""

    def __init__(self, url: str, parent: str, country_header: str, pace: Pace, minutes: int, *, live: bool) -> None:
        """`country_header` is the name of the header in which this installation is told a viewer's country."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        address = urlsplit(url).netloc
        self._channels = [grpc.aio.insecure_channel(address, options=options) for _ in range(CONNECTIONS)]
        self._playback: Iterator[PlaybackServiceAsyncStub] = itertools.cycle(
            [PlaybackServiceStub(channel) for channel in self._channels]
        )
        self._telemetry: Iterator[TelemetryServiceAsyncStub] = itertools.cycle(
            [TelemetryServiceStub(channel) for channel in self._channels]
        )
        self._parent, self._country_header = parent, country_header
        self._pace, self._span_ms, self._live = pace, minutes * MINUTE_MS, live
        self._room = asyncio.Semaphore(STREAMS)
        self.tally = Tally()

    async def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            await channel.close()

    async def play(self, viewings: Sequence[Viewing], progress: Callable[[int], None]) -> None:
        """Play viewings, given in the order of their beginning; tell how many are over. Raises grpc.RpcError."""
        over = itertools.count(1)
        # Who waits for time to pass holds nobody up.
        room = asyncio.Semaphore(len(viewings) if self._pace.speed else AT_ONCE)

        async def one(viewing: Viewing) -> None:
            async with room:
                await self._pace.until(viewing.start_ms)
                await self._viewing(viewing)
            progress(next(over))

        try:
            async with asyncio.TaskGroup() as group:
                for viewing in viewings:
                    group.create_task(one(viewing))
        except* grpc.aio.AioRpcError as errors:
            raise _first(errors) from None

    async def _viewing(self, viewing: Viewing) -> None:
        session = await self._session(viewing)
        if session is None:
            self.tally.not_entitled += 1
            return
        heights = [int(arm.parameters.get("max_height", "0") or 0) for arm in session.experiments]
        most_height = min((height for height in heights if height > 0), default=0)
        told = told_by(viewing.events(most_height), self._span_ms - viewing.start_ms)
        began = self._pace.zero_ms + viewing.start_ms
        sent = batches(stamped(told, began, viewing.seed), began, viewing.seed, live=self._live)
        if viewing.viewer.machine.app and not self._room.locked():
            async with self._room:
                await self._stream(viewing, session, list(sent))
        else:
            await self._report(viewing, session, list(sent))

    async def _session(self, viewing: Viewing) -> PlaybackSession | None:
        """Begin a viewing; None where its viewer may not watch."""
        request = CreatePlaybackSessionRequest(
            parent=self._parent,
            session=PlaybackSession(video=viewing.film.name, viewer=viewing.viewer.name),
            request_id=str(uuid.uuid4()),
        )
        metadata = ((self._country_header, viewing.viewer.country),) if self._country_header else ()

        async def ask() -> PlaybackSession:
            stub = next(self._playback)
            return (await stub.CreatePlaybackSession(request, timeout=CALL_SECONDS, metadata=metadata)).session

        try:
            return await self._patiently(ask)
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.PERMISSION_DENIED:
                return None
            raise

    async def _report(self, viewing: Viewing, session: PlaybackSession, sent: Sequence[Batch]) -> None:
        known: set[int] = set()
        for batch in sent:
            await self._pace.until(viewing.start_ms + batch.due_ms)
            answer = await self._patiently(partial(self._say, self._request(viewing, session, batch)))
            self._count(batch, known)
            self.tally.refused.update(refusal.reason for refusal in answer.refusals)
            if not answer.sampled:
                self.tally.sampled_out += 1
                return

    async def _stream(self, viewing: Viewing, session: PlaybackSession, sent: Sequence[Batch]) -> None:
        async def batches_of() -> AsyncIterator[StreamRequest]:
            # A stream that broke begins anew: the platform knows what it has.
            for batch in sent:
                await self._pace.until(viewing.start_ms + batch.due_ms)
                yield StreamRequest(batch=self._request(viewing, session, batch))

        # Live, a stream takes as long as its viewer stays.
        timeout = None if self._pace.speed else STREAM_SECONDS
        answer: StreamResponse = await self._patiently(
            lambda: next(self._telemetry).Stream(batches_of(), timeout=timeout)
        )
        known: set[int] = set()
        for batch in sent:
            self._count(batch, known)
        self.tally.refused.update(answer.refused)

    async def _say(self, request: ReportRequest) -> ReportResponse:
        return await next(self._telemetry).Report(request, timeout=CALL_SECONDS)

    def _request(self, viewing: Viewing, session: PlaybackSession, batch: Batch) -> ReportRequest:
        return ReportRequest(
            token=session.telemetry_token,
            session=session.name,
            sent_time_ms=time.time_ns() // 1_000_000,
            consent=viewing.viewer.consent,
            client=viewing.viewer.machine.client,
            events=batch.events,
        )

    def _count(self, batch: Batch, known: set[int]) -> None:
        """Count a batch that was answered; `known` are the sequences of its viewing that were counted before."""
        self.tally.events_sent += len(batch.events)
        fresh = {event.sequence: event for event in batch.events if event.sequence not in known}
        known.update(fresh)
        self.tally.count(list(fresh.values()))

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until there is an answer that the platform stands by. Raises grpc.aio.AioRpcError."""
        end = time.monotonic() + PATIENCE_SECONDS
        wait = 0.1
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as error:
                if error.code() not in AGAIN or time.monotonic() > end:
                    raise
                self.tally.retries += 1
                # Many who were sent away at once shall not come back at once.
                told = retry_seconds(error)
                await asyncio.sleep((wait if told is None else told) * random.uniform(1, 1.5))  # noqa: S311 - no secret
                wait = min(2 * wait, 3.0)


def _first(errors: BaseExceptionGroup[grpc.aio.AioRpcError]) -> grpc.aio.AioRpcError:
    """Return one of the errors that ended a group of tasks: the others are as likely as not the same."""
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def retry_seconds(error: grpc.RpcError) -> float | None:
    """Return the seconds after which the platform wants to be asked again; None where it does not say."""
    call: Any = error
    details = dict(call.trailing_metadata() or ()).get("grpc-status-details-bin")
    if not details:
        return None
    status = status_pb2.Status.FromString(details)
    for detail in status.details:
        info = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            delay: timedelta = info.retry_delay.ToTimedelta()
            return delay.total_seconds()
    return None
