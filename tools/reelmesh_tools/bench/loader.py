"""A process that does nothing but send telemetry, so that what is measured shares no interpreter with what measures.

It reads its orders as one line of JSON, says "ready", begins at the next line, and ends by printing what it counted.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from reelmesh.mesh.keys import KeyRing
from reelmesh.telemetry.tokens import AUDIENCE, ISSUER
from reelmesh.telemetry.v1.telemetry_service_pb2 import Client, Consent, ReportRequest, ReportResponse
from reelmesh_tools.bench.playback import percentile
from reelmesh_tools.bench.stencil import Figures, Stencil, stencils
from reelmesh_tools.simulate.sending import AGAIN, retry_seconds

METHOD = "/reelmesh.telemetry.v1.TelemetryService/Report"
CALL_SECONDS = 15.0
TOKEN_SECONDS = 6 * 3600
HOUR_MS = 3_600_000
DEVICE = "tv"
"""Kind of device of all viewings that are sent."""
PLAYED = 24
"""Different viewings that all sessions are copies of."""
PATIENCE_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class Orders:
    """What to send, and where."""

    target: str
    """host:port."""
    media_keys: str
    """Folder of the keys that telemetry tokens are signed with, as playback signs them."""
    video: str
    """Resource name of what is watched."""
    certificates: str = ""
    """Folder of certificates, to speak to the service itself as the gateway does; empty for the gateway."""
    batch: int = 500
    """Events in a batch."""
    batches: int = 2
    """Batches of a viewing."""
    events: int = 0
    """Different events to send; 0 for no end."""
    seconds: float = 0.0
    """How long to send; 0 until all events are sent."""
    rate: float = 0.0
    """Events to send in each second; 0 for as many as are taken."""
    in_flight: int = 24
    """Batches under way at once."""
    repeats: float = 0.0
    """Part of the events to send once more."""
    hours: float = 0.0
    """Hours in which the events happened, by the distances that they had; 0 squeezes each batch into the last ten
    seconds, as if it came from many players at once."""
    seed: int = 1
    """Decides on everything but session ids and times."""


@dataclass(slots=True)
class Account:
    """What was sent, and what came of it."""

    sent: Figures = field(default_factory=Figures)
    """Different events that were answered."""
    events_sent: int = 0
    """Events that were answered, repeats included."""
    unanswered: int = 0
    """Events of calls that had no answer: they may have arrived as well. All of them were sent again."""
    refused: Counter[str] = field(default_factory=Counter)
    """By reason."""
    failures: Counter[str] = field(default_factory=Counter)
    """Calls without an answer, by code."""
    sessions: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    took: list[float] = field(default_factory=list)
    """Seconds until each answer."""

    def told(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "sent": asdict(self.sent),
            "events_sent": self.events_sent,
            "unanswered": self.unanswered,
            "refused": dict(self.refused),
            "failures": dict(self.failures),
            "sessions": self.sessions,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "p50_ms": round(percentile(self.took, 0.5) * 1000, 2),
            "p99_ms": round(percentile(self.took, 0.99) * 1000, 2),
        }


class Loader:
    """Sends copies of viewings."""

    def __init__(self, orders: Orders, made: list[list[Stencil]]) -> None:
        self._orders = orders
        self._made = made
        self._ring = KeyRing.load(Path(orders.media_keys))
        self._chance = np.random.default_rng(orders.seed)
        self._begun = 0
        self._paced = 0
        self._began = 0.0
        self.account = Account()

    async def run(self) -> None:
        """Send all. Raises grpc.RpcError."""
        channel = _channel(self._orders)
        report: Any = channel.unary_unary(METHOD, None, ReportResponse.FromString)
        self._began = time.perf_counter()
        used = time.process_time()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._orders.in_flight):
                    group.create_task(self._viewings(report))
        finally:
            await channel.close()
        self.account.seconds = time.perf_counter() - self._began
        self.account.cpu_seconds = time.process_time() - used

    def _more(self) -> bool:
        orders = self._orders
        size = orders.batch * orders.batches
        if orders.events and self._begun * size >= orders.events:
            return False
        return not orders.seconds or time.perf_counter() - self._began < orders.seconds

    async def _viewings(self, report: Callable[..., Any]) -> None:
        """Send one viewing after another."""
        while self._more():
            parts = self._made[self._begun % len(self._made)]
            self._begun += 1
            self.account.sessions += 1
            head = self._head()
            began = self._beginning(parts)
            for part in parts:
                await self._wait(part.figures.events)
                stamped = part.stamp(self._times(part, began), self._chance)
                await self._send(report, head + stamped, part.figures, part.figures.events)
                await self._repeat(report, head, part, stamped)

    async def _repeat(self, report: Callable[..., Any], head: bytes, part: Stencil, stamped: bytes) -> None:
        """Send some of what was sent once more: whole batches and single events, half and half."""
        half, count = self._orders.repeats / 2, part.figures.events
        if not half:
            return
        if self._chance.random() < half:
            await self._send(report, head + stamped, Figures(), count)
        single = [index for index in range(count) if self._chance.random() < half]
        if single:
            await self._send(report, head + b"".join(part.one(stamped, i) for i in single), Figures(), len(single))

    async def _send(self, report: Callable[..., Any], body: bytes, figures: Figures, events: int) -> None:
        """Send a batch until it is answered. Raises grpc.RpcError when that takes too long."""
        sent = ReportRequest(sent_time_ms=_now_ms()).SerializeToString()
        wait, end = 0.05, time.monotonic() + PATIENCE_SECONDS
        while True:
            began = time.perf_counter()
            try:
                answer = await report(body + sent, timeout=CALL_SECONDS)
                break
            except grpc.aio.AioRpcError as error:
                if error.code() not in AGAIN or time.monotonic() > end:
                    raise
                self.account.unanswered += events
                self.account.failures[error.code().name] += 1
                told = retry_seconds(error)
                await asyncio.sleep(wait if told is None else told)  # back-off
                wait = min(2 * wait, 1.0)
        self.account.took.append(time.perf_counter() - began)
        self.account.refused.update(refusal.reason for refusal in answer.refusals)
        self.account.events_sent += events
        self.account.sent += figures

    async def _wait(self, events: int) -> None:
        """Keep to the rate."""
        if self._orders.rate:
            due = self._began + self._paced / self._orders.rate
            self._paced += events
            # Time itself is what is waited for.
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    def _beginning(self, parts: list[Stencil]) -> int:
        """Return when a viewing began, in ms since 1970: so that all of it is past."""
        span = int(self._orders.hours * HOUR_MS) - int(parts[-1].times[-1])
        return _now_ms() - int(parts[-1].times[-1]) - int(self._chance.integers(0, max(1, span)))

    def _times(self, part: Stencil, began: int) -> NDArray[np.int64]:
        if self._orders.hours:
            return part.times + began
        count = len(part.times)
        return _now_ms() - 10_000 + np.arange(count) * 10_000 // count

    def _head(self) -> bytes:
        """Return what each batch of a new session begins with."""
        now = _now_ms()
        session = f"organizations/default/sessions/{_uuid7(now, self._chance)}"
        country = ("DE", "US", "IN", "BR")[self._begun % 4]
        claims = claims_of(session, self._orders.video, f"viewer-{self._begun}", country, now)
        client = Client(player="bench", player_version="1", device=DEVICE, operating_system="Linux", browser="bench")
        return ReportRequest(
            token=self._ring.sign(claims), consent=Consent.CONSENT_GRANTED, client=client
        ).SerializeToString()


def claims_of(session: str, video: str, viewer: str, country: str, now_ms: int) -> dict[str, Any]:
    """Return what playback says in a telemetry token."""
    return {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": session,
        "exp": now_ms // 1000 + TOKEN_SECONDS,
        "video": video,
        "viewer": viewer,
        "country": country,
        "experiments": [],
    }


def _channel(orders: Orders) -> grpc.aio.Channel:
    if not orders.certificates:
        return grpc.aio.insecure_channel(orders.target)
    folder = Path(orders.certificates)
    credentials = grpc.ssl_channel_credentials(
        (folder / "ca.pem").read_bytes(), (folder / "gateway.key").read_bytes(), (folder / "gateway.pem").read_bytes()
    )
    return grpc.aio.secure_channel(
        orders.target, credentials, options=[("grpc.ssl_target_name_override", "telemetry.mesh")]
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _uuid7(now_ms: int, chance: np.random.Generator) -> uuid.UUID:
    noise = int.from_bytes(chance.bytes(10))
    value = now_ms << 80 | 0x7 << 76 | (noise >> 68 & 0xFFF) << 64 | 0b10 << 62 | noise & ((1 << 62) - 1)
    return uuid.UUID(int=value)


def main() -> None:
    """Run as a program."""
    orders = Orders(**json.loads(sys.stdin.readline()))
    loader = Loader(orders, stencils(orders.seed, PLAYED, orders.batch, orders.batches))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    asyncio.run(loader.run())
    sys.stdout.write(json.dumps(loader.account.told()) + "\n")
    sys.stdout.flush()
    sys.stdin.readline()  # whoever measures this process is not done with it


if __name__ == "__main__":
    main()
