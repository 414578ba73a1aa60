"""Builds what makes and keeps models."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from uuid import uuid4

from reelmesh.mesh.config import Config
from reelmesh.mesh.pseudonyms import Pseudonyms
from reelmesh.mesh.server import Background, Service
from reelmesh.recommend.artefacts import Artefacts
from reelmesh.recommend.audience import AnalyticsAudience
from reelmesh.recommend.job import Job, Schedule, Timing
from reelmesh.recommend.library import Library
from reelmesh.recommend.model_service import ModelService
from reelmesh.recommend.model_store import CassandraModelStore
from reelmesh.recommend.models import Models
from reelmesh.recommend.parameters import Parameters
from reelmesh.recommend.running import Running
from reelmesh.recommend.v1.model_service_pb2_grpc import add_ModelServiceServicer_to_server
from reelmesh.recommend.workplace import Settings, Workplace
from reelmesh.stores.bundle import Stores
from reelmesh.stores.cassandra import Cassandra


class Whole(Protocol):
    """Says when the library is whole; following.py does."""

    async def check(self) -> None:
        """Raises Unavailable until it is."""


@dataclass(frozen=True, slots=True)
class Modelling:
    """Models, as the rest of recommend needs them."""

    running: Running
    service: Service
    background: Sequence[Background]


def modelling(
    config: Config,
    stores: Stores,
    cassandra: Cassandra,
    pseudonyms: Pseudonyms,
    library: Library,
    whole: Whole,
    opted_out: Callable[[str], Awaitable[frozenset[bytes]]],
) -> Modelling:
    """`opted_out` returns the pseudonyms of those whose history is not used."""
    settings = config.recommend
    shelves, artefacts = CassandraModelStore(cassandra), Artefacts(stores.models())
    folder = settings.scratch / stores.process
    shutil.rmtree(folder, ignore_errors=True)  # of a process of this name that was killed
    workplace = Workplace(
        AnalyticsAudience(stores.channel("analytics")),
        artefacts,
        works_of(library),
        opted_out,
        stores.clock,
        Settings(folder, timedelta(days=settings.history_days), settings.threads, Parameters()),
    )
    interval = timedelta(hours=settings.train_hours)
    running = Running(shelves, artefacts)
    job = Job(
        shelves,
        workplace,
        artefacts,
        stores.clock,
        holder=f"{socket.gethostname()}/{stores.process}/{uuid4()}",
        timing=Timing(),
        ready=whole.check,
        ran=running.wake,
    )

    def wake() -> None:
        job.wake()
        running.wake()

    models = Models(shelves, artefacts, stores.clock, stores.ids, wake)
    schedule = Schedule(shelves, models, library.organizations, stores.clock, interval, ready=whole.check)
    service = ModelService(models, workplace, pseudonyms.of)
    return Modelling(
        running=running,
        service=Service(
            "reelmesh.recommend.v1.ModelService",
            lambda server: add_ModelServiceServicer_to_server(service, server),
        ),
        background=[running, job, schedule],
    )


def works_of(library: Library) -> Callable[[str], Callable[[str], str | None]]:
    """Return what says which film or series a video of an organization counts for."""

    def of(organization: str) -> Callable[[str], str | None]:
        held = library.of(organization)

        def work_of(video: str) -> str | None:
            title = held.of_video(video)
            work = held.work_of(title) if title is not None else None
            return work.id if work is not None else None

        return work_of

    return of
