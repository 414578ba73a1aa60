"""Models on real stores: viewings in chDB, state on Cassandra, files in a folder, a trainer that is a process."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from analytics_world import arrive
from maker_child import LEASE

from reelmesh.analytics.audience import Audience
from reelmesh.analytics.audience_service import AudienceService
from reelmesh.analytics.erasure import Erasure
from reelmesh.analytics.v1.audience_service_pb2 import ExportInteractionsRequest
from reelmesh.mesh.clock import SystemClock, TimeOrderedIds
from reelmesh.mesh.config import Config
from reelmesh.mesh.names import ModelName
from reelmesh.mesh.pseudonyms import Pseudonyms
from reelmesh.recommend.artefacts import Artefacts, pack
from reelmesh.recommend.audience import batch_of
from reelmesh.recommend.job import Job, Timing
from reelmesh.recommend.model import Lease, Model, Reason, Shelf, State
from reelmesh.recommend.model_store import CassandraModelStore
from reelmesh.recommend.models import Models
from reelmesh.recommend.parameters import Parameters
from reelmesh.recommend.running import Running
from reelmesh.recommend.workplace import Settings, Workplace
from reelmesh.stores.cassandra import Cassandra
from reelmesh.stores.migrations import versions
from reelmesh.stores.objects import Objects
from reelmesh.stores.warehouse import Warehouse
from reelmesh.telemetry.v1 import event_pb2 as events
from reelmesh.telemetry.v1.record_pb2 import TelemetryRecord
from reelmesh_tools.bench.taste import Size, taste

pytestmark = [pytest.mark.stack]

HERE = Path(__file__).parent
PSEUDONYMS = Pseudonyms(b"a key of viewers that is long enough")
CLOCK = SystemClock()
IDS = TimeOrderedIds(CLOCK)
NOBODY: Any = None
"""A context that is not asked."""


def video(number: int) -> str:
    return f"0198c0de-0000-7000-8000-{number:012x}"


def records(organization: str, seed: int) -> list[TelemetryRecord]:
    """Viewings of an audience with tastes, each told by one event."""
    size = Size(viewers=160, titles=300, interactions=6000, clusters=6)
    end = int(CLOCK.now().timestamp() * 1000)
    made = taste(size, seed, end)
    times = end - (end - made.time_ms) // 12  # what was a year in a month: a day is a partition of events
    found = []
    for viewer, title, seconds, time in zip(made.viewer, made.title, made.seconds, times, strict=True):
        id_ = uuid.UUID(int=int(time) << 80 | 7 << 76 | 2 << 62 | uuid.uuid4().int & (1 << 62) - 1).bytes
        record = TelemetryRecord(
            received_time_ms=int(time),
            organization=organization,
            video=video(title),
            session=id_,
            viewer=PSEUDONYMS.of(organization, f"viewer-{viewer}"),
            weight=1,
            source=TelemetryRecord.SOURCE_REPORT,
        )
        watched = int(seconds * 1000)
        record.events.append(events.TelemetryEvent(event_id=id_, event_time_ms=int(time), watch_total_ms=watched))
        found.append(record)
    return found


class Exported:
    """What analytics exports, as it is on the wire."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._service = AudienceService(Audience(warehouse), CLOCK)

    async def interactions(
        self, organization: str, start: datetime, end: datetime
    ) -> AsyncGenerator[pyarrow.RecordBatch, None]:
        request = ExportInteractionsRequest(parent=f"organizations/{organization}")
        request.start_time.FromDatetime(start)
        request.end_time.FromDatetime(end)
        async for part in self._service.ExportInteractions(request, NOBODY):
            yield batch_of(part.FromString(part.SerializeToString()))


async def ready() -> None:
    pass


async def settled(time: datetime, seconds: float) -> None:
    pass


@dataclass
class World:
    organization: str
    keyspace: str
    store: CassandraModelStore
    artefacts: Artefacts
    models: Models
    running: Running
    job: Job
    erasure: Erasure
    left_out: set[bytes]
    objects: Path

    async def trained(self) -> Model:
        begun, _ = await self.models.begin(self.organization)
        await self.job.look()
        model, _ = await self.models.get(begun.name)
        return model

    def pseudonym(self, viewer: int) -> bytes:
        return PSEUDONYMS.of(self.organization, f"viewer-{viewer}")


@pytest.fixture
async def world(config: Config, cassandra: Cassandra, warehouse: Warehouse, tmp_path: Path) -> AsyncIterator[World]:
    keyspace = f"recommend_{uuid.uuid4().hex[:8]}"
    await made_keyspace(cassandra, keyspace)
    organization = keyspace.replace("_", "-")
    await arrive(warehouse, records(organization, seed=2))
    store, artefacts = CassandraModelStore(cassandra, keyspace), Artefacts(Objects.at((tmp_path / "objects").as_uri()))
    left_out: set[bytes] = set()

    async def opted_out(_: str) -> frozenset[bytes]:
        return frozenset(left_out)

    settings = Settings(tmp_path / "training", timedelta(days=400), 1, Parameters(factors=16, iterations=8))
    workplace = Workplace(Exported(warehouse), artefacts, lambda _: lambda id_: id_, opted_out, CLOCK, settings)
    running = Running(store, artefacts)
    timing = Timing(lease=LEASE)
    job = Job(store, workplace, artefacts, CLOCK, "test", timing, ready=ready, ran=running.wake)
    models = Models(store, artefacts, CLOCK, IDS, running.wake)
    erasure = Erasure(warehouse, CLOCK, IDS, PSEUDONYMS.of, settled, ready)
    yield World(organization, keyspace, store, artefacts, models, running, job, erasure, left_out, tmp_path / "objects")
    await cassandra.execute(f"DROP KEYSPACE {keyspace}")


async def made_keyspace(cassandra: Cassandra, keyspace: str) -> None:
    """Make recommend's tables in a keyspace where the stack's own process does not go on with what is begun."""
    replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    await cassandra.execute(f"CREATE KEYSPACE {keyspace} WITH replication = {replication}")
    script = resources.files("reelmesh.recommend").joinpath("schema.cql").read_text()
    for statements in versions(script).values():
        for statement in statements:
            await cassandra.execute(statement.replace("KEYSPACE_NAME", keyspace))


async def test_changes_of_a_shelf_are_whole_and_one_after_the_other(world: World) -> None:
    store, name = world.store, ModelName("shelf " + world.organization, IDS.new())
    empty = await store.load(name.organization)
    assert empty == Shelf(name.organization)
    model = Model(name, State.TRAINING, CLOCK.now(), "request")
    lease = Lease(name.id, "", CLOCK.now())
    shelf = replace(empty.with_model(model), lease=lease)
    tries = await asyncio.gather(*(store.save(empty, shelf) for _ in range(4)))
    assert sorted(tries) == [False, False, False, True]
    found = await store.load(name.organization)
    assert found == replace(shelf, revision=1)
    assert not await store.keep(name.organization, replace(lease, holder="other"))
    held = replace(found, lease=replace(lease, holder="one"))
    assert await store.save(found, held)
    later = Lease(name.id, "one", lease.end + timedelta(seconds=5))
    assert await store.keep(name.organization, later)
    assert next(head for head in await store.heads() if head.organization == name.organization).lease == later
    found = await store.load(name.organization)
    ended = replace(found.with_model(replace(model, state=State.READY)), lease=None).run(name.id, CLOCK.now())
    assert await store.save(found, ended)
    assert await store.load(name.organization) == replace(ended, revision=found.revision + 1)
    found = await store.load(name.organization)
    assert await store.save(found, Shelf(name.organization))
    assert (await store.load(name.organization)).models == {}
    assert (await store.load(name.organization)).running == ""


async def test_a_model_is_trained_runs_and_is_gone_back_from(world: World) -> None:
    first = await world.trained()
    assert (first.state, first.reason, first.message) == (State.READY, "", "")
    assert first.data is not None
    assert first.evaluation is not None
    assert first.data.viewers > 120
    assert first.data.start_time < first.data.split_time < first.data.end_time
    als, popular = first.evaluation.of("als"), first.evaluation.of("most-popular")
    assert als is not None
    assert popular is not None
    assert als.recall > popular.recall
    assert first.evaluation.of("running") is None
    await world.running.look()
    served = world.running.of(world.organization)
    assert served is not None
    assert served.name == first.name
    assert len(served.artefact.titles) == first.data.titles
    second = await world.trained()
    assert second.state is State.READY
    assert second.evaluation is not None
    # The same viewings and the same seed: neither is worse.
    running = second.evaluation.of("running")
    assert running is not None
    assert running.recall == pytest.approx(als.recall, abs=1e-6)
    await world.running.look()
    assert (await world.running.load(world.organization)).name == second.name  # type: ignore[union-attr]
    model, _ = await world.models.roll_back(world.organization, None)
    assert model.name == first.name
    await world.running.look()
    assert (await world.running.load(world.organization)).name == first.name  # type: ignore[union-attr]


async def test_an_erased_viewer_and_one_who_opted_out_are_in_no_later_model(world: World) -> None:
    first = await world.trained()
    for viewer in (3, 4, 5):
        assert await world.models.learned_from(first.name, world.pseudonym(viewer)) == (True, first.data.viewers)  # type: ignore[union-attr]
    assert await world.erasure.erase_viewer(world.organization, "viewer-3") > 0
    world.left_out.add(world.pseudonym(4))
    second = await world.trained()
    assert second.state is State.READY, second.message
    assert second.data is not None
    assert first.data is not None
    assert second.data.viewers == first.data.viewers - 2
    assert second.data.interactions < first.data.interactions
    assert await world.models.learned_from(second.name, world.pseudonym(3)) == (False, second.data.viewers)
    assert await world.models.learned_from(second.name, world.pseudonym(4)) == (False, second.data.viewers)
    assert await world.models.learned_from(second.name, world.pseudonym(5)) == (True, second.data.viewers)
    # Of the earlier one nothing is left that names them.
    forgotten = [path for path in world.objects.rglob("*") if path.is_file()]
    assert [path.parent.parent.name for path in forgotten if path.name == "viewers.bin"] == [second.name.id]
    for path in forgotten:
        assert world.pseudonym(3) not in path.read_bytes()


async def test_a_model_worse_than_the_running_one_is_refused(world: World) -> None:
    first = await world.trained()
    shelf = await world.store.load(world.organization)
    # A running model that knows what came later: nothing that was honestly trained is as good.
    artefact = await world.artefacts.load(first.name, first.attempt, first.checksum)
    mixed = replace(artefact, factors=np.random.default_rng(1).permutation(artefact.factors))
    broken = replace(first, name=ModelName(world.organization, IDS.new()))
    checksum = await world.artefacts.save(broken.name, broken.attempt, pack(mixed, b""))
    shelf_with = shelf.with_model(replace(broken, checksum=checksum)).run(broken.name.id, CLOCK.now())
    assert await world.store.save(shelf, shelf_with)
    better = await world.trained()  # held against the broken one
    assert better.state is State.READY
    als, running = (better.evaluation.of(name) for name in ("als", "running"))  # type: ignore[union-attr]
    assert als is not None
    assert running is not None
    assert als.recall > 2 * running.recall
    world.job._maker._settings = replace(  # type: ignore[attr-defined]
        world.job._maker._settings,  # type: ignore[attr-defined]
        parameters=Parameters(factors=16, iterations=0),
    )
    worse = await world.trained()
    assert (worse.state, worse.reason) == (State.REFUSED, Reason.RECALL_WORSE)
    assert (await world.store.load(world.organization)).running == better.name.id


async def test_a_process_that_is_killed_leaves_its_model_to_another(world: World, stack: Any, tmp_path: Path) -> None:
    begun, _ = await world.models.begin(world.organization)
    files = [str(stack.layout.services_file), world.keyspace, world.objects.as_uri(), str(tmp_path / "child")]
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "maker_child.py"), *files, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        assert await child.stdout.readline() == b"begun\n"
        held = (await world.store.load(world.organization)).lease
        assert held is not None
        assert held.holder == "child"
        await world.job.look()
        assert (await world.store.load(world.organization)).running == ""
    finally:
        child.kill()
        await child.wait()
    killed = CLOCK.now()
    async with asyncio.timeout(60):
        while not (shelf := await world.store.load(world.organization)).running:
            await world.job.look()
            await asyncio.sleep(0.1)
    model = shelf.models[begun.name.id]
    assert shelf.running == begun.name.id
    assert model.attempt == 2
    assert model.end_time is not None
    assert model.end_time - killed < LEASE + timedelta(seconds=30)
