"""`reelmesh bench telemetry`: events per second from gRPC to an answer of ClickHouse, and how old an answer is."""

from __future__ import annotations

import os
import random
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from reelmesh.analytics.v1.analytics_service_pb2 import GetSessionRequest, ListSessionsRequest
from reelmesh.analytics.v1.report_pb2 import Dimension, Filter, TimeRange
from reelmesh.mesh.keys import KeyRing
from reelmesh.telemetry.v1.event_pb2 import EventType, PlayerState, TelemetryEvent
from reelmesh.telemetry.v1.telemetry_service_pb2 import Client, Consent, ReportRequest
from reelmesh.telemetry.v1.telemetry_service_pb2_grpc import TelemetryServiceStub
from reelmesh_tools.bench import own
from reelmesh_tools.bench.errors import BenchError
from reelmesh_tools.bench.loader import DEVICE, claims_of
from reelmesh_tools.bench.meter import Meter, pids_of
from reelmesh_tools.bench.playback import percentile
from reelmesh_tools.client.platform import CALL_SECONDS, Platform, problem_of
from reelmesh_tools.simulate.model import event_id
from reelmesh_tools.stack.client import Stack
from reelmesh_tools.stack.inside import channel_as

AIM = 150_000
BATCH = 1000
LIMIT_SECONDS = 15.0
POLL_SECONDS, BUSY_POLL_SECONDS = 0.05, 0.25
"""From one look for an event to the next; less often at full load, where each look takes from what is measured."""
METER_SECONDS = 0.25
"""From one look at the memory of processes to the next."""
BEHIND_SECONDS = 300.0
"""How long what was sent may take to be queryable before the measurement is given up."""
VIDEO = "organizations/default/videos/00000000-0000-7000-8000-000000000000"


def measure(events: int, seconds: float, progress: Callable[[str], None]) -> dict[str, Any]:
    """Send events for so long (or so many of them) to the service itself, then through the gateway.

    Returns what is printed: for `direct` and `gateway` events, per_second (until the last one was queryable),
    accepted_per_second, freshness (p50_ms, p99_ms, how many probes, and the longest time between two looks), what each
    process cost in cpu_seconds and rss_bytes; for `steady`, the same at a third of what was reached; for `chdb` what it
    takes alone; and their ratio. Raises StackError, BenchError, grpc.RpcError.
    """
    load_before = os.getloadavg()[0]
    result: dict[str, Any] = {"cores": os.cpu_count(), "batch_events": BATCH, "aim_per_second": AIM}
    progress("starting a platform")
    with own.stack() as (stack, platform):
        run = _Run(stack, platform, progress)
        result["direct"] = run.load("direct", events, seconds, 0)
        result["gateway"] = run.load("gateway", events, seconds, 0)
        steady = min(seconds, 30.0)
        rate = result["direct"]["per_second"] / 3
        result["steady"] = run.load("gateway", int(rate * steady), steady, rate)
    progress("chDB alone")
    with tempfile.TemporaryDirectory(prefix="reelmesh-bench-") as folder:
        orders = {"folder": str(Path(folder) / "warehouse"), "batch": BATCH, "seconds": LIMIT_SECONDS, "seed": 1}
        with own.helper("reelmesh_tools.bench.limit", orders) as limit:
            result["chdb"] = limit.result()
    result["ratio"] = round(result["direct"]["per_second"] / result["chdb"]["per_second"], 3)
    result["load_average"] = [round(load_before, 2), round(os.getloadavg()[0], 2)]
    return result


class _Run:
    def __init__(self, stack: Stack, platform: Platform, progress: Callable[[str], None]) -> None:
        self._stack, self._platform, self._progress = stack, platform, progress
        self._pids = pids_of(stack, *own.MEASURED)
        self._loads = 0

    def load(self, way: str, events: int, seconds: float, rate: float) -> dict[str, Any]:
        """Send, and wait until all of it can be asked for."""
        plan, layout = self._stack.plan, self._stack.layout
        direct = way == "direct"
        self._loads += 1
        orders = {
            "target": plan.address("telemetry") if direct else plan.gateway_url.removeprefix("http://"),
            "certificates": str(layout.certificates) if direct else "",
            "media_keys": str(layout.media_keys),
            "video": VIDEO,
            "batch": BATCH,
            "batches": 1,
            "events": events,
            "seconds": seconds,
            "rate": rate,
            "seed": self._loads,
        }
        what = f"{way}, {rate:,.0f} events/s" if rate else way
        self._progress(f"{what}: making events")
        with (
            own.helper("reelmesh_tools.bench.loader", orders) as loader,
            Meter({**self._pids, "load": loader.pid}, METER_SECONDS) as meter,
        ):
            loader.ready()
            since = Timestamp()
            since.GetCurrentTime()
            with Probe(
                self._stack, self._platform, POLL_SECONDS if rate else BUSY_POLL_SECONDS, direct=direct
            ) as probe:
                self._progress(f"{what}: sending")
                began = time.perf_counter()
                loader.begin()
                sent = loader.result()
            accepted = time.perf_counter() - began
            self._progress(f"{what}: waiting for the last event")
            self._wait(since, sent["sent"]["events"], began)
            queryable = time.perf_counter() - began
        if sent["refused"] or sent["unanswered"]:
            raise BenchError(f"the platform refused events, or gave no answer: {sent}")
        count = sent["sent"]["events"]
        return {
            "events": count,
            "seconds": round(queryable, 2),
            "per_second": round(count / queryable),
            "accepted_per_second": round(count / accepted),
            "batch_p50_ms": sent["p50_ms"],
            "batch_p99_ms": sent["p99_ms"],
            "freshness": probe.told(),
            "cpu_seconds": {name: cost.cpu_seconds for name, cost in meter.costs.items()},
            "rss_bytes": {name: cost.rss_peak for name, cost in meter.costs.items()},
        }

    def _wait(self, since: Timestamp, events: int, began: float) -> None:
        """Return when so many events of the load can be asked for. Raises BenchError."""
        deadline = time.monotonic() + BEHIND_SECONDS
        while (found := self._found(since)) < events:
            if time.monotonic() > deadline:
                raise BenchError(f"{events - found} of {events} events cannot be asked for after {BEHIND_SECONDS:g} s")
            # A query has no event. The next is made when the rest should be there, at the pace so far.
            rest = (events - found) * (time.perf_counter() - began) / max(1, found)
            time.sleep(min(max(POLL_SECONDS, rest), 5.0))
        if found > events:
            raise BenchError(f"{found} events were stored, and {events} were sent")

    def _found(self, since: Timestamp) -> int:
        """Return how many different events of the load a query finds."""
        load = Filter(dimension=Dimension.DIMENSION_DEVICE, values=[DEVICE])
        request = ListSessionsRequest(
            parent=self._platform.parent,
            time_range=TimeRange(start_time=since),
            filters=[load],
            page_size=1000,
        )
        found = 0
        while True:
            answer = self._platform.analytics.ListSessions(request, timeout=CALL_SECONDS)
            found += sum(session.events for session in answer.sessions)
            if not answer.next_page_token:
                return found
            request.page_token = answer.next_page_token


class Probe:
    """Sends single events beside a load, each of a viewing of its own, and asks for them until they are there."""

    def __init__(self, stack: Stack, platform: Platform, poll_seconds: float, *, direct: bool) -> None:
        self._platform = platform
        self._poll_seconds = poll_seconds
        self._ring = KeyRing.load(stack.layout.media_keys)
        self._channel = (
            channel_as("gateway", stack.layout, stack.plan, "telemetry")
            if direct
            else grpc.insecure_channel(stack.plan.gateway_url.removeprefix("http://"))
        )
        self._telemetry = TelemetryServiceStub(self._channel)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: Exception | None = None
        self._ages: list[float] = []
        self._looks: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._channel.close()
        if self._error is not None and error is None:
            raise self._error

    def told(self) -> dict[str, Any]:
        """Return how old events were when they could first be asked for, and how often they were asked for."""
        if not self._ages:
            raise BenchError("no event could be asked for while there was load")
        return {
            "p50_ms": round(percentile(self._ages, 0.5) * 1000),
            "p99_ms": round(percentile(self._ages, 0.99) * 1000),
            "probes": len(self._ages),
            "look_p50_ms": round(percentile(self._looks, 0.5) * 1000, 1),
            "look_p99_ms": round(percentile(self._looks, 0.99) * 1000, 1),
        }

    def _run(self) -> None:
        chance = random.Random(1)  # noqa: S311 - no secret
        try:
            # At no fixed moment of the sink's round.
            while not self._stop.wait(chance.uniform(0, 0.3)):
                self._ages.append(self._once(chance))
        except (grpc.RpcError, BenchError) as error:
            self._error = error

    def _once(self, chance: random.Random) -> float:
        """Send an event; return the seconds from its acceptance until a query finds it."""
        now = time.time_ns() // 1_000_000
        id_ = event_id(now, chance.getrandbits(74))
        session = (
            f"organizations/default/sessions/{uuid.UUID(bytes=event_id(now, random.SystemRandom().getrandbits(74)))}"
        )
        event = TelemetryEvent(
            event_id=id_,
            event_time_ms=now,
            type=EventType.EVENT_TYPE_REQUESTED,
            state=PlayerState.PLAYER_STATE_STARTING,
        )
        token = self._ring.sign(claims_of(session, VIDEO, "probe", "DE", now))
        request = ReportRequest(
            token=token,
            sent_time_ms=now,
            consent=Consent.CONSENT_GRANTED,
            client=Client(device="other"),
            events=[event],
        )
        self._telemetry.Report(request, timeout=CALL_SECONDS)
        accepted = before = time.perf_counter()
        while not self._there(session):
            if before - accepted > BEHIND_SECONDS:
                raise BenchError(f"an event cannot be asked for after {BEHIND_SECONDS:g} s")
            time.sleep(self._poll_seconds)  # a query has no event
            self._looks.append(time.perf_counter() - before)
            before = time.perf_counter()
        return time.perf_counter() - accepted

    def _there(self, session: str) -> bool:
        try:
            self._platform.analytics.GetSession(GetSessionRequest(session=session), timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            if problem_of(error).reason != "SESSION_UNKNOWN":
                raise
            return False
        return True
