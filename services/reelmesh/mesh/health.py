"""Health that follows the stores: NOT_SERVING until they answer, and again when they stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from grpc_health.v1 import health, health_pb2

Check = Callable[[], Awaitable[None]]
"""Returns when a store answers, raises when it does not."""

CHECK_SECONDS = 1.0
"""Between two looks at the stores, and the most that one look may take."""

log = logging.getLogger(__name__)


class Health:
    """The health service of one server."""

    def __init__(self, services: Sequence[str], checks: Sequence[Check]) -> None:
        self._services = ["", *services]
        self._checks = checks
        self._serving: bool | None = None
        self.servicer = health.aio.HealthServicer()

    async def run(self) -> None:
        """Look at the stores once a second until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(CHECK_SECONDS)  # a store has no event for "I am gone"

    async def look(self) -> None:
        """Look at the stores once and say what was seen."""
        try:
            async with asyncio.timeout(CHECK_SECONDS * 2):
                await asyncio.gather(*(check() for check in self._checks))
            serving = True
        except Exception as error:
            if self._serving is not False:
                log.warning("not serving: %s", str(error) or type(error).__name__)
            serving = False
        if serving != self._serving:
            self._serving = serving
            status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
            for service in self._services:
                await self.servicer.set(service, status)

    async def drain(self) -> None:
        """Say NOT_SERVING for good, so that callers turn away before the server stops."""
        await self.servicer.enter_graceful_shutdown()
