"""Libraries on a real Cassandra: imports that meet each other, and one that is cut off."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import protovalidate
import pytest

from reelmesh.catalog.exporting import Export
from reelmesh.catalog.importing import Import, Outcome, Settings
from reelmesh.catalog.model import Video
from reelmesh.catalog.rowcodecs.json_rows import JsonRows
from reelmesh.catalog.rowcodecs.model import Row, RowFormat
from reelmesh.catalog.store import CassandraVideoStore
from reelmesh.catalog.title_model import Change, Effect, Held
from reelmesh.catalog.title_store import CassandraTitleStore
from reelmesh.catalog.titles import Titles
from reelmesh.catalog.v1.title_pb2 import Localization, Title
from reelmesh.mesh.clock import SystemClock, TimeOrderedIds
from reelmesh.mesh.interceptors import validate
from reelmesh.mesh.names import VideoName
from reelmesh.stores.cassandra import Cassandra
from reelmesh.stores.migrations import migrate
from reelmesh_tools.library.generator import titles as generated

pytestmark = pytest.mark.stack

CLOCK = SystemClock()
IDS = TimeOrderedIds(CLOCK)
RULES = protovalidate.Validator()
COUNT = 250


class Silent:
    """Leaves it to the sweep to tell of changes."""

    def announce(self, change: Change, held: Held) -> None:
        pass


class Catalog:
    def __init__(self, cassandra: Cassandra) -> None:
        self.organization = f"library-{uuid.uuid4()}"
        self.videos = CassandraVideoStore(cassandra, None)  # type: ignore[arg-type] # no video is deleted here
        self.titles = Titles(CassandraTitleStore(cassandra), self._has_video, Silent(), CLOCK, IDS)

    async def _has_video(self, name: VideoName) -> bool:
        return await self.videos.load(name) is not None

    async def video(self) -> str:
        name = VideoName(self.organization, IDS.new())
        assert await self.videos.create(Video(name, CLOCK.now(), CLOCK.now()))
        return str(name)

    def outcomes(self, data: bytes, *, dry_run: bool = False) -> AsyncIterator[Outcome]:
        async def pieces() -> AsyncIterator[bytes]:
            yield data

        settings = Settings(self.organization, RowFormat.JSON, "users/editor", dry_run=dry_run)
        return Import(self.titles, lambda title: validate(RULES, title), settings).run(pieces())

    async def take(self, data: bytes, *, dry_run: bool = False) -> list[Outcome]:
        return [outcome async for outcome in self.outcomes(data, dry_run=dry_run)]


@pytest.fixture
async def catalog(cassandra: Cassandra) -> Catalog:
    await migrate(cassandra, "catalog", {"class": "SimpleStrategy", "replication_factor": 1})
    return Catalog(cassandra)


def lines(*titles: Title) -> bytes:
    return b"".join(JsonRows().encode(Row(title)) for title in titles)


async def test_imports_that_meet_make_each_title_once(catalog: Catalog) -> None:
    library = list(generated(COUNT, 4, catalog.organization))
    both = await asyncio.gather(catalog.take(lines(*library)), catalog.take(lines(*library)))
    effects = [[outcome.effect for outcome in each] for each in both]
    assert {effect for each in effects for effect in each} == {Effect.CREATED, Effect.UNCHANGED}
    for one, other in zip(*effects, strict=True):
        assert {one, other} == {Effect.CREATED, Effect.UNCHANGED}
    exported = b"".join([part async for part in Export(catalog.titles, catalog.organization, RowFormat.JSON).run()])
    assert exported.count(b"\n") == COUNT
    again = await catalog.take(exported)
    assert {outcome.effect for outcome in again} == {Effect.UNCHANGED}


async def test_an_import_that_was_cut_off_is_run_again(catalog: Catalog) -> None:
    library = list(generated(COUNT, 5, catalog.organization))
    running = catalog.outcomes(lines(*library))
    for _ in range(40):
        await anext(running)
    await running.aclose()  # type: ignore[attr-defined] # it is a generator
    dry = await catalog.take(lines(*library), dry_run=True)
    real = await catalog.take(lines(*library))
    assert [outcome.effect for outcome in dry] == [outcome.effect for outcome in real]
    assert [outcome.effect for outcome in real[:40]] == [Effect.UNCHANGED] * 40
    assert {outcome.effect for outcome in real} == {Effect.UNCHANGED, Effect.CREATED}


async def test_a_dry_run_knows_who_has_a_video(catalog: Catalog) -> None:
    video = await catalog.video()
    first, second, third = (
        Title(external_id=each, kind=Title.KIND_FILM, localizations=[Localization(language="en", title=each)])
        for each in ("first", "second", "third")
    )
    first.video = video
    assert [outcome.effect for outcome in await catalog.take(lines(first))] == [Effect.CREATED]
    second.video = third.video = video
    for dry_run in (True, False):
        (taken,) = await catalog.take(lines(second), dry_run=dry_run)
        assert (taken.reason, taken.field) == ("VIDEO_TAKEN", "video")
    first.video = ""
    dry = await catalog.take(lines(first, second, third), dry_run=True)
    real = await catalog.take(lines(first, second, third))
    assert [outcome.effect for outcome in dry] == [outcome.effect for outcome in real]
    assert [outcome.effect for outcome in real] == [Effect.UPDATED, Effect.CREATED, None]
