"""Titles on a real Cassandra, told on a real Kafka."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from reelmesh.catalog.errors import ExternalIdTaken, TitleHasParts, TitleUnknown, VideoTaken
from reelmesh.catalog.events import KafkaTitleEvents
from reelmesh.catalog.model import Video
from reelmesh.catalog.store import CassandraVideoStore
from reelmesh.catalog.title_announcing import GRACE, Announcing
from reelmesh.catalog.title_model import Change, Effect, Held, overlaid
from reelmesh.catalog.title_store import REVISIONS_KEPT, CassandraTitleStore
from reelmesh.catalog.titles import Titles
from reelmesh.catalog.v1.title_pb2 import Localization, Title
from reelmesh.events.v1.title_event_pb2 import TitleEvent
from reelmesh.mesh.clock import SystemClock, TimeOrderedIds
from reelmesh.mesh.config import Config
from reelmesh.mesh.names import TitleName, VideoName
from reelmesh.stores.cassandra import Cassandra
from reelmesh.stores.events import TITLES, Publisher, Sending, connection, ensure_topics
from reelmesh.stores.migrations import migrate

pytestmark = pytest.mark.stack

CLOCK = SystemClock()
IDS = TimeOrderedIds(CLOCK)
AUTHOR = "users/editor"
TOLD_SECONDS = 30.0


class LaterClock:
    """The machine's clock, put forward."""

    def __init__(self, by: timedelta) -> None:
        self._by = by

    def now(self) -> datetime:
        return CLOCK.now() + self._by


class Silent:
    """Dies before it says anything."""

    def announce(self, change: Change, held: Held) -> None:
        pass


@dataclass
class World:
    titles: Titles
    store: CassandraTitleStore
    announcing: Announcing
    events: KafkaTitleEvents
    videos: CassandraVideoStore
    config: Config
    organization: str

    def silent(self) -> Titles:
        return Titles(self.store, self._has_video, Silent(), CLOCK, IDS)

    async def _has_video(self, name: VideoName) -> bool:
        return await self.videos.load(name) is not None

    async def video(self) -> str:
        name = VideoName(self.organization, IDS.new())
        assert await self.videos.create(Video(name, CLOCK.now(), CLOCK.now()))
        return str(name)

    async def told(self, name: str, enough: Callable[[list[Title | None]], bool]) -> list[Title | None]:
        """Read the topic from its beginning until what it says of a title is enough."""
        return await asyncio.to_thread(_read, self.config, name, enough)


def _read(config: Config, name: str, enough: Callable[[list[Title | None]], bool]) -> list[Title | None]:
    consumer = Consumer({**connection(config.kafka), "group.id": f"test-{uuid.uuid4()}"})
    found: list[Title | None] = []
    try:
        partitions = consumer.list_topics(TITLES, 10).topics[TITLES].partitions
        consumer.assign([TopicPartition(TITLES, partition, OFFSET_BEGINNING) for partition in partitions])
        ends = time.monotonic() + TOLD_SECONDS  # the topic holds the titles of other tests too, any number of them
        while time.monotonic() < ends:
            for message in consumer.consume(500, 0.05):
                if message.error() is None and message.key() == name.encode():
                    value = message.value()
                    found.append(TitleEvent.FromString(value).title if value is not None else None)
            if found and enough(found):
                return found
    finally:
        consumer.close()
    raise AssertionError(f"the topic says {found} of {name}")


def film(words: str = "The Long Way", **fields: Any) -> Title:
    return Title(kind=Title.KIND_FILM, localizations=[Localization(language="en", title=words)], **fields)


@pytest.fixture
async def world(config: Config, cassandra: Cassandra) -> AsyncIterator[World]:
    await migrate(cassandra, "catalog", {"class": "SimpleStrategy", "replication_factor": 1})
    await ensure_topics(config.kafka, {TITLES: config.kafka.partitions})
    publisher = Publisher(config.kafka, f"titles-{uuid.uuid4()}", sending=Sending(batch=100))
    store, events = CassandraTitleStore(cassandra), KafkaTitleEvents(publisher)
    videos = CassandraVideoStore(cassandra, None)  # type: ignore[arg-type] # no video is deleted here
    announcing = Announcing(store, events, CLOCK, IDS)
    organization = f"titles-{uuid.uuid4()}"

    async def has_video(name: VideoName) -> bool:
        return await videos.load(name) is not None

    titles = Titles(store, has_video, announcing, CLOCK, IDS)
    running = asyncio.create_task(announcing.run())
    yield World(titles, store, announcing, events, videos, config, organization)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await publisher.close()


async def test_every_change_is_kept_and_told(world: World) -> None:
    made = await world.titles.create(world.organization, film(), "", AUTHOR)
    name = TitleName.parse(made.name)
    renamed = await world.titles.update(name, film("The Longer Way"), ["localizations"], made.etag, AUTHOR)
    await world.titles.delete(name, renamed.etag, AUTHOR, allow_missing=False)
    with pytest.raises(TitleUnknown):
        await world.titles.get(name)
    told = await world.told(made.name, lambda told: told[-1] is None)
    assert told[-1] is None
    restored = await world.titles.restore(name, 1, "", "users/other")
    assert restored.localizations[0].title == "The Long Way"
    assert restored.revision == 4
    last = (await world.told(made.name, lambda told: told[-1] is not None and told[-1].revision == 4))[-1]
    assert last == restored
    revisions = await world.titles.revisions(name, 0, 10)
    assert [(each.title.revision, each.deleted, each.author) for each in revisions] == [
        (4, False, "users/other"),
        (3, True, AUTHOR),
        (2, False, AUTHOR),
        (1, False, AUTHOR),
    ]
    assert revisions[2].fields == ("localizations",)


async def test_changes_at_once_lose_nothing_and_the_last_one_is_told_last(world: World) -> None:
    made = await world.titles.create(world.organization, film(), "", AUTHOR)
    name = TitleName.parse(made.name)

    async def tag(word: str) -> None:
        def edit(title: Title) -> Title:
            return overlaid(title, Title(tags=[*title.tags, word]), ["tags"])

        await world.titles.change(name, edit, AUTHOR)

    await asyncio.gather(*(tag(f"tag-{number}") for number in range(6)))
    now = await world.titles.get(name)
    assert sorted(now.tags) == [f"tag-{number}" for number in range(6)]
    assert now.revision == 7
    told = await world.told(made.name, lambda told: told[-1] is not None and told[-1].revision == 7)
    assert told[-1] == now


async def test_what_a_crash_left_unsaid_is_said_by_the_sweep(world: World) -> None:
    made = await world.silent().create(world.organization, film(), "", AUTHOR)
    sweep = Announcing(world.store, world.events, LaterClock(GRACE + timedelta(minutes=1)), IDS)
    await sweep.sweep()
    told = await world.told(made.name, lambda told: True)
    assert told[-1] == made
    minute = made.create_time.ToDatetime().replace(second=0, microsecond=0)
    assert made.name not in [str(change.name) for change in await world.store.intended(minute)]


async def test_one_external_id_is_one_title(world: World) -> None:
    given = film(external_id="tt-1")
    made = await asyncio.gather(
        *(world.titles.create(world.organization, given, "", AUTHOR) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(each, Title) for each in made) == 1
    assert sum(isinstance(each, ExternalIdTaken) for each in made) == 4
    effect, title = await world.titles.put(world.organization, given, AUTHOR)
    assert effect is Effect.UNCHANGED
    changed = film("The Way", external_id="tt-1")
    assert (await world.titles.put(world.organization, changed, AUTHOR, dry_run=True))[0] is Effect.UPDATED
    assert (await world.titles.get(TitleName.parse(title.name))).revision == 1
    assert (await world.titles.put(world.organization, changed, AUTHOR))[0] is Effect.UPDATED
    assert (await world.titles.get(TitleName.parse(title.name))).revision == 2


async def test_a_request_sent_twice_makes_one_title(world: World) -> None:
    request = str(uuid.uuid4())
    first, second = await asyncio.gather(
        *(world.titles.create(world.organization, film(), request, AUTHOR) for _ in range(2))
    )
    assert first == second


async def test_a_video_plays_for_one_title(world: World) -> None:
    video = await world.video()
    made = await asyncio.gather(
        *(world.titles.create(world.organization, film(video=video), "", AUTHOR) for _ in range(4)),
        return_exceptions=True,
    )
    owner = next(each for each in made if isinstance(each, Title))
    assert sum(isinstance(each, VideoTaken) for each in made) == 3
    await world.titles.update(TitleName.parse(owner.name), Title(), ["video"], "", AUTHOR)
    another = await world.titles.create(world.organization, film(video=video), "", AUTHOR)
    assert another.video == video


async def test_lists_follow_making_and_numbers(world: World) -> None:
    organization = world.organization
    series = await world.titles.create(
        organization, Title(kind=Title.KIND_SERIES, localizations=film().localizations), "", AUTHOR
    )
    for number in (2, 3, 1):
        season = Title(
            kind=Title.KIND_SEASON, parent_title=series.name, number=number, localizations=film().localizations
        )
        await world.titles.create(organization, season, "", AUTHOR)
    films = [await world.titles.create(organization, film(str(number)), "", AUTHOR) for number in range(5)]
    parts = await world.titles.parts(TitleName.parse(series.name))
    assert [part.number for part in parts] == [1, 2, 3]
    await world.titles.update(TitleName.parse(parts[0].name), Title(number=9), ["number"], "", AUTHOR)
    assert [part.number for part in await world.titles.parts(TitleName.parse(series.name))] == [2, 3, 9]
    with pytest.raises(TitleHasParts):
        await world.titles.delete(TitleName.parse(series.name), "", AUTHOR, allow_missing=False)
    await world.titles.delete(TitleName.parse(films[2].name), "", AUTHOR, allow_missing=False)

    seen: list[str] = []
    behind = None
    while True:
        page, behind = await world.titles.list(organization, [Title.KIND_FILM, Title.KIND_SERIES], 2, behind)
        seen += [title.name for title in page]
        if behind is None:
            break
    assert seen == [films[4].name, films[3].name, films[1].name, films[0].name, series.name]


async def test_old_revisions_go(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert REVISIONS_KEPT >= 100
    monkeypatch.setattr("reelmesh.catalog.title_store.REVISIONS_KEPT", 2)
    made = await world.titles.create(world.organization, film(), "", AUTHOR)
    name = TitleName.parse(made.name)
    for number in range(3):
        await world.titles.update(name, film(str(number)), ["localizations"], "", AUTHOR)
    assert [each.title.revision for each in await world.titles.revisions(name, 0, 10)] == [4, 3]
