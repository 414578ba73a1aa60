"""`reelmesh bench faults`: what is left of events when the processes that take them in are killed meanwhile."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import grpc

from reelmesh.analytics.v1.analytics_service_pb2 import GetAuditRequest
from reelmesh.analytics.v1.report_pb2 import AuditFigures
from reelmesh_tools.bench import own
from reelmesh_tools.bench.errors import BenchError
from reelmesh_tools.bench.telemetry import VIDEO
from reelmesh_tools.client.platform import Platform, problem_of
from reelmesh_tools.simulate.sending import AGAIN
from reelmesh_tools.stack.client import Stack

# The sink and the reports are one process: it dies twice for each.
VICTIMS = ("analytics", "kafka", "telemetry", "analytics") * 2
"""Who is killed."""
KILL_SECONDS = 9.0
"""The sending is spread over so much time for each kill."""
TABLES = ("raw", "minutes", "hours", "days", "facets_hours", "facets_days", "sessions")
"""What is counted anew."""
REPEATS = 0.01
BATCH = 500
HOURS = 4.0
"""Hours in which the events happened, so that many minutes and some hours are counted anew and anew."""
COUNTED_SECONDS = 600.0
"""How long it may take until all is counted."""
AUDIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Kill:
    """A process that was killed."""

    process: str
    pid: int
    after_seconds: float
    """When, since the sending began."""
    healthy_after_seconds: float
    """When it was healthy again, since it was killed."""


def measure(
    events: int, seed: int, progress: Callable[[str], None], victims: Sequence[str] = VICTIMS, batch: int = BATCH
) -> dict[str, Any]:
    """Send so many events, and some again, while processes are killed at random moments; then count.

    Returns what is printed: `sender` (what the sender knows), `recount` (raw events by a plain GROUP BY of their ids,
    and what each roll-up sums up to), `audit` (the same as the platform tells it), the `kills`, and `differences`,
    which is empty when all is well. Raises StackError, BenchError, grpc.RpcError.
    """
    order = list(victims)
    chance = random.Random(seed)  # noqa: S311 - no secret
    chance.shuffle(order)
    progress("starting a platform")
    with own.stack() as (stack, platform):
        rate = events / (KILL_SECONDS * len(order))
        orders = {
            "target": stack.plan.gateway_url.removeprefix("http://"),
            "media_keys": str(stack.layout.media_keys),
            "video": VIDEO,
            "batch": batch,
            "events": events,
            "rate": rate,
            "repeats": REPEATS,
            "hours": HOURS,
            "seed": seed,
        }
        progress("making events")
        with own.helper("reelmesh_tools.bench.loader", orders) as loader:
            loader.ready()
            killer = Killer(stack, order, KILL_SECONDS * len(order), chance, progress)
            loader.begin()
            killer.start()
            sender = loader.result()
            kills = killer.join()
        progress("waiting until all is counted")
        began = time.monotonic()
        audit = _audit(platform)
        counted = time.monotonic() - began
        progress("counting plainly")
        stack.stop_process("analytics")
        with own.helper("reelmesh_tools.bench.recount", {"folder": str(stack.layout.warehouse)}) as counter:
            recount = counter.result()
    return {
        "events": events,
        "seed": seed,
        "kills": [asdict(kill) for kill in kills],
        "sender": sender,
        "recount": recount,
        "audit": audit,
        "counted_after_seconds": round(counted, 1),
        "differences": differences(sender, recount, audit),
        "load_average": round(os.getloadavg()[0], 2),
    }


def differences(sender: dict[str, Any], recount: dict[str, Any], audit: dict[str, Any]) -> list[str]:
    """Return what does not agree, in words; nothing when all does."""
    known = {name: sender["sent"][name] for name in ("events", "views", "watch_ms", "stall_ms")}
    told = {
        "distinct_events": known["events"],
        "views": known["views"],
        "watch_seconds": known["watch_ms"] / 1000,
        "stall_seconds": known["stall_ms"] / 1000,
    }
    found = [f"{table} has {recount[table]}, the sender {known}" for table in TABLES if recount[table] != known]
    for table, figures in audit.items():
        if {name: figures[name] for name in told} != told:
            found.append(f"the audit says {figures} of {table}, the sender {told}")
    # What was sent and not answered may have arrived as well.
    least, most = sender["events_sent"], sender["events_sent"] + sender["unanswered"]
    if not least <= recount["received"] <= most:
        found.append(f"{recount['received']} rows were received, {least} to {most} were sent")
    if not known["events"] <= recount["rows"] <= recount["received"]:
        found.append(f"{recount['rows']} rows are kept of {recount['received']}")
    if sender["refused"]:
        found.append(f"refused: {sender['refused']}")
    return found


class Killer:
    """Kills processes one after another at random moments, in a thread of its own."""

    def __init__(
        self,
        stack: Stack,
        order: Sequence[str],
        seconds: float,
        chance: random.Random,
        progress: Callable[[str], None],
    ) -> None:
        """`seconds` is how long the sending takes at least."""
        self._stack, self._order, self._progress = stack, order, progress
        # None at the very end, where nothing would be under way any more.
        self._moments = sorted(chance.uniform(0.02, 0.92) * seconds for _ in order)
        self._kills: list[Kill] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin; the moments count from now."""
        self._thread.start()

    def join(self) -> list[Kill]:
        """Return what was killed, once all was. Raises StackError."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._kills

    def _run(self) -> None:
        began = time.monotonic()
        try:
            for moment, name in zip(self._moments, self._order, strict=True):
                threading.Event().wait(max(0.0, began + moment - time.monotonic()))  # the moment itself
                self._stack.wait_healthy(name)
                after = time.monotonic() - began
                self._progress(f"killing {name} after {after:.1f} s")
                before = self._stack.kill_process(name)
                killed = time.monotonic()
                self._stack.wait_healthy(name, after=before)
                again = time.monotonic() - killed
                self._kills.append(Kill(name, before.pid or 0, round(after, 2), round(again, 2)))
        except Exception as error:
            self._error = error


def _audit(platform: Platform) -> dict[str, Any]:
    """Return the platform's own figures by table, once all events are counted. Raises BenchError."""
    deadline = time.monotonic() + COUNTED_SECONDS
    while True:
        try:
            answer = platform.analytics.GetAudit(GetAuditRequest(parent=platform.parent), timeout=AUDIT_SECONDS)
        except grpc.RpcError as error:
            if error.code() not in AGAIN:
                raise
            if time.monotonic() > deadline:
                raise BenchError(f"not all is counted after {COUNTED_SECONDS:g} s: {problem_of(error)}") from error
        else:
            return {figures.table: _figures(figures) for figures in answer.figures}
        time.sleep(0.5)  # asked for again


def _figures(figures: AuditFigures) -> dict[str, float]:
    return {
        "events_sent": figures.events_sent,
        "distinct_events": figures.distinct_events,
        "views": figures.views,
        "watch_seconds": figures.watch_seconds,
        "stall_seconds": figures.stall_seconds,
    }
